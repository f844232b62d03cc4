"""Small parts of a training: its deadlines, its end, its files; how metrics are compared when it is
trained again; and what a run says of its time.
"""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from cnn_core.spec import DataSpec
from pipeline.configuration import compose
from pipeline.data import prepare
from pipeline.events import State, TrialEnded, TrialRetried
from pipeline.files import TrialPaths
from pipeline.search.confirm import Confirmed, confirmed_lines, unheard
from pipeline.search.messages import plan_lines
from pipeline.search.problem import Job, Problem
from pipeline.search.queue import TrialQueue
from pipeline.search.retrain import unlike
from pipeline.search.runner import Usage
from pipeline.search.search_time import seconds_left
from pipeline.search.space import Space
from pipeline.search.trial import Context, Training, epoch_deadline, retried
from pipeline.slots.slot import Machine, TimedOut
from pipeline.slots.stop_request import Stop
from pipeline.trial_folder import TrialFolder
from tests.ends import ended
from tests.pipeline.here_slot import HereSlot

WORDS = ("experiment=smoke", "tracking=none", "train.epochs=1", "data.train_size=40")
SPACE = Space.parse({"model.filters": {"int": [4, 8]}})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    config = compose(WORDS)
    return prepare(config.data, tmp_path_factory.mktemp("root"))


@pytest.fixture
def job(data: DataSpec) -> Job:
    return Problem(compose(WORDS), SPACE, data).job(3, ["model.filters=4"])


@pytest.mark.parametrize(
    ("epoch_s", "trial_s", "spent_s", "seconds"),
    [(5.0, None, 100.0, 5.0), (None, 9.0, 7.0, 2.0), (5.0, 9.0, 7.0, 2.0), (1.0, 9.0, 7.0, 1.0)],
)
def test_the_sooner_of_two_deadlines_holds(
    epoch_s: float | None, trial_s: float | None, spent_s: float, seconds: float
) -> None:
    assert epoch_deadline(Context(Stop(), epoch_s=epoch_s, trial_s=trial_s), spent_s) == seconds


def test_a_trial_that_has_used_up_its_time_says_so() -> None:
    with pytest.raises(TimedOut) as raised:
        epoch_deadline(Context(Stop(), trial_s=9.0), 9.25)
    assert str(raised.value) == "timed out: the trial took 9.2 s (deadline.trial_s=9)"


class Repeating(HereSlot):
    """A slot whose cluster has repeated a call itself."""

    def repeats(self) -> list[str]:
        return ["a worker was lost"]


def test_what_a_slot_has_repeated_itself_is_told_and_the_training_ends(
    job: Job, tmp_path: Path
) -> None:
    told: list[Any] = []
    training = Training(job, TrialFolder(TrialPaths(tmp_path / "3")))
    training.folder.begin(job.number, job.seed, job.whole)
    assert seconds_left(training) == math.inf, "no epoch has said how long one takes"
    context = Context(Stop(), told.append)
    training.advance(Repeating(Stop()), context)
    (event,) = told
    assert isinstance(event, TrialRetried)
    assert (event.number, event.reason) == (3, "a worker was lost")
    assert seconds_left(training) == 0.0, "its one epoch is trained"
    assert training.completed(["valid_accuracy"]).state == State.COMPLETE
    job.extra["figure"] = math.nan
    failed = training.completed(["figure", "valid_accuracy"])
    assert (failed.state, failed.reason) == (State.FAIL, "diverged: objective is nan")
    assert failed.objective == ()


def test_an_end_that_is_moved_before_the_first_epoch_is_kept_without_a_checkpoint(
    job: Job, tmp_path: Path
) -> None:
    training = Training(job, TrialFolder(TrialPaths(tmp_path / "3")))
    more = training.end_with(5)
    assert training.folder.read().overrides[-len(more) :] == more
    assert not training.folder.paths.checkpoint.exists()


def test_a_net_without_an_epoch_leaves_no_files(job: Job, tmp_path: Path) -> None:
    folder = TrialFolder(TrialPaths(tmp_path / "3"))
    folder.write_history([])
    folder.keep_weights(job.spec, ended("COMPLETE", 0.5), [])
    assert not folder.paths.history.exists() and folder.history() == []
    assert not folder.paths.weights.exists() and not folder.paths.manifest.exists()


