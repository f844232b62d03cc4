"""What a study of ten thousand trials must not do: look at all trials, or keep them, once for each
trial. Operations, bytes and living objects are counted, never time.
"""

import gc
import itertools
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from benchmarks.reliability_parts.cheap_slot import cheap_slots
from pipeline.configuration import SWEEP, command_line
from pipeline.reporting import best_trials
from pipeline.reporting.best_trials import front_of, optimism
from pipeline.reporting.prospect import expected_gain
from pipeline.reporting.table import StudyTable, TrialRow, table_of
from pipeline.search.curve_noise import CROSSINGS, PERCENTILE, crossing_noise
from pipeline.search.queue import TrialQueue
from pipeline.search.study_copies import StudyCopies
from pipeline.slots.stop_request import Stop
from pipeline.sweep import main as sweep
from pipeline.tracking import mlflow_replay
from tests.pipeline.studies import epoch_done, trial_ended, trial_started

MANY = 4000


def peak_of(call: Callable[[], Any]) -> int:
    """The most bytes that are allocated at once while it runs."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_deterministic_study_keeps_one_copy_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[optuna.Study]] = []
    living: list[int] = []
    copy = StudyCopies.copy

    def watched(self: StudyCopies, finished: Any) -> optuna.Study:
        gc.collect()
        living.append(sum(study() is not None for study in made))
        made.append(weakref.ref(found := copy(self, finished)))
        return found

    monkeypatch.setattr(StudyCopies, "copy", watched)
    words = ("study.deterministic=true", "study.round=1", "budget.trials=5", "tracking=none")
    with cheap_slots():
        given = [*words, "experiment=smoke", "sampler=random", f"root={tmp_path}", "-q"]
        assert command_line(SWEEP, given, sweep) == 0
    assert len(living) == 5
    assert max(living) <= 1


def test_a_table_asks_for_the_studys_attributes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(direction="maximize")
    for value in (0.1, 0.2, 0.3):
        study.tell(study.ask(), value)
    looks, attributes = itertools.count(), optuna.Study.user_attrs.fget
    monkeypatch.setattr(
        optuna.Study, "user_attrs", property(lambda self: (next(looks), attributes(self))[1])
    )
    assert len(table_of(study, tmp_path).complete) == 3
    assert next(looks) <= 1


def test_a_queue_without_a_rule_of_its_end_looks_at_no_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = optuna.create_study(direction="maximize")
    queue = TrialQueue(study, 40, Stop(), 3)
    monkeypatch.setattr(study, "get_trials", lambda **how: pytest.fail("all trials were read"))
    queue.end_early()
    assert queue.total == 40


def test_what_more_trials_bring_needs_no_table_of_all_pairs() -> None:
    values = np.random.default_rng(0).normal(size=MANY).tolist()
    assert peak_of(lambda: expected_gain(values, 10.0)) < 4_000_000


def test_luck_is_replayed_in_the_memory_of_one_replay() -> None:
    values = np.random.default_rng(0).normal(0.9, 0.01, MANY)
    assert peak_of(lambda: optimism(values, 0.01)) < 4_000_000
    few = np.sort(values[:9])[::-1][:5]
    kept = 1 - 0.002**2 / few.var(ddof=1)
    truth = few.mean() + np.sqrt(kept) * (few - few.mean())
    drawn = truth + 0.002 * np.random.default_rng(0).standard_normal((2000, 5))
    excess = drawn.max(axis=1) - truth[drawn.argmax(axis=1)]
    assert optimism(values[:9], 0.002) == pytest.approx(excess.mean(), rel=1e-12)


@pytest.mark.parametrize("directions", [("maximize", "minimize"), ("minimize",) * 3])
def test_a_front_is_found_without_comparing_all_pairs(
    directions: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = [1 if direction == "maximize" else -1 for direction in directions]
    drawn = np.random.default_rng(0).integers(0, 30, (500, len(directions))) * 1.0
    drawn = drawn[np.argsort(drawn @ signs)]  # a search that learns: the better ones come later
    rows = [TrialRow(n, state="COMPLETE", objective=(*row,)) for n, row in enumerate(drawn)]
    comparisons, dominates = itertools.count(), best_trials._dominates
    monkeypatch.setattr(
        best_trials, "_dominates", lambda *two: (next(comparisons), dominates(*two))[1]
    )
    found = front_of(StudyTable("s", Path(), directions, rows))
    better = drawn * signs
    wanted = {
        n
        for n, row in enumerate(better)
        if not any((other >= row).all() and (other > row).any() for other in better)
    }
    assert found == wanted
    assert next(comparisons) < 40 * len(rows)


class CountedCurve(dict[int, float]):
    """A curve that counts how often it is looked into."""

    looks = 0

    def __getitem__(self, epoch: int) -> float:
        CountedCurve.looks += 1
        return super().__getitem__(epoch)

    def get(self, epoch: int, default: Any = None) -> Any:
        CountedCurve.looks += 1
        return super().get(epoch, default)


def test_crossing_curves_are_read_once_each() -> None:
    rng, epochs = np.random.default_rng(0), 6
    curves = [
        CountedCurve(
            {e: float(rng.integers(0, 5)) / 8 for e in range(1, epochs + 1) if rng.random() < 0.8}
        )
        for _ in range(60)
    ]
    distances = []
    for one, other in itertools.combinations([dict(curve) for curve in curves], 2):
        gaps = [one[epoch] - other[epoch] for epoch in sorted(one.keys() & other.keys())]
        signs = [gap > 0 for gap in gaps if gap]
        if sum(a != b for a, b in itertools.pairwise(signs)) >= CROSSINGS:
            distances.append(abs(gaps[-1]))
    CountedCurve.looks = 0
    assert crossing_noise(curves) == pytest.approx(np.percentile(distances, PERCENTILE))
    assert CountedCurve.looks <= epochs * len(curves)


class NoRuns:
    """In the place of MLflow's runs."""

    def __init__(self, *given: Any) -> None:
        self.deleted: set[int] = set()


def test_the_tracking_process_forgets_the_epochs_of_trials_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_replay, "Runs", NoRuns)
    store: Any = type("Store", (), {"experiment_id": "0"})
    target: Any = None
    replay = mlflow_replay.Replay(store, "study", target)
    epochs: dict[str, list[weakref.ref[Any]]] = {}
    ends = ("COMPLETE", "PRUNED", "FAIL", "PAUSED", "PAUSED then PRUNED", "INTERRUPTED")
    for number, ends_of in enumerate(ends):
        replay.remember(trial_started(number))
        events = [epoch_done(number, epoch) for epoch in (1, 2)]
        epochs[ends_of] = [weakref.ref(event) for event in events]
        for event in [*events]:
            replay.remember(event)
        del events, event
        for state in ends_of.split(" then "):
            replay.remember(trial_ended(number, tmp_path, state=state))
    gc.collect()
    kept = {name for name, refs in epochs.items() if any(ref() for ref in refs)}
    assert kept == {"PAUSED", "PAUSED then PRUNED", "INTERRUPTED"}, "what may go on"
    sent: list[int] = []
    monkeypatch.setattr(replay, "_send", lambda trial, last=(): sent.append(trial.number))
    replay.flush()
    assert sent == []
