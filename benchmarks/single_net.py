"""One net's accuracy: the preset single_net trained with several seeds on all training images,
scored after the last epoch.

    python -m benchmarks.single_net --seeds 5              # on the test split, through
                                                           # pipeline.evaluate, which notes
                                                           # the opening
    python -m benchmarks.single_net --seeds 1 --validate   # on a validation split, to choose
                                                           # by; the test split stays closed

Every net is trained in one process on one core, --jobs of them at a time. Finished ones stay below
ROOT/single_net and are not repeated.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from benchmarks.environment import kernels, restart_unpinned
from benchmarks.scored import accuracies_on_test
from cnn_core import checkpoint
from cnn_core.checkpoint import TrainState
from cnn_core.epoch import Metrics
from cnn_core.finishing import finished_weights
from cnn_core.spec import Spec
from cnn_core.training import fit, objective
from pipeline.configuration import compose, spec_of
from pipeline.data import prepare
from pipeline.files import StudyPaths, atomic_write_text

STATISTICS_BATCHES = 100
TARGET, MINUTES = 0.9965, 12.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, score, print and write single_net.json; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--jobs", type=int, default=1, help="nets trained at the same time, one core each"
    )
    parser.add_argument("--root", type=Path, default=Path("outputs"))
    parser.add_argument(
        "--validate",
        action="store_true",
        help="hold out a validation split and score on it instead of the test split",
    )
    parser.add_argument(
        "overrides", nargs="*", help="overrides of the preset, such as train.epochs=10"
    )
    options = parser.parse_args(arguments)
    restart_unpinned("benchmarks.single_net", 1)
    root, seeds = options.root.absolute(), range(options.seeds)
    one = _validated if options.validate else _trained
    found = Parallel(n_jobs=options.jobs)(
        delayed(one)(seed, root, options.overrides) for seed in seeds
    )
    rows = found if options.validate else _tested(root, options.overrides, found)
    accuracies, minutes = [row["accuracy"] for row in rows], [row["minutes"] for row in rows]
    spread = statistics.stdev(accuracies) if len(rows) > 1 else 0.0
    where = "validation split" if options.validate else "test split"
    print(
        f"mean of {len(rows)} seeds on the {where}: {statistics.mean(accuracies):.3%} +- "
        f"{spread:.3%}, at most {max(minutes):.1f} min a net"
    )
    name = "single_net_validation.json" if options.validate else "single_net.json"
    atomic_write_text(
        options.root / "benchmarks" / name,
        json.dumps({"rows": rows, "kernels": kernels()}, indent=2) + "\n",
    )
    return 0


def _spec(seed: int, root: Path, overrides: Sequence[str]) -> Spec:
    config = compose(_whole(root, overrides))
    return spec_of(config, prepare(config.data, root), (config.study.seed, seed))


def _whole(root: Path, overrides: Sequence[str]) -> list[str]:
    return ["experiment=single_net", *overrides, f"root={root}"]


def _validated(seed: int, root: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Train without the validation split; return accuracy on it and training time."""
    spec = _spec(seed, root, overrides)
    state, seconds = _train(spec, seed)
    row = {"seed": seed, "accuracy": objective(spec, state), "minutes": seconds / 60}
    print(f"seed {seed}: {row['accuracy']:.3%} in {row['minutes']:.1f} min", flush=True)
    return row


def _folder(root: Path, seed: int) -> Path:
    return root / "single_net" / f"seed{seed}"


def _trained(seed: int, root: Path, overrides: Sequence[str]) -> float:
    """Train on all training images unless that is done already; return the minutes it took."""
    spec = _spec(seed, root, overrides)
    spec = replace(spec, data=replace(spec.data, valid_fraction=0.0))
    kept = _folder(root, seed) / "weights.npz"
    if kept.exists():
        _, about = checkpoint.load_weights(kept)
        if about.get("spec") == spec.digest():
            return float(about["minutes"])
    state, seconds = _train(spec, seed)
    started = time.perf_counter()
    weights = finished_weights(spec, state, STATISTICS_BATCHES)
    minutes = (seconds + time.perf_counter() - started) / 60
    kept.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save_weights(kept, weights, {"spec": spec.digest(), "minutes": minutes})
    return minutes


def _tested(root: Path, overrides: Sequence[str], minutes: Sequence[float]) -> list[dict[str, Any]]:
    """Score the trained nets on the test split."""
    nets = {
        f"seed{seed}": checkpoint.load_weights(_folder(root, seed) / "weights.npz")[0]
        for seed in range(len(minutes))
    }
    found = accuracies_on_test(StudyPaths(root, "single_net"), _whole(root, overrides), nets)
    rows = []
    for seed, (accuracy, spent) in enumerate(zip(found, minutes, strict=True)):
        print(f"seed {seed}: {accuracy:.3%} in {spent:.1f} min", flush=True)
        rows.append({"seed": seed, "accuracy": accuracy, "minutes": spent})
    return rows


def _train(spec: Spec, seed: int) -> tuple[TrainState, float]:
    seconds = 0.0

    def tell(state: TrainState, metrics: Metrics) -> None:
        nonlocal seconds
        seconds += metrics["epoch_s"]
        seen = (
            f", validation {metrics['valid_accuracy']:.3%}" if "valid_accuracy" in metrics else ""
        )
        print(
            f"  seed {seed} epoch {state.epoch}/{spec.train.epochs}: loss "
            f"{metrics['train_loss']:.4f}{seen}, {seconds / 60:.1f} min",
            flush=True,
        )

    return fit(spec, on_epoch=tell), seconds


if __name__ == "__main__":
    raise SystemExit(main())
