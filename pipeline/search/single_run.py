"""`pipeline.train` from configuration to exit code: check, show the net, train it in a slot, say what came of it."""

from collections.abc import Callable

import numpy as np

from cnn_core.architectures import build_model
from cnn_core.spec import DataSpec
from pipeline.artifacts import atomic_write_bytes, writable_folder
from pipeline.config import Config
from pipeline.search.listeners import LogListener, make_listeners
from pipeline.search.lock import OwnerLock
from pipeline.search.record import Outcome, read_history
from pipeline.search.single import Single, compose_single, curve_path, train_single
from pipeline.search.stop import SignalHandling, Stop
from pipeline.slots.opening import open_slots
from pipeline.slots.orphans import reap_after
from pipeline.tracking.figures import learning_curves, png
from pipeline.tracking.progress import ProgressListener

Say = Callable[[str], None]


def run(config: Config, data: DataSpec, number: int, say: Say) -> int:
    """Train the net that `config` describes in one slot; return the exit code. Raises InputError before the first epoch."""
    single = compose_single(config, data, number)
    known = single.finished()
    if known is not None:
        say(f"{known.state} before: {_result(known)}; {single.paths.folder} holds it, and removing that trains again")
        return 0 if known.state == "COMPLETE" else 1
    folder = writable_folder(single.paths.folder, "root")
    lock = OwnerLock(folder / "owner.json")
    lock.acquire()
    try:
        reap_after(lock.previous, folder)
        slots = open_slots(config, folder)
        try:
            if not config.quiet:
                _show_net(single, say)
            stop = Stop()
            with SignalHandling(stop, say):
                progress = ProgressListener(quiet=config.quiet, verbose=True)
                listeners = make_listeners(config, folder, [LogListener(folder / "log.txt"), progress], stop)
                outcome = train_single(single, slots[0], stop, listeners)
        finally:
            for slot in slots:
                slot.close()
    finally:
        lock.release()
    _draw(single)
    files = ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))
    say(f"{outcome.state}: {_result(outcome)} after {outcome.epochs} epochs, {outcome.duration_s:.1f} s")
    say(f"in {folder}: {files}")
    return stop.exit_code or (0 if outcome.state == "COMPLETE" else 1)


def _show_net(single: Single, say: Say) -> None:
    data = single.spec.data
    say(build_model(single.spec.model, data.image_shape, data.classes, np.random.default_rng(0)).summary())


def _result(outcome: Outcome) -> str:
    return f"objective {outcome.values[0]:.4f}" if outcome.values else outcome.reason


def _draw(single: Single) -> None:
    history = dict(enumerate(read_history(single.paths), 1))
    if history:
        atomic_write_bytes(curve_path(single.paths), png(learning_curves(history, single.work.name)))
