"""Small parts of the engine: the queue's ticket, the study in memory, the owner lock, the stop,
confirmation's arithmetic, the time budget.
"""

import contextlib
import math
import sqlite3
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from cnn_core.errors import InputError
from pipeline.configuration import compose
from pipeline.files import StudyPaths
from pipeline.reporting.best_trials import front_of
from pipeline.reporting.table import table_of
from pipeline.search.budget import geometric_mean
from pipeline.search.confirm import Confirmed, confirmed_lines, write_confirmed
from pipeline.search.fingerprint import differences
from pipeline.search.leaderboard import rank, table
from pipeline.search.queue import TrialQueue
from pipeline.search.runner import Usage
from pipeline.search.samplers import make_sampler
from pipeline.search.space import Space
from pipeline.search.storage import MirrorStorage, asking
from pipeline.search.study_clock import StudyClock
from pipeline.slots.owner_lock import Owner, OwnerLock, is_locked, read_owner
from pipeline.slots.stop_request import Stop
from tests.ends import ended

SPACE = Space.parse({"x": {"float": [0.0, 1.0]}})


def queue_of(total: int | None, max_failed: int = 100) -> TrialQueue:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    return TrialQueue(study, total, Stop(), max_failed)


@pytest.mark.parametrize("threads", [1, 8])
def test_the_total_is_exact_with_failures_and_many_threads(threads: int) -> None:
    queue = queue_of(25)

    def work() -> None:
        while (asked := queue.ask(SPACE.suggest)) is not None:
            trial, _ = asked
            failed = trial.number % 4 == 0
            queue.tell(
                trial,
                ended("FAIL", reason="every fourth")
                if failed
                else ended("COMPLETE", trial.params["x"]),
            )

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    states = [trial.state for trial in queue.study.trials]
    assert states.count(TrialState.COMPLETE) == 25
    assert states.count(TrialState.FAIL) == len(states) - 25
    assert queue.finished and queue.left == 0


def test_too_many_failures_stop_the_sweep_with_the_first_reason() -> None:
    queue = queue_of(10, max_failed=2)
    for reason in ("one", "two"):
        asked = queue.ask(SPACE.suggest)
        assert asked is not None
        queue.tell(asked[0], ended("FAIL", reason=reason))
    assert queue._stop.requested and queue._stop.exit_code == 1
    assert "2 trials failed in this run" in queue._stop.reason and "one" in queue._stop.reason
    assert queue.ask(SPACE.suggest) is None


def test_a_better_trial_names_the_one_it_beats() -> None:
    queue = queue_of(3)
    beaten = []
    for value in (0.5, 0.4, 0.6):
        asked = queue.ask(SPACE.suggest)
        assert asked is not None
        beaten.append(queue.tell(asked[0], ended("COMPLETE", value)))
    assert beaten == [None, None, 0]


def test_a_slot_without_a_trial_left_is_idle_and_not_outside_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("pipeline.search.queue.time", SimpleNamespace(monotonic=lambda: now[0]))
    queue = queue_of(1)
    asked = queue.ask(SPACE.suggest)
    assert asked is not None
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(queue.ask(SPACE.suggest)))
    waiting.start()
    while not queue._changed._waiters:  # type: ignore[attr-defined]
        assert waiting.is_alive()
    now[0] += 41.0
    queue.tell(asked[0], ended("COMPLETE", 0.5))
    waiting.join(30)
    assert answers == [None] and queue.idle_s == 41.0
    # Two slots for 60 s: 75 s of the 79 in which there was something to train.
    assert Usage(started=0.0, ended=60.0, training_s=75.0).outside(
        2, queue.idle_s
    ) == pytest.approx(4 / 79)
    assert Usage(started=0.0, ended=60.0, training_s=75.0).outside(2) == pytest.approx(45 / 120)


