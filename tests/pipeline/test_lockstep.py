"""What the report says of deterministic mode's cost: a few epochs by hand, and a real study."""

import re
from pathlib import Path

import pytest

from pipeline.files import StudyPaths
from pipeline.reporting.facts import gather, lockstep, makespan, round_s
from pipeline.reporting.next_steps import repeat
from pipeline.search.open_study import read_study
from tests.pipeline.test_sweep_commands import TINY, command


def test_a_round_takes_each_epochs_slowest_and_free_slots_go_on() -> None:
    assert makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0  # the second slot does the three short ones
    assert makespan([1.0, 1.0, 1.0, 3.0], 2) == 4.0
    members = [[3.0, 3.0], [1.0, 1.0], [1.0]]  # the third was pruned after an epoch
    assert round_s(members, 2) == 3.0 + 3.0
    assert round_s(members, 1) == 5.0 + 4.0


@pytest.mark.slow
def test_the_report_of_a_deterministic_study_says_what_it_cost(tmp_path: Path) -> None:
    done = command(
        "sweep",
        tmp_path,
        *TINY,
        "study.deterministic=true",
        "study.round=3",
        "tracking=mlflow",
        "tracking.figures=false",
    )
    assert done.returncode == 0, done.stderr
    paths = StudyPaths(tmp_path, "smoke")
    facts = gather(read_study(paths), paths)
    assert {trial.number: trial.round for trial in facts.table.trials} == {0: 0, 1: 0, 2: 0, 3: 3}
    cost = lockstep(facts.table)
    assert cost is not None
    assert cost.slots == 2
    assert cost.trained_s == pytest.approx(
        sum(row["epoch_s"] for trial in facts.table.trials for row in trial.history.values())
    )
    assert (
        cost.trained_s / 2 <= cost.free_s <= cost.lockstep_s
    )  # three trials, and one alone, leave a slot without work
    alone_s = sum(
        row["epoch_s"]
        for trial in facts.table.trials
        if trial.number == 3
        for row in trial.history.values()
    )
    assert (
        alone_s / (2 * cost.lockstep_s) <= cost.waiting <= 0.5
    )  # the last trial's whole time on one slot, and never more than one slot of two
    said = repeat(facts)
    assert re.search(rf"2 slots stood still for {cost.waiting:.0%}", said)


def test_a_free_study_has_no_such_cost() -> None:
    from pipeline.reporting.table import StudyTable, TrialRow

    assert (
        lockstep(
            StudyTable("s", Path(), ("maximize",), [TrialRow(0, history={1: {"epoch_s": 1.0}})])
        )
        is None
    )
