"""budget.minutes while a search runs: kept to, and never without a complete trial, although the
machine becomes slower; with a clock that is told.
"""

from pathlib import Path

import pytest

from cnn_core.errors import InputError
from cnn_core.spec import Spec
from cnn_core.training import fit
from pipeline.configuration import compose, spec_of
from pipeline.configuration.termination import RunFailed
from pipeline.files import StudyPaths
from pipeline.records.time_plans import read_times
from pipeline.reporting.best_trials import last_values
from pipeline.search import leaderboard
from pipeline.search.budget import TimePlan, calibration_of
from pipeline.search.problem import costs_of
from pipeline.search.run_sweep import ENDED, _run, jobs_of
from pipeline.search.rungs import RUNG
from pipeline.search.runner import Runner, Usage
from pipeline.search.search_time import SearchTime
from pipeline.search.session import Session, make_problem, open_session
from pipeline.search.storage import running_trial
from pipeline.search.trial import Context
from pipeline.tracking.listeners import Listeners
from pipeline.trial_folder import TrialFolder
from tests.pipeline.played_time import Pace, PlayedClock, PlayedSlot, clock_of, untimed

# Four steps an epoch, ten epochs a trial.
KEYS = ("experiment=smoke", "tracking=none", "train.epochs=10", "sampler=random")


def opened(root: Path, minutes: float, *more: str) -> tuple[Session, PlayedClock, SearchTime]:
    """Open a study whose clock is told."""
    config = compose([*KEYS, f"root={root}", f"budget.minutes={minutes}", *more])
    clock = clock_of(config.paths.folder / "clock.json", minutes)
    session = open_session(make_problem(config)[0], 1, clock)
    plan = TimePlan(slots=1, epochs=10, trials=4, epoch_s=4.0)
    return session, clock, SearchTime(config, clock, 1, plan)


def searched(root: Path, minutes: float, step_s: Pace, *more: str) -> tuple[Session, PlayedClock]:
    """Run a search in one slot until its trials or its time are used up."""
    session, clock, time = opened(root, minutes, *more)
    config = session.config
    context, usage = Context(session.stop, cut_s=clock.cut_s), Usage()
    jobs = jobs_of(session, context, time)
    slot = PlayedSlot(clock, step_s)
    Runner(jobs, [slot], context, usage, config.paths.log, clock).run()
    return session, clock


def paths(root: Path) -> StudyPaths:
    return StudyPaths(root, "smoke")


def test_one_trial_is_complete_although_the_machine_becomes_four_times_slower(
    tmp_path: Path,
) -> None:
    # A trial takes 40 s, then 160 s: the first has 5 epochs after 20 s, and would need 80 s more.
    session, clock = searched(tmp_path, 1.0, lambda spec, used_s: 1.0 if used_s < 20 else 4.0)
    states = session.queue.counts()
    assert states["COMPLETE"] == 1
    assert clock.used_s <= 65 and session.stop.exit_code == 0
    stored = TrialFolder(paths(tmp_path).trial(0)).read()
    whole = compose(stored.overrides)
    assert whole.train.replanned[:2] == (0, 40) and 5 < whole.train.epochs < 10
    assert "train.replanned=" in " ".join(
        leaderboard.rank(session.study, session.problem.space, paths(tmp_path))[0].overrides
    ), "the command that trains it alone says so"
    spec = spec_of(whole, session.problem.data, stored.seed)
    assert untimed(fit(spec).history) == untimed(stored.history), "and it trains again to the bit"
    entry = read_times(paths(tmp_path))[0]
    assert (
        entry.text.startswith("trial 0 ends with step ") and "no trial is complete" in entry.reason
    )
    assert entry.text in paths(tmp_path).log.read_text()


def test_a_trial_that_will_be_in_time_is_left_alone(tmp_path: Path) -> None:
    session, _ = searched(tmp_path, 1.0, lambda spec, used_s: 1.0)
    assert session.queue.counts() == {"COMPLETE": 1, "INTERRUPTED": 1}
    assert not any("ends with step" in entry.text for entry in read_times(paths(tmp_path)))


