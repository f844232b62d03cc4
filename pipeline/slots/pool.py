"""Opening the configured slots, and spreading work over them."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import joblib

from cnn_core.errors import InputError
from cnn_core.plugins import require
from pipeline.configuration import Config
from pipeline.slots.owner_lock import OwnerLock, reap_after
from pipeline.slots.slot import CallFailed, Slot, WorkerSettings
from pipeline.slots.stop_request import STOP_FILE

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold the folder of a study (or net) in this context, after cleaning up behind a killed owner.

    Raises InputError if another process holds it.
    """
    lock = OwnerLock(folder / "owner.json")
    lock.acquire()
    try:
        reap_after(lock.previous, folder)
        (folder / STOP_FILE).unlink(missing_ok=True)  # it asked an earlier run
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def open_slots(config: Config, folder: Path, count: int | None = None) -> Iterator[Sequence[Slot]]:
    """Start `count` workers (or ``slots.n``) without waiting for them; close them on exit.

    Raises InputError for a cluster that cannot be reached.
    """
    slots: list[Slot] = []
    try:
        _start(slots, config, folder, count)
        _require_plugins(slots, config)
        yield slots
    finally:
        for slot in slots:
            slot.close()


def _require_plugins(slots: Sequence[Slot], config: Config) -> None:
    """Have the workers load the plug-ins that training needs. Raises InputError where one cannot,
    such as on a machine that lacks the file.
    """
    needed = tuple(plugin.spec for plugin in config.plugins if plugin.trains)
    for slot in slots if needed else ():
        try:
            slot.call(require, needed)
        except CallFailed as error:
            raise InputError(f"{error.text}; in a worker") from None


def spread(
    function: Callable[[Slot, Item], Result], items: Sequence[Item], slots: Sequence[Slot]
) -> list[Result]:
    """Return ``function(slot, item)`` for each item, each in whichever slot is idle."""
    idle: SimpleQueue[Slot] = SimpleQueue()
    for slot in slots:
        idle.put(slot)

    def one(item: Item) -> Result:
        slot = idle.get()
        try:
            return function(slot, item)
        finally:
            idle.put(slot)

    with ThreadPoolExecutor(len(slots)) as pool:
        return list(pool.map(one, items))


def _start(slots: list[Slot], config: Config, study_folder: Path, count: int | None) -> None:
    """Start slots and append them, so that whatever interrupts this, they are closed."""
    if config.slots.name == "dask":
        from pipeline.slots.dask import connect_slots

        slots += connect_slots(config.slots, count or config.slots.n, config.blas.kernels)
        return
    from pipeline.slots.process import signals_blocked, start_slots

    cores = joblib.cpu_count()
    # A training with several threads takes as many cores; those without a slot are free for them.
    count = count or config.slots.n or max(1, cores // (config.train.threads or 1))
    settings = WorkerSettings(
        study_folder=str(study_folder),
        memory_mb=config.slots.memory_mb,
        cores=max(1, cores // count),
        kernels=config.blas.kernels,
    )
    with signals_blocked():
        slots += start_slots(count, settings)
