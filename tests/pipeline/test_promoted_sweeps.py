"""Sweeps whose trials pause and are promoted: the same bits as without a pause, and after every
interruption.
"""

import csv
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cnn_core import training
from cnn_core.checkpoint import load_weights
from cnn_core.errors import InputError
from pipeline.configuration import Config, compose
from pipeline.data import prepare
from pipeline.events import Event, State, TrialEnded, TrialStarted
from pipeline.files import TrialPaths
from pipeline.journal import EventLog, decode, encode, read_all
from pipeline.reporting.table import table_of
from pipeline.search import leaderboard, rungs
from pipeline.search.problem import Problem
from pipeline.search.promotion import Promotion
from pipeline.search.promotion_rounds import Stretch, as_it_began
from pipeline.search.retrain import stored_job, unlike
from pipeline.search.run_sweep import jobs_of
from pipeline.search.runner import JobList, Runner, Usage
from pipeline.search.session import Session, open_session
from pipeline.search.space import searched
from pipeline.search.storage import MirrorStorage, reopen
from pipeline.search.study_clock import StudyClock
from pipeline.search.trial import Context
from pipeline.slots.stop_request import Stop
from pipeline.trial_folder import TrialFolder
from tests.faults import toy
from tests.pipeline.here_slot import HereSlot

SMALL = ["experiment=smoke", "tracking=none", "data.train_size=40", "data.valid_size=40"]
PROMOTE = ["pruner=promote", "pruner.min_epochs=1", "pruner.reduction_factor=2", "train.epochs=4"]
PASHA = ["pruner=pasha", "pruner.reduction_factor=2", "train.epochs=6"]
TOP_K = ["pruner=top_k", "pruner.keep=2", "train.epochs=3"]
IN_STEPS = ["pruner=top_k_in_steps", "pruner.keep=1", "pruner.halvings=1", "train.epochs=4"]


PRUNERS = [
    pytest.param(PROMOTE, id="promote"),
    pytest.param(PASHA, id="pasha", marks=pytest.mark.slow),
    pytest.param(TOP_K, id="top_k", marks=pytest.mark.slow),
    pytest.param(IN_STEPS, id="top_k_in_steps", marks=pytest.mark.slow),
]