def test_an_epoch_that_would_end_too_late_is_not_begun(tmp_path: Path) -> None:
    # The budget may be exceeded by 5 s. After 40 s the second trial's epochs take 16 s: the first
    # of them ends at 56 s, the second would at 72 s.
    session, clock = searched(tmp_path, 1.0, lambda spec, used_s: 1.0 if used_s < 40 else 4.0)
    assert clock.used_s == pytest.approx(56.0)
    assert session.stop.reason == "budget.minutes is used up" and session.stop.exit_code == 0
    assert session.queue.counts() == {"COMPLETE": 1, "INTERRUPTED": 1}
    stored = TrialFolder(paths(tmp_path).trial(1)).read()
    assert len(stored.history) == 1
    rows = leaderboard.rank(session.study, session.problem.space, paths(tmp_path))
    assert [(row.number, row.state) for row in rows] == [(0, "COMPLETE"), (1, "INTERRUPTED")]
    assert last_values(rows[1]) == (stored.history[0]["valid_accuracy"],), "it counts with that"


def test_an_epoch_that_became_too_long_is_cut_off(tmp_path: Path) -> None:
    session, clock = searched(tmp_path, 1.0, lambda spec, used_s: 1.0 if used_s < 44 else 9.0)
    assert clock.used_s == pytest.approx(65.0), "cut off 5 s after the end"
    assert session.queue.counts() == {"COMPLETE": 1, "INTERRUPTED": 1}
    assert session.queue.failed == 0


def test_a_larger_budget_goes_on_with_what_was_paused(tmp_path: Path) -> None:
    searched(tmp_path, 1.0, lambda spec, used_s: 1.0)
    session, clock = searched(tmp_path, 1.5, lambda spec, used_s: 1.0)
    assert session.queue.counts() == {"COMPLETE": 2, "INTERRUPTED": 1}
    assert 90 <= clock.used_s <= 95


def test_a_trial_whose_end_was_moved_keeps_it_when_it_goes_on(tmp_path: Path) -> None:
    """The machine becomes slow again before the shortened trial is complete."""

    def step_s(spec: Spec, used_s: float) -> float:
        return 1.0 if used_s < 20 else 4.0 if used_s < 38 else 30.0

    first, _ = searched(tmp_path, 1.0, step_s)
    assert first.queue.counts() == {"INTERRUPTED": 1}
    moved = compose(TrialFolder(paths(tmp_path).trial(0)).read().overrides).train
    assert moved.replanned
    second, _ = searched(tmp_path, 5.0, lambda spec, used_s: 1.0)
    assert second.queue.counts()["COMPLETE"] >= 1
    stored = TrialFolder(paths(tmp_path).trial(0)).read()
    assert compose(stored.overrides).train.replanned == moved.replanned
    assert len(stored.history) == moved.epochs


RUNGS = ("pruner=promote", "pruner.min_epochs=6")


def test_the_trial_that_is_to_be_complete_does_not_pause_at_a_rung(tmp_path: Path) -> None:
    # It has 5 epochs when the machine becomes slow; a pause after the sixth would be its last.
    session, clock = searched(tmp_path, 1.0, lambda _, used: 1.0 if used < 20 else 4.0, *RUNGS)
    assert session.queue.counts()["COMPLETE"] == 1 and clock.used_s <= 65
    trial = session.study.trials[0]
    assert trial.state.name == "COMPLETE" and max(trial.intermediate_values) > 6


def test_it_does_not_when_it_goes_on_either(tmp_path: Path) -> None:
    pace: Pace = lambda _, used: 1.0 if used < 20 else 4.0 if used < 30 else 40.0  # noqa: E731
    session, _ = searched(tmp_path, 1.0, pace, *RUNGS)
    assert session.queue.counts() == {"INTERRUPTED": 1}
    (stored,) = session.study.get_trials(deepcopy=False)
    assert stored.user_attrs[RUNG] == 6
    assert session.queue.until(running_trial(session.study, stored)) is None


