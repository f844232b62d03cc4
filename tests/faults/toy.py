"""A toy epoch for fault tests: no training, values that follow from the trial alone, and trouble on
request.

It runs in the sweep's worker processes. What a worker is to do at trial n, epoch e stands in files
of the folder $TOY: ``hold-n-e`` keeps it waiting while the file exists, ``once-n-e`` holds the name
of a misdeed that happens one time, ``always-n-e`` or ``always`` one that happens each time. It
leaves ``at-n-e-pid`` behind when it begins.
"""

import math
import os
import signal
import time
from pathlib import Path

import numpy as np

from cnn_core.checkpoint import TrainState
from cnn_core.cores import beside
from cnn_core.spec import Spec

FLOATS = 1000


def folder() -> Path:
    return Path(os.environ["TOY"])


def train_epoch(spec: Spec, state: TrainState | None) -> tuple[TrainState, dict[str, float]]:
    """Pretend to train; the value depends on seed, hyperparameters and epoch, as a net's does."""
    number, epoch = spec.seed[1], 1 if state is None else state.epoch + 1
    begin = time.perf_counter()
    (folder() / f"at-{number}-{epoch}-{os.getpid()}").touch()
    wait_while(folder() / f"hold-{number}-{epoch}")
    time.sleep(float(os.environ.get("TOY_EPOCH_S", "0")))
    metrics = values(spec, epoch) | trouble(number, epoch)
    weights = np.full(FLOATS, float(epoch), np.float32)
    history = [] if state is None else state.history
    after = TrainState(
        epoch, epoch, {"W": weights}, {}, {"m": weights.copy()}, history=[*history, dict(metrics)]
    )
    return after, {**metrics, "epoch_s": time.perf_counter() - begin}


def values(spec: Spec, epoch: int) -> dict[str, float]:
    """Return metrics that rise with the epochs towards a level that the hyperparameters decide."""
    noise = float(np.random.default_rng([*spec.seed, epoch]).random())
    level = 0.5 + 0.3 * spec.model.dropout + 0.01 * (spec.model.filters % 7) + 0.05 * noise
    accuracy = level * (1 - math.exp(-epoch))
    return {
        "train_loss": 1 - accuracy,
        "train_accuracy": accuracy,
        "valid_loss": 1 - accuracy,
        "valid_accuracy": accuracy,
        "lr": 0.1,
    }


def wait_while(path: Path, limit_s: float = 60.0) -> None:
    """Wait until the file is gone."""
    end = time.monotonic() + limit_s
    while path.exists() and time.monotonic() < end:
        time.sleep(0.005)


def trouble(number: int, epoch: int) -> dict[str, float]:
    """Do what the files in $TOY ask for; return metrics to be replaced."""
    once = folder() / f"once-{number}-{epoch}"
    if once.exists():
        what = once.read_text()
        once.unlink()
        return misdeed(what)
    for name in (f"always-{number}-{epoch}", f"always-{number}", "always"):
        if (folder() / name).exists():
            return misdeed((folder() / name).read_text())
    return {}


def misdeed(what: str) -> dict[str, float]:
    """Misbehave as named."""
    match what:
        case "SIGKILL" | "SIGSTOP" | "SIGSEGV":
            os.kill(os.getpid(), getattr(signal, what))
            time.sleep(60)
        case "hang":
            time.sleep(600)
        case "memory":
            np.empty(3 * 10**8)  # 2.4 GB of addresses: too much under a limit, nothing without one
        case "raise":
            raise ValueError("a misdeed")
        case "lose one beside":
            with beside(lambda item: os.kill(os.getpid(), signal.SIGKILL * item), 2) as run:
                run([0, 1])
        case "nan" | "inf" | "-inf":
            return {"train_loss": float(what), "valid_accuracy": float(what)}
    return {}