@pytest.fixture
def root(tmp_path: Path, template: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "root"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as arrays, and a database without a study: both take a second to make."""
    folder = tmp_path_factory.mktemp("template")
    prepare(compose(SMALL).data, folder)
    RDBStorage(f"sqlite:///{folder}/empty.db").engine.dispose()
    return folder


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Epochs are a toy's; the folder gets a file for each that is trained."""
    (tmp_path / "toy").mkdir()
    monkeypatch.setenv("TOY", str(tmp_path / "toy"))
    monkeypatch.setattr(training, "train_epoch", toy.train_epoch)
    yield tmp_path / "toy"


def search(
    root: Path, *overrides: str, slots: int = 1, epochs: int | None = None, name: str = "s"
) -> Session:
    """Return a session whose trials have been run, as far as `epochs` of a slot allow."""
    config = compose([*SMALL, f"root={root}", f"study.name={name}", *overrides])
    if not config.paths.folder.exists():
        config.paths.folder.mkdir()
        shutil.copy(root / "empty.db", config.paths.study_db)
    problem = Problem(config, searched(config)[0], prepare(config.data, root))
    clock = StudyClock(config.paths.folder / "clock.json", config.budget.minutes)
    session = open_session(problem, slots, clock)
    log = EventLog(config.paths.folder)
    context = Context(session.stop, log.handle)
    jobs = jobs_of(session, context)
    workers = [HereSlot(session.stop, epochs, index) for index in range(slots)]
    runner = Runner(jobs, workers, context, Usage(), config.paths.log)
    runner.run()
    if not session.stop.requested:
        with runner.guarded():
            jobs.tell_paused()
    log.close()
    return session


def finished(session: Session, total: int) -> Counter[str]:
    """Return the states of a study that has ended, all of whose trials are told."""
    assert not session.stop.requested, session.stop.reason
    assert session.queue.finished and not session.queue.paused()
    counts = Counter(session.queue.counts())
    assert sum(counts.values()) == total and set(counts) <= {"COMPLETE", "PRUNED", "FAIL"}
    return counts


def plain(session: Session) -> list[tuple[Any, ...]]:
    """Return what a trial's bits are."""
    return [
        (t.number, t.state, t.values, t.params, t.intermediate_values) for t in session.study.trials
    ]


def epochs_trained(folder: Path) -> Counter[str]:
    return Counter(path.name.rsplit("-", 1)[0] for path in folder.iterdir())


def events_of(session: Session, kind: type[Event]) -> list[Any]:
    return [e for e in read_all(session.config.paths.folder) if isinstance(e, kind)]


def test_a_promoted_trial_equals_an_uninterrupted_one_to_the_bit(
    root: Path, tmp_path: Path
) -> None:
    more = [*PROMOTE, "budget.trials=5", "tracking.keep_weights=all", "sampler=random"]
    session = search(root, *more, slots=2)
    assert finished(session, 5)["COMPLETE"] >= 1
    resumed = Counter(e.number for e in events_of(session, TrialStarted) if e.resumed_from)
    assert max(resumed.values()) == 2, "one was paused twice and trained to its end"
    config = session.config
    for number in resumed:
        job, stored = stored_job(config, number)
        whole = uninterrupted(config, number, tmp_path / f"again-{number}")
        for then, now in zip(stored.history, whole.history(), strict=False):
            assert unlike(then, now, 0.0) == []
        kept = config.paths.trial(number).weights
        assert kept.exists() == (len(stored.history) == job.epochs)
        if kept.exists():
            assert bits(kept) == bits(whole.paths.weights)


def uninterrupted(config: Config, number: int, folder: Path) -> TrialFolder:
    """Return the folder of the same trial, trained at one go."""
    job, _ = stored_job(config, number)
    place = TrialFolder(TrialPaths(folder))
    context = Context(Stop())
    jobs = JobList(context, [(job, place)], keep_weights=True)
    slot = HereSlot(0, context.stop, None)
    Runner(jobs, [slot], context, Usage(), folder / "log").run()
    return place


def bits(path: Path) -> dict[str, bytes]:
    weights, _ = load_weights(path)
    arrays = {**weights.params, **{f"buffer {k}": v for k, v in weights.buffers.items()}}
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.mark.parametrize("pruner", PRUNERS)
def test_interruptions_cost_no_epoch_and_paused_trials_are_promoted_later(
    root: Path, quick: Path, pruner: list[str]
) -> None:
    more = [*pruner, "budget.trials=8", "sampler=random"]
    session = search(root, *more, slots=2, epochs=4)
    assert session.stop.exit_code == 130
    assert session.queue.counts()["PAUSED"] >= 2
    for _ in range(3):
        search(root, *more, slots=1, epochs=3)
    counts = finished(search(root, *more, slots=3), 8)
    assert counts["COMPLETE"] >= (2 if pruner is TOP_K else 1)
    assert set(epochs_trained(quick).values()) == {1}


def test_a_larger_budget_promotes_what_the_studys_end_had_told_pruned(
    root: Path, quick: Path
) -> None:
    first = search(root, *PROMOTE, "budget.trials=4", "sampler=random")
    finished(first, 4)
    before = {t.number: t.last_step or 0 for t in first.study.trials if t.state.name == "PRUNED"}
    assert {e.state for e in events_of(first, TrialEnded)[-len(before) :]} == {State.PRUNED}
    second = search(root, *PROMOTE, "budget.trials=14", "sampler=random")
    finished(second, 14)
    went_on = [n for n, epoch in before.items() if (second.study.trials[n].last_step or 0) > epoch]
    assert went_on
    assert set(epochs_trained(quick).values()) == {1}, "they went on from their checkpoints"


def test_top_k_trains_k_trials_to_the_end(root: Path, quick: Path) -> None:
    session = search(root, *TOP_K, "budget.trials=7", slots=2)
    assert finished(session, 7) == {"COMPLETE": 2, "PRUNED": 5}
    first = {t.number: t.intermediate_values[1] for t in session.study.trials}
    best = sorted(first, key=lambda number: (-first[number], number))[:2]
    assert {t.number for t in session.study.trials if t.state == TrialState.COMPLETE} == {*best}


def test_top_k_in_steps_trains_fewer_at_each_step(root: Path, quick: Path) -> None:
    session = search(root, *IN_STEPS, "budget.trials=6", slots=2)
    assert finished(session, 6) == {"COMPLETE": 1, "PRUNED": 5}
    scores = {t.number: t.intermediate_values for t in session.study.trials}
    best = sorted(scores, key=lambda number: (-scores[number][1], number))[:2]
    assert {number for number, found in scores.items() if 2 in found} == {*best}
    last = min(best, key=lambda number: (-scores[number][2], number))
    assert {number for number, found in scores.items() if 4 in found} == {last}


def test_a_failed_trial_is_replaced(root: Path, quick: Path) -> None:
    for number in range(4):  # all that are promoted fail, and the first at its first look
        (quick / f"always-{number}-{1 if number == 1 else 2}").write_text("nan")
    session = search(root, *PROMOTE, "budget.trials=5", "sampler=random")
    counts = finished(session, len(session.study.trials))
    assert counts["FAIL"] >= 2 and counts["COMPLETE"] + counts["PRUNED"] == 5


@pytest.mark.parametrize("point", ["running_trial", "set_state", "label"])
def test_a_kill_between_the_writes_of_a_pause_or_promotion_loses_nothing(
    root: Path, quick: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    more = [*PROMOTE, "budget.trials=6", "sampler=random"]
    with monkeypatch.context() as broken:

        def killed(*_: Any) -> None:
            raise RuntimeError("killed here")

        broken.setattr(rungs, point, killed)
        session = search(root, *more)
    assert "killed here" in session.stop.reason
    assert [t for t in session.study.trials if t.state == TrialState.RUNNING]
    finished(search(root, *more), 6)
    assert set(epochs_trained(quick).values()) == {1}


@pytest.mark.parametrize("point", ["running_trial", "reopen", "label"])
def test_a_kill_within_a_promotion_of_a_round_keeps_its_bits(
    root: Path, quick: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    more = [*PROMOTE, "budget.trials=6", "study.deterministic=true", "study.round=3"]
    whole = search(root, *more, name="whole")
    with monkeypatch.context() as broken:

        def killed(*_: Any) -> None:
            raise RuntimeError("killed here")

        broken.setattr(rungs, point, killed)
        assert "killed here" in search(root, *more, name="killed").stop.reason
    assert plain(search(root, *more, name="killed")) == plain(whole)


@pytest.mark.parametrize("pruner", PRUNERS)
def test_deterministic_rounds_give_the_same_bits_with_any_slots_and_interruptions(
    root: Path, quick: Path, pruner: list[str]
) -> None:
    more = [*pruner, "budget.trials=9", "study.deterministic=true", "study.round=3"]
    more += ["sampler.startup_trials=3"]
    one = search(root, *more, name="one")
    finished(one, 9)
    for epochs in (1, 4, 2):
        broken = search(root, *more, slots=2, epochs=epochs, name="broken")
        assert broken.stop.exit_code == 130
    assert plain(search(root, *more, slots=4, name="broken")) == plain(one)
    resumed = Counter(e.number for e in events_of(one, TrialStarted) if e.resumed_from)
    assert resumed, "some were promoted"


def test_a_lost_checkpoint_is_trained_again_to_the_same_bits(root: Path, quick: Path) -> None:
    more = [*PROMOTE, "budget.trials=6", "study.deterministic=true", "study.round=3"]
    whole = search(root, *more, name="whole")
    first = search(root, *more, epochs=4, name="lost")
    assert first.queue.paused()
    for path in first.config.paths.folder.glob("trials/*/checkpoint*"):
        path.unlink()
    assert plain(search(root, *more, name="lost")) == plain(whole)


def test_a_resumed_round_sees_the_study_as_it_was_when_the_round_began() -> None:
    study = optuna.create_study(direction="maximize")
    for state in (TrialState.PRUNED, TrialState.COMPLETE, TrialState.FAIL):
        trial = study.ask()
        for epoch in (1, 2, 3):
            trial.report(0.1 * epoch, epoch)
        study.tell(trial, 0.3 if state == TrialState.COMPLETE else None, state)
    plan = [Stretch(0, 1, 9), Stretch(1, 2, 9), Stretch(2, 0, 3)]
    assert [stretch.is_over(study.trials) for stretch in plan] == [False, True, True]
    assert not Stretch(3, 0, 1).is_over(study.trials), "it is not in the study yet"
    first, second = as_it_began(study.trials, plan)
    assert (first.state, first.value) == (TrialState.PRUNED, 0.1)
    assert first.intermediate_values == {1: 0.1}
    assert (second.state, second.value, second.last_step) == (TrialState.PRUNED, 0.2, 2)


def test_paused_trials_are_called_so_until_the_study_ends(root: Path, quick: Path) -> None:
    session = search(root, *PROMOTE, "budget.trials=8", epochs=3)
    problem, config = session.problem, session.config
    board = leaderboard.rank(session.study, problem.space, config.paths)
    leaderboard.write(board, problem.objectives, problem.base, config.paths)
    with config.paths.leaderboard.open() as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "PAUSED"]
    assert rows
    assert all(row["valid_accuracy"] for row in rows)
    assert {row["reason"] for row in rows} <= {"after epoch 1 of 4", "after epoch 2 of 4"}
    table = table_of(session.study, config.paths.folder, read_all(config.paths.folder))
    assert Counter(t.state for t in table.trials)["PAUSED"] == len(rows)


def test_samplers_learn_from_paused_trials_as_from_pruned_ones(root: Path, quick: Path) -> None:
    session = search(root, *PROMOTE, "budget.trials=8", epochs=3)
    paused = session.queue.paused()
    assert paused
    for trial in paused:
        assert trial.state == TrialState.PRUNED
        assert trial.value == trial.intermediate_values[trial.last_step]


def test_the_pause_is_an_event_that_old_readers_skip() -> None:
    from tests.ends import ended

    event = ended("PAUSED", reason="after epoch 2 of 6", epochs=2)
    assert decode(encode(event)) == event
    assert decode(encode(event).replace("PAUSED", "UNHEARD_OF")) is None


def stored_study(path: Path, *, mirrored: bool) -> tuple[RDBStorage, optuna.Study]:
    database = RDBStorage(f"sqlite:///{path}")
    optuna.create_study(study_name="s", storage=database, direction="maximize")
    storage = MirrorStorage(database, "s") if mirrored else database
    return database, optuna.load_study(study_name="s", storage=storage)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_trial_is_reopened_in_the_database_and_in_every_copy(
    tmp_path: Path, mirrored: bool
) -> None:
    database, study = stored_study(tmp_path / "s.db", mirrored=mirrored)
    for _ in range(3):
        trial = study.ask()
        trial.report(0.5, 1)
        rungs.pause(study, trial, "after epoch 1 of 3")
    assert [t.value for t in study.trials] == [0.5] * 3
    again = rungs.promote(study, Promotion(1, 3))
    direct = optuna.load_study(study_name="s", storage=RDBStorage(f"sqlite:///{tmp_path}/s.db"))
    for seen in (study, direct):
        found = seen.trials[1]
        assert (found.state, found.values, found.datetime_complete) == (
            TrialState.RUNNING,
            None,
            None,
        )
        assert found.intermediate_values == {1: 0.5} and found.user_attrs["rung"] == 3
        assert [t.number for t in rungs.still_paused(seen)] == [0, 2]
    again.report(0.75, 3)
    study.tell(again, 0.75)
    assert study.trials[1].value == 0.75 and study.best_trial.number == 1
    rungs.tell_pruned(study, study.trials[0])
    assert [t.number for t in rungs.still_paused(study)] == [2]
    assert rungs.known_trials(study, study.trials)[0].state == State.PAUSED, "it may go on later"
    with pytest.raises(StorageInternalError, match="only a trial that has ended is reopened"):
        reopen(study, study.ask())
    database.engine.dispose()


@pytest.mark.parametrize("name", ["top_k", "top_k_in_steps"])
def test_who_looks_at_all_trials_must_know_how_many_there_are(name: str) -> None:
    with pytest.raises(InputError, match=f"must know how many.*got pruner={name} and budget.min"):
        compose([f"pruner={name}", "budget.minutes=5"])
    assert compose([f"pruner={name}", "budget.trials=5"]).budget.trials == 5
