"""What is added up for the time after the last final net, by hand, with told paces."""

from pathlib import Path

import pytest

from cnn_core.data.splits import split_of
from pipeline import final
from pipeline.configuration import compose
from pipeline.ensemble import what_follows
from pipeline.ensemble.what_follows import (
    COMPILED,
    COMPILED_S,
    EXPORTED_S,
    JOINED_S,
    REGISTERED_S,
    TEST_SHARE,
    Following,
    crowding,
    python_pace,
)
from tests.pipeline.final_study import FINAL_ARGUMENTS


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How crowded the machine is, whatever it is; an image takes 10 ms."""
    crowded = [1.0]
    monkeypatch.setattr(what_follows, "image_s", lambda spec, views: 0.01)
    monkeypatch.setattr(what_follows, "crowding", lambda *_: crowded[0])
    return crowded


def seconds(
    root: Path, slots: int, *words: str, pace: float = 1.0
) -> tuple[float, final.FinalPlan]:
    planned = final.plan(compose([*FINAL_ARGUMENTS, *words, f"root={root}"], final.FINAL))
    return Following.of(planned.config, planned.members, slots, pace).seconds, planned


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
    quiet, _ = seconds(final_root, 1, "final.after_sweep=true")
    busy, _ = seconds(final_root, 1, "final.after_sweep=true", pace=3.0)
    assert busy - quiet == pytest.approx(2 * (JOINED_S + EXPORTED_S))
    told[0] = 1.5
    crowded, _ = seconds(final_root, 1, "final.after_sweep=true")
    fixed = JOINED_S + EXPORTED_S
    assert crowded - fixed == pytest.approx(1.5 * (quiet - fixed)), "predictions wait too"


def test_what_comes_after_the_choice_is_known_apart(final_root: Path, told: list[float]) -> None:
    alone = seconds(final_root, 1, "final.after_sweep=false")[0]
    words = [*FINAL_ARGUMENTS, "final.after_sweep=true", f"root={final_root}"]
    planned = final.plan(compose(words, final.FINAL))
    whole = Following.of(planned.config, planned.members, 1, 1.0)
    assert whole.after_s == pytest.approx(whole.seconds - alone)


def test_several_processes_leave_each_other_less_than_one_had() -> None:
    assert crowding(1.0, 2, 2) == 1.0, "a core each, as far as is known"
    # two others on two cores: three processes had two thirds of a core each, four have a half
    assert crowding(2 / 3, 2, 2) == pytest.approx((2 / 3) / (1 / 2))
    assert crowding(2 / 3, 1, 2) == pytest.approx(1.0)
    # seven others on four cores: eight had a half, eleven have 4/11
    assert crowding(1 / 2, 4, 4) == pytest.approx((1 / 2) / (4 / 11))
    assert crowding(0.5, 2, 1) == pytest.approx(0.5 / (1 / 3))


def test_python_s_pace_is_the_time_of_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([5.0, 5.0 + 2 * COMPILED * COMPILED_S])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert python_pace() == pytest.approx(2.0)