def test_slower_epochs_are_noted_with_what_still_fits(tmp_path: Path) -> None:
    def step_s(spec: Spec, used_s: float) -> float:
        return costs_of(spec)["multiply_adds"] / 5_000 * (1.0 if used_s < 60 else 2.0)

    searched(tmp_path, 10.0, step_s)
    (entry,) = read_times(paths(tmp_path))
    assert entry.reason == "an epoch takes 2 times as long as before"
    assert entry.text.startswith("about ") and entry.text.endswith("4 were planned")


def test_time_is_kept_for_what_mlflow_lacks_and_is_none_for_more_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Listeners, "left_s", lambda self: 1000.0)  # a quarter is kept at most
    session, clock, time = opened(tmp_path, 1.0)
    slot = PlayedSlot(clock, lambda spec, used_s: 1.0)
    assert _run(session, [slot], slot.machine(), time) == 0
    assert 45 <= clock.now < 50, "trained until a quarter was left, epochs of 4 s"
    assert session.stop.reason == "budget.minutes is used up"
    _, again = searched(tmp_path, 1.0, lambda spec, used_s: 1.0)
    assert again.now == 0.0, "the same command trains nothing more"


SHORT = "at least 1.72 minutes here, got 1"


def tight(session: Session, clock: PlayedClock) -> SearchTime:
    """A plan whose cheapest trial takes 100 s."""
    plan = TimePlan(slots=1, epochs=10, trials=1, epoch_s=100.0, least_s=100.0)
    return SearchTime(session.config, clock, 1, plan)


def test_what_became_too_short_before_the_first_epoch_is_refused_and_leaves_no_study(
    tmp_path: Path,
) -> None:
    session, clock, _ = opened(tmp_path, 1.0)
    calibration_of(session.config).write_text("{}")
    slot = PlayedSlot(clock, lambda spec, used_s: 1.0)
    with pytest.raises(InputError, match=rf"cheapest trial's 1 epoch, which needs {SHORT}"):
        _run(session, [slot], slot.machine(), tight(session, clock))
    assert clock.now == 0.0 and not paths(tmp_path).trials.exists()
    assert not calibration_of(session.config).exists(), "a larger budget plans anew"
    assert not opened(tmp_path, 10.0, "train.epochs=12")[0].resumed, "with other epochs as well"


def test_a_study_with_an_epoch_goes_on_whatever_is_left(tmp_path: Path) -> None:
    searched(tmp_path, 1.0, lambda spec, used_s: 10.0)
    session, clock, _ = opened(tmp_path, 2.0)
    slot = PlayedSlot(clock, lambda spec, used_s: 1.0)
    assert session.begun
    assert _run(session, [slot], slot.machine(), tight(session, clock)) == 0


def test_time_that_ends_before_the_first_epoch_is_no_success(tmp_path: Path) -> None:
    session, clock, time = opened(tmp_path, 1.0)
    slot = PlayedSlot(clock, lambda spec, used_s: 1000.0)
    with pytest.raises(RunFailed, match=r"used up before a trial had an epoch; .*minutes=3$"):
        _run(session, [slot], slot.machine(), time)
    assert session.study.user_attrs[ENDED] == -1
    again, clock, _ = opened(tmp_path, 1.0)
    with pytest.raises(InputError, match="which needs at least"):
        _run(again, [slot], slot.machine(), tight(again, clock))
    assert again.study.trials and opened(tmp_path, 3.0)[0].resumed, "a study of before stays"


def test_final_models_are_made_of_a_stand_in_where_time_ended_before_the_first_epoch(
    tmp_path: Path,
) -> None:
    for _ in range(2):  # the second time no time is left at all
        session, clock, time = opened(tmp_path, 1.0, "final.after_sweep=true")
        slot = PlayedSlot(clock, lambda spec, used_s: 1000.0)
        assert _run(session, [slot], slot.machine(), time) == 0
        assert not session.begun
