"""What is added up for the time after the last final net, by hand, with told paces."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cnn_core.data.splits import split_of
from pipeline import final
from pipeline.configuration import compose
from pipeline.ensemble import what_follows
from pipeline.ensemble.what_follows import EXPORTED_S, JOINED_S, REGISTERED_S, TEST_SHARE, Following
from tests.pipeline.final_study import FINAL_ARGUMENTS


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by the clock and of the processor while predictions are measured."""
    times = [1.0, 1.0]
    walls, cpus = iter([0.0, times[0]] * 9), iter([0.0, times[1]] * 9)

    def clock(index: int) -> float:
        at = next(walls if index == 0 else cpus)
        return times[index] if at else 0.0

    played = SimpleNamespace(perf_counter=lambda: clock(0), process_time=lambda: clock(1))
    monkeypatch.setattr(what_follows, "time", played)
    monkeypatch.setattr(what_follows, "image_s", lambda spec, views: 0.01)
    return times


def seconds(root: Path, slots: int, *words: str) -> tuple[float, final.FinalPlan]:
    planned = final.plan(compose([*FINAL_ARGUMENTS, *words, f"root={root}"], final.FINAL))
    return Following.of(planned.config, planned.members, slots).seconds, planned


def test_predictions_out_of_fold_are_shared_by_the_slots(
    final_root: Path, told: list[float]
) -> None:
    alone, planned = seconds(final_root, 1, "final.after_sweep=false")
    images = sum(len(split_of(spec.data).valid) for spec in planned.members[0].specs)
    # two members, images as they are and disturbed
    assert alone == pytest.approx(JOINED_S + 2 * 2 * images * 0.01)
    both, _ = seconds(final_root, 2, "final.after_sweep=false")
    assert both == pytest.approx(JOINED_S + 2 * images * 0.01)


def test_evaluation_and_export_come_on_top(final_root: Path, told: list[float]) -> None:
    before, planned = seconds(final_root, 1, "final.after_sweep=false")
    after, _ = seconds(final_root, 1, "final.after_sweep=true")
    first = planned.members[0].specs[0].data
    images = sum(len(split_of(spec.data).valid) for spec in planned.members[0].specs)
    scored = images * TEST_SHARE + 2 * first.reserve
    nets = 2 * 2  # the refits of two members
    assert after - before == pytest.approx(EXPORTED_S + scored * nets * 0.01)
    logged, _ = seconds(final_root, 1, "final.after_sweep=true", "tracking=mlflow")
    assert logged - after == pytest.approx(REGISTERED_S)


def test_on_a_busy_machine_what_is_fixed_takes_longer(final_root: Path, told: list[float]) -> None:
    quiet, _ = seconds(final_root, 1, "final.after_sweep=false")
    told[0] = 3.0  # of which the processor gave one second
    busy, _ = seconds(final_root, 1, "final.after_sweep=false")
    assert busy - quiet == pytest.approx(2 * JOINED_S)
