"""One net's accuracy: the preset single_net trained with several seeds on all training images, scored after the last epoch.

    python -m benchmarks.single_net --seeds 5              # on the test split, through pipeline.evaluate, which notes each opening
    python -m benchmarks.single_net --seeds 1 --validate   # on a validation split, to choose by; the test split stays closed

Every net is trained in one process on one core. Finished seeds are kept below ROOT/single_net and not trained again.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.environment import kernels, restart_unpinned
from cnn_core import checkpoint
from cnn_core.finishing import finished_weights
from cnn_core.spec import Spec
from cnn_core.state import TrainState
from cnn_core.training import objective, train_epoch
from pipeline import evaluate
from pipeline.artifacts import StudyPaths, atomic_write_text
from pipeline.bundle.assemble import single_net
from pipeline.bundle.writing import write_bundle
from pipeline.config import compose, spec_of
from pipeline.data import prepare

STATISTICS_BATCHES = 100
TARGET, MINUTES = 0.9965, 12.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, score, print and write single_net.json; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--root", type=Path, default=Path("outputs"))
    parser.add_argument("--validate", action="store_true", help="hold out a validation split and score on it instead of the test split")
    parser.add_argument("overrides", nargs="*", help="overrides of the preset, such as train.epochs=10")
    options = parser.parse_args(arguments)
    restart_unpinned("benchmarks.single_net", 1)
    rows = [_one(seed, options.root.absolute(), options.validate, options.overrides) for seed in range(options.seeds)]
    accuracies, minutes = [row["accuracy"] for row in rows], [row["minutes"] for row in rows]
    spread = statistics.stdev(accuracies) if len(rows) > 1 else 0.0
    where = "validation split" if options.validate else "test split"
    print(
        f"mean of {len(rows)} seeds on the {where}: {statistics.mean(accuracies):.3%} +- {spread:.3%}, at most {max(minutes):.1f} min a net"
    )
    name = "single_net_validation.json" if options.validate else "single_net.json"
    atomic_write_text(options.root / "benchmarks" / name, json.dumps({"rows": rows, "kernels": kernels()}, indent=2) + "\n")
    return 0


def _one(seed: int, root: Path, validate: bool, overrides: Sequence[str]) -> dict[str, Any]:
    """Return accuracy and training time of one seed."""
    whole = ["experiment=single_net", *overrides, f"root={root}"]
    config = compose(whole)
    spec = spec_of(config, prepare(config.data, root), (config.study.seed, seed))
    if validate:
        state, seconds = _train(spec, seed)
        row = {"seed": seed, "accuracy": objective(spec, state), "minutes": seconds / 60}
    else:
        row = _tested(replace(spec, data=replace(spec.data, valid_fraction=0.0)), seed, root, whole)
    print(f"seed {seed}: {row['accuracy']:.3%} in {row['minutes']:.1f} min", flush=True)
    return row


def _tested(spec: Spec, seed: int, root: Path, overrides: Sequence[str]) -> dict[str, Any]:
    folder = root / "single_net" / f"seed{seed}"
    kept = folder / "weights.npz"
    about: dict[str, Any] = {}
    if kept.exists():
        weights, about = checkpoint.load_weights(kept)
    if about.get("spec") != spec.digest():
        state, seconds = _train(spec, seed)
        started = time.perf_counter()
        weights = finished_weights(spec, state, STATISTICS_BATCHES)
        folder.mkdir(parents=True, exist_ok=True)
        about = {"spec": spec.digest(), "seconds": seconds + time.perf_counter() - started}
        checkpoint.save_weights(kept, weights, about)
    write_bundle(folder / "bundle", single_net(StudyPaths(root, "single_net"), f"seed{seed}", overrides, weights, {}))
    code = evaluate.main(compose([f"bundle={folder / 'bundle'}", f"root={root}", "slots.n=1"], evaluate.COMMAND))
    assert code == 0
    figures = json.loads((folder / "evaluation" / "test.json").read_text())
    return {"seed": seed, "accuracy": figures["accuracy"], "minutes": about["seconds"] / 60}


def _train(spec: Spec, seed: int) -> tuple[TrainState, float]:
    state: TrainState | None = None
    seconds = 0.0
    while state is None or state.epoch < spec.train.epochs:
        state, metrics = train_epoch(spec, state)
        seconds += metrics["epoch_s"]
        seen = f", validation {metrics['valid_accuracy']:.3%}" if "valid_accuracy" in metrics else ""
        print(
            f"  seed {seed} epoch {state.epoch}/{spec.train.epochs}: loss {metrics['train_loss']:.4f}{seen}, {seconds / 60:.1f} min",
            flush=True,
        )
    return state, seconds


if __name__ == "__main__":
    raise SystemExit(main())