def make_mirror(path: Path) -> tuple[RDBStorage, optuna.Study]:
    database = RDBStorage(f"sqlite:///{path}")
    if "s" not in optuna.get_all_study_names(database):
        optuna.create_study(study_name="s", storage=database, direction="maximize")
    return database, optuna.load_study(
        study_name="s",
        storage=MirrorStorage(database, "s"),
        sampler=optuna.samplers.RandomSampler(seed=1),
    )


def plain(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [
        (
            t.number,
            t.state,
            t.values,
            t.params,
            t.intermediate_values,
            t.user_attrs,
            t.distributions,
        )
        for t in study.trials
    ]


def test_the_mirror_and_the_database_agree_after_every_kind_of_change(tmp_path: Path) -> None:
    database, study = make_mirror(tmp_path / "s.db")
    study.set_user_attr("note", [1, 2])
    study.enqueue_trial({"x": 0.25})
    for end in ("COMPLETE", "FAIL", "PRUNED", "WAITING"):
        trial = study.ask()
        SPACE.suggest(trial)
        for step, value in enumerate((0.5, math.inf, -math.inf, 0.25), 1):
            trial.report(value, step)
        trial.set_user_attr("who", end)
        if end == "WAITING":
            study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
        else:
            study.tell(trial, 0.7 if end == "COMPLETE" else None, TrialState[end])
    direct = optuna.load_study(study_name="s", storage=database)
    assert plain(direct) == plain(study)
    assert direct.user_attrs == study.user_attrs
    _, again = make_mirror(tmp_path / "s.db")
    assert plain(again) == plain(study)
    resumed = again.ask()
    assert resumed.number == 3
    assert resumed.suggest_float("x", 0.0, 1.0) == study.trials[3].params["x"]


def test_a_trial_that_is_asked_for_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    space = Space.parse(
        {
            "x": {"float": [0.0, 1.0]},
            "n": {"int": [1, 9]},
            "k": {"choice": ["a", "b"]},
            "r": {"float": [1e-3, 1.0], "log": True},
        }
    )
    database, study = make_mirror(tmp_path / "s.db")
    direct = optuna.load_study(study_name="s", storage=database)
    study.enqueue_trial({"x": 0.25, "n": 3, "k": "b", "r": 0.5})
    with asking(study):
        assert space.suggest(study.ask()) == ["x=0.25", "n=3", "k=b", "r=0.5"]
        assert direct.trials[0].params == {
            "x": 0.25,
            "n": 3,
            "k": "b",
            "r": 0.5,
        }  # it was in the queue, so it is written as it goes
    with asking(study):
        trial = study.ask()
        study._storage.set_trial_system_attr(trial._trial_id, "sampler's", [1])
        trial.set_user_attr("who", "me")
        space.suggest(trial)
        assert len(direct.trials) == 1
    trial.report(0.5, 1)
    assert plain(direct) == plain(study)
    assert (
        direct.trials[1].system_attrs == {"sampler's": [1]}
        and direct.trials[1].datetime_start == study.trials[1].datetime_start
    )
    study.tell(trial, 0.75)
    assert plain(direct) == plain(study)


def test_a_trial_that_could_not_be_written_was_never_asked_for(tmp_path: Path) -> None:
    database, study = make_mirror(tmp_path / "s.db")
    study.sampler = make_sampler(compose(["sampler=random"]).sampler, 1, SPACE)

    with sqlite3.connect(tmp_path / "s.db") as other:
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON trial_params BEGIN SELECT RAISE(ABORT, 'no "
            "parameters today'); END"
        )
    refused = []
    with pytest.raises(SQLAlchemyError, match="no parameters today"), asking(study):
        refused += SPACE.suggest(study.ask())
    assert study.trials == [] == optuna.load_study(study_name="s", storage=database).trials
    with sqlite3.connect(tmp_path / "s.db") as other:
        other.execute("DROP TRIGGER refuse")
    with asking(study):
        trial = study.ask()
        assert (
            SPACE.suggest(trial) == refused
        )  # the number's own, as if it had never been asked for
    assert trial.number == 0
    study.tell(trial, 0.5)
    assert plain(optuna.load_study(study_name="s", storage=database)) == plain(study)


def test_the_ledger_writes_a_trial_when_its_parameters_are_chosen(tmp_path: Path) -> None:
    database, study = make_mirror(tmp_path / "s.db")
    direct = optuna.load_study(study_name="s", storage=database)
    seen: list[int] = []

    def suggest(trial: optuna.Trial) -> list[str]:
        seen.append(len(direct.trials))
        return SPACE.suggest(trial)

    queue = TrialQueue(study, 2, Stop(), 100)
    assert queue.ask(suggest) is not None and queue.ask(suggest) is not None
    assert seen == [0, 1]
    assert plain(direct) == plain(study)


def test_one_trial_at_a_time_is_asked_for(tmp_path: Path) -> None:
    _, study = make_mirror(tmp_path / "s.db")
    with asking(study):
        study.ask()
        with pytest.raises(RuntimeError, match="one trial at a time"):
            study.ask()
    assert [trial.number for trial in study.trials] == [0]


@pytest.mark.parametrize("held", [False, True])
def test_the_mirror_notices_another_writer(tmp_path: Path, held: bool) -> None:
    database, study = make_mirror(tmp_path / "s.db")
    optuna.load_study(study_name="s", storage=database).ask()
    context = asking(study) if held else contextlib.nullcontext()
    refused = pytest.raises(
        optuna.exceptions.StorageInternalError,
        match="another program has added trials: the next must be 0, got 1",
    )
    with refused, context:
        study.ask()


def test_the_owner_lock_excludes_and_names(tmp_path: Path) -> None:
    path = tmp_path / "study" / "owner.json"
    path.parent.mkdir()
    first, second = OwnerLock(path), OwnerLock(path)
    first.acquire()
    assert is_locked(path) and read_owner(path) == Owner.here() and Owner.here().lives()
    with pytest.raises(InputError, match=f"while process {Owner.here().pid} on .* runs it"):
        second.acquire()
    first.release()
    assert not is_locked(path) and read_owner(path) is None
    second.acquire()
    assert second.previous is None
    second.release()


def test_a_process_of_another_boot_or_start_does_not_live() -> None:
    here = Owner.here()
    assert not Owner(host=here.host, boot="other", pid=here.pid, start=here.start).lives()
    assert not Owner(host=here.host, boot=here.boot, pid=here.pid, start=here.start - 100).lives()


def test_the_first_reason_stays_and_later_calls_only_hurry() -> None:
    stop, heard = Stop(), []
    stop.on_request.append(lambda: heard.append(stop.now))
    stop.request("interrupted", 130)
    stop.request("SIGTERM", 143, now=True)
    assert (stop.reason, stop.exit_code, stop.now) == ("interrupted", 130, True)
    assert heard == [False, True]


def test_a_failure_outweighs_a_good_end() -> None:
    stop = Stop()
    stop.request("budget.minutes is used up", 0)
    stop.request("the disk is full", 1)
    assert (stop.reason, stop.exit_code) == ("the disk is full", 1)


def test_the_clock_adds_up_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    path.write_text('{"used_s": 100.0}')
    clock = StudyClock(path, minutes=2.0)
    assert clock.left_s == pytest.approx(20.0, abs=1.0)
    clock.save(now=True)
    assert StudyClock(path, None).used_s == pytest.approx(100.0, abs=1.0)
    assert StudyClock(path, minutes=1.0).left_s == 0.0


def test_the_clock_keeps_time_for_what_follows_the_last_trial(tmp_path: Path) -> None:
    clock = StudyClock(tmp_path / "clock.json", minutes=10.0)  # may be exceeded by 12 s
    assert clock.cut_s() == pytest.approx(606.0, abs=1.0)
    clock.following = lambda: 30.0
    assert clock.left_s == pytest.approx(570.0, abs=1.0)
    assert clock.cut_s() == pytest.approx(576.0, abs=1.0)
    assert clock.end_s() == pytest.approx(600 + 0.8 * 12, abs=1.0)
    clock.following = lambda: 1000.0
    assert clock.left_s == pytest.approx(450.0, abs=1.0), "a quarter of it at most"
    endless = StudyClock(tmp_path / "none.json", None)
    assert endless.end_s() is None and endless.cut_s() is None and endless.left_s is None


def test_a_run_s_beginning_counts_and_what_was_kept_is_no_time_for_more(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    clock = StudyClock(path, minutes=1.0, began=time.monotonic() - 20.0)
    assert clock.left_s == pytest.approx(40.0, abs=1.0)
    clock.use_up()
    again = StudyClock(path, minutes=1.0)
    assert again.left_s == 0.0
    assert again.end_s() is None, "a run without time to begin with sends what was left over"
    assert StudyClock(path, minutes=2.0).left_s == pytest.approx(60.0, abs=1.0)


def test_the_lower_bound_is_that_of_students_t() -> None:
    item = Confirmed(number=3, found=0.99, values=(0.96, 0.97, 0.98))
    assert item.mean == pytest.approx(0.97)
    assert item.lower == pytest.approx(
        0.97 - 2.91999 * 0.01 / math.sqrt(3), abs=1e-6
    )  # scipy.stats.t.ppf(0.95, 2) = 2.91999
    erratic = Confirmed(number=4, found=0.999, values=(0.90, 0.999, 1.0))
    assert erratic.lower < item.lower
    text = "\n".join(confirmed_lines([item, erratic]))
    assert "trial 4, was 0.0327 above its fresh mean (selection optimism)" in text


def test_a_configuration_without_two_values_has_no_bound() -> None:
    assert Confirmed(number=1, found=0.9, values=(0.95,)).lower == -math.inf
    assert Confirmed(number=1, found=0.9, values=()).lower == -math.inf


def test_differences_name_key_and_both_values() -> None:
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == [
        "b: 2 in the study, 3 now",
        "c: absent in the study, 4 now",
    ]


def test_the_geometric_mean() -> None:
    assert geometric_mean([1.0, 4.0, 16.0]) == pytest.approx(4.0)


def test_the_leaderboard_ranks_complete_before_pruned_and_keeps_a_confirmed_order(
    tmp_path: Path,
) -> None:
    study = optuna.create_study(direction="maximize")
    for value, state in (
        (0.5, TrialState.COMPLETE),
        (0.9, TrialState.PRUNED),
        (0.7, TrialState.COMPLETE),
        (None, TrialState.FAIL),
    ):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        if state == TrialState.PRUNED and value is not None:
            trial.report(value, 1)
        study.tell(trial, value if state == TrialState.COMPLETE else None, state)
    paths = StudyPaths(tmp_path, "s")
    assert [row.number for row in rank(study, SPACE, paths)] == [2, 0, 1, 3]
    assert "0.7000" in table(rank(study, SPACE, paths), ("valid_accuracy",))[1]
    assert "0.9000" in table(rank(study, SPACE, paths), ("valid_accuracy",))[3]
    write_confirmed([Confirmed(0, 0.5, (0.5, 0.5)), Confirmed(2, 0.7, (0.1, 0.1))], paths)
    assert [row.number for row in rank(study, SPACE, paths)] == [0, 2, 1, 3]


def test_two_objectives_rank_the_pareto_front_first(tmp_path: Path) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for values in ((0.9, 100.0), (0.8, 200.0), (0.7, 50.0), (0.6, 60.0)):
        study.tell(study.ask(), values)
    assert front_of(table_of(study, tmp_path)) == {0, 2}
    assert [row.number for row in rank(study, SPACE, StudyPaths(tmp_path, "s"))] == [0, 2, 1, 3]


def test_pruners_hold_no_state_of_their_own() -> None:
    from pipeline.search.pruners import make_pruner

    halving = make_pruner(
        SimpleNamespace(name="successive_halving", min_epochs=1, reduction_factor=3), 9
    )
    assert getattr(halving, "_min_resource", None) == 1
