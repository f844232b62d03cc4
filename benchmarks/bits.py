"""Digests of what this checkout computes, to hold against another's: ``python -m benchmarks.bits
--out now.json [--against then.json]``.

Every preset's first epoch (metrics and weights), a deterministic study, the ensemble built of it
and its bundle's predictions. A change that only moves code gives the same digests on the same
machine. It uses what every version has: `compose`, `pipeline.data`, `cnn_core.training`,
and the commands; so another checkout can run this very file by its path, with ``PYTHONPATH=.``.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

STUDY = (
    "study.name=exact",
    "study.deterministic=true",
    "budget.trials=12",
    "slots.n=2",
    "tracking=none",
    "train.epochs=6",
)
FINAL = (
    "final.members=2",
    "final.folds=2",
    "final.refit=1",
    "final.epochs=4",
    "ensemble=greedy",
    "ensemble.views=3",
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bits", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the digests go, JSON")
    parser.add_argument(
        "--against", type=Path, help="digests of another checkout; exit code 1 where one differs"
    )
    parser.add_argument("--presets", nargs="*", help="only these presets; none given: all")
    options = parser.parse_args(argv)
    from pipeline.configuration.hydra_tree import groups  # after the environment is set

    with tempfile.TemporaryDirectory(prefix="bits-") as folder:
        names = groups()["experiment"] if options.presets is None else options.presets
        found: dict[str, Any] = {f"preset {name}": preset(name, Path(folder)) for name in names}
        found |= study_and_bundle(Path(folder))
    options.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(f"{len(found)} digests written to {options.out}")
    return compare(json.loads(options.against.read_text()), found) if options.against else 0


def compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> int:
    """Print what differs; return 1 where anything does."""
    shared = sorted(then.keys() & now.keys())
    different = [key for key in shared if then[key] != now[key]]
    for key in different:
        print(f"DIFFERENT {key}: {then[key]} then, {now[key]} now")
    print(
        f"{len(shared) - len(different)} of {len(shared)} digests are the same, "
        f"{len(then.keys() ^ now.keys())} on one side alone"
    )
    return 1 if different else 0


def digest(value: Any) -> str:
    """Return a digest of plain values, arrays and mappings of them."""
    if isinstance(value, np.ndarray):
        return hashlib.sha256(
            f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
        ).hexdigest()[:16]
    if isinstance(value, Mapping):
        return digest(
            json.dumps({str(key): digest(item) for key, item in value.items()}, sort_keys=True)
        )
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def preset(name: str, root: Path) -> dict[str, str]:
    """Return what a preset's first epoch gives, as it is and as each of its enqueued trials."""
    from cnn_core.training import train_epoch

    try:
        from pipeline.configuration import compose, spec_of
    except ImportError:  # in checkouts that still have pipeline/config.py
        from pipeline.config import compose, spec_of  # type: ignore[import-not-found,no-redef]
    from pipeline.data import prepare

    config = compose([f"experiment={name}"])
    data = prepare(config.data, root)
    found = {}
    for number, extra in enumerate([[], *config.study.enqueue]):
        spec = spec_of(compose([f"experiment={name}", *extra]), data, (config.study.seed, number))
        state, metrics = train_epoch(spec, None)
        del metrics["epoch_s"]
        found[f"{number} metrics"] = digest(metrics)
        found[f"{number} weights"] = digest(state.params | state.buffers)
        print(f"{name} {number}: {found}", flush=True)
    return found


def study_and_bundle(root: Path) -> dict[str, Any]:
    """Return digests of a deterministic study, its final nets and its bundle's predictions."""
    import optuna
    from sklearn.datasets import load_digits

    from pipeline.bundle import load_bundle

    run("sweep", *STUDY, f"root={root}")
    study = optuna.load_study(
        study_name="exact", storage=f"sqlite:///{root / 'exact' / 'study.db'}"
    )
    trials = [
        (t.number, t.state.name, t.values, t.params, t.intermediate_values)
        for t in study.get_trials()
    ]
    run("final", "study.name=exact", f"root={root}", *FINAL)
    run("export", "study.name=exact", f"root={root}", "tracking=none")
    images = (load_digits().images * 15.9).astype(np.uint8)[:, None]
    bundle = load_bundle(root / "exact" / "bundle")
    weights = {
        path.parent.name + path.parent.parent.name: path
        for path in sorted((root / "exact" / "final").glob("*/*/weights.npz"))
    }
    return {
        "study trials": digest(trials),
        "study best weights": digest(
            arrays(next((root / "exact" / "trials").glob("*/weights.npz")))
        ),
        "final weights": digest({name: digest(arrays(path)) for name, path in weights.items()}),
        "bundle members": digest(bundle.member_proba(images)),
        "bundle probabilities": digest(bundle.predict_proba(images)),
    }


def arrays(path: Path) -> dict[str, Any]:
    """Return a weight file's parameters and buffers; its manifest holds names that may change."""
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files if name != "manifest"}


def run(command: str, *overrides: str) -> None:
    """Run a command of this checkout to its end. Raises CalledProcessError with what it printed on
    stderr shown.
    """
    subprocess.run(
        [sys.executable, "-m", f"pipeline.{command}", "-q", *overrides],
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    pinned = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    if any(
        os.environ.get(key) != value for key, value in pinned.items()
    ):  # the number of threads decides the last bits
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **pinned})
    sys.exit(main())