@pytest.mark.parametrize(
    ("stored", "again", "tolerance", "lines"),
    [
        ({"a": 0.5, "epoch_s": 1.0}, {"a": 0.5, "epoch_s": 2.0}, 0.0, []),
        ({"a": math.nan}, {"a": math.nan}, 0.0, []),
        ({"a": math.nan}, {"a": 0.5}, 1.0, ["  a: stored nan, again 0.5"]),
        ({"a": 0.5}, {"a": math.nan}, 1.0, ["  a: stored 0.5, again nan"]),
        ({"a": 0.5}, {}, 1.0, ["  a: stored 0.5, again None"]),
        ({"a": 0.5}, {"a": 0.625}, 0.125, []),
        ({"a": 0.5}, {"a": 0.625}, 0.0625, ["  a: stored 0.5, again 0.625"]),
        ({"a": 16.0}, {"a": 17.0}, 0.0625, []),  # a share of what is larger than 1
        ({"a": 16.0, "b": 1.0}, {"a": 17.5, "b": 1.0}, 0.0625, ["  a: stored 16.0, again 17.5"]),
    ],
)
def test_metrics_that_differ_are_told(
    stored: dict[str, float], again: dict[str, float], tolerance: float, lines: list[str]
) -> None:
    assert unlike(stored, again, tolerance) == lines


def test_a_run_that_never_began_spent_nothing_outside_training() -> None:
    assert Usage().outside(2) == 0.0


def test_listeners_hear_of_runs_with_fresh_seeds_only_that_they_were_retried(job: Job) -> None:
    told: list[Any] = []
    trained: list[float] = []
    quiet = unheard(Context(Stop(), told.append, trained.append))
    retry, end = retried(job, 1, 1, "worker died"), ended("COMPLETE", 0.5)
    assert isinstance(end, TrialEnded)
    quiet.emit(end)
    quiet.emit(retry)
    quiet.trained(2.0)
    assert told == [retry] and trained == []


def test_a_best_trial_none_of_whose_fresh_runs_completed_has_no_optimism() -> None:
    best, other = Confirmed(4, 0.9, (), 1.0), Confirmed(5, 0.8, (0.7, 0.75, 0.8), 1.0)
    assert "optimism" not in "\n".join(confirmed_lines([other, best]))
    assert "trial 5, was 0.0500 above" in "\n".join(confirmed_lines([other]))


@pytest.mark.parametrize(
    ("words", "total", "gflops", "says"),
    [
        (["budget.minutes=90"], None, 1e3, ["trials for 90 minutes", "MB on disk for each 20"]),
        (["budget.trials=3"], 3, 1e3, ["3 trials to go", " ms; about "]),
        (["budget.trials=3"], 3, 1e-3, ["3 trials to go", " s; about "]),
        (["budget.trials=3"], 3, 1e-5, ["3 trials to go", " min; about "]),
        (["budget.trials=3"], 3, 1e-7, ["3 trials to go", " h; about "]),
        (["budget.trials=1", "budget.minutes=9"], 1, 1e-7, ["1 trial to go in at most 9 minutes"]),
        (["budget.trials=1", "budget.minutes=9"], 1, 1e-7, ["about 9 min; about "]),
        (["budget.trials=1"], 0, 1e3, ["no trials to go", "\nabout "]),
    ],
)
def test_what_will_run_is_told_with_an_estimate(
    words: list[str], total: int | None, gflops: float, says: list[str], data: DataSpec
) -> None:
    config = compose([*WORDS, "budget.trials=null", "pruner=none", *words])
    queue = TrialQueue(optuna.create_study(direction="maximize"), total, Stop(), 10)
    machine = Machine(pid=0, host="", processor="", kernels="", blas="", numpy="", gflops=gflops)
    text = "\n".join(plan_lines(config, Problem(config, SPACE, data), queue, 1, machine))
    assert all(part in text for part in says), text
    assert ("estimate" in text) == (total != 0)
