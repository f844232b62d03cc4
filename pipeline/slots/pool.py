"""Slots as the configuration asks for them."""

from collections.abc import Sequence
from pathlib import Path

import joblib

from pipeline.config import Config
from pipeline.slots.slot import Slot, WorkerSettings


def open_slots(config: Config, study_folder: Path, count: int | None = None) -> Sequence[Slot]:
    """Start the workers (`count`, or ``slots.n``) and return at once. Raises InputError for a
    cluster that cannot be reached.
    """
    if config.slots.name == "dask":
        from pipeline.slots.dask import connect_slots

        return connect_slots(config.slots, count or config.slots.n, config.blas.kernels)
    from pipeline.slots.process import start_slots

    settings = WorkerSettings(
        study_folder=str(study_folder),
        memory_mb=config.slots.memory_mb,
        kernels=config.blas.kernels,
    )
    slots: Sequence[Slot] = start_slots(count or config.slots.n or joblib.cpu_count(), settings)
    return slots
