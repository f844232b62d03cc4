"""How many trainings run at once, and how many cores each may use."""

from pathlib import Path

import joblib
import pytest

from cnn_core.cores import free_cores
from pipeline.configuration import compose
from pipeline.slots import process
from pipeline.slots.pool import open_slots
from pipeline.slots.process import start_slots
from pipeline.slots.slot import WorkerSettings


@pytest.mark.parametrize(
    ("given", "count", "slots", "cores"),
    [
        ([], None, 4, 1),
        (["train.shards=2"], None, 4, 1),  # four nets at once do more than two in parts
        (["train.shards=2", "train.threads=2"], None, 2, 2),
        (["train.shards=4", "train.threads=3"], None, 1, 4),
        (["train.shards=8", "train.threads=8"], None, 1, 4),
        (["slots.n=2"], None, 2, 2),
        (["slots.n=2", "train.shards=2", "train.threads=2"], None, 2, 2),
        (["slots.n=9"], None, 9, 1),
        ([], 1, 1, 4),  # what pipeline.train asks for
    ],
)
def test_slots_share_the_cores(
    given: list[str],
    count: int | None,
    slots: int,
    cores: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked: list[tuple[int, int]] = []

    def start(count: int, settings: WorkerSettings) -> list[process.ProcessSlot]:
        asked.append((count, settings.cores))
        return []

    monkeypatch.setattr(process, "start_slots", start)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    with open_slots(compose(given), tmp_path, count):
        assert asked == [(slots, cores)]


def test_workers_are_told_the_study_their_memory_and_their_kernels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[WorkerSettings] = []
    monkeypatch.setattr(process, "start_slots", lambda count, told: asked.append(told) or [])
    with open_slots(
        compose(["slots.n=1", "slots.memory_mb=512", "blas.kernels=Haswell"]), tmp_path
    ):
        (told,) = asked
    assert (told.memory_mb, told.kernels) == (512, "Haswell")
    assert Path(told.study_folder) == tmp_path


def test_a_worker_knows_its_cores() -> None:
    (slot,) = start_slots(1, WorkerSettings(study_folder="/nowhere/cores", cores=3))
    try:
        assert slot.call(free_cores) == 3
    finally:
        slot.close()
