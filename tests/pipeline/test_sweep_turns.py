"""Turns that a search takes seldom: an epoch that fails or diverges in a round, a pruner that ends
a trial, studies that know others, slots that are gone; and what is printed then.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from cnn_core import training
from cnn_core.errors import InputError
from pipeline.configuration.termination import RunFailed
from pipeline.events import TrialEnded
from pipeline.search import run_sweep
from pipeline.search.deterministic import LockstepJobs
from pipeline.search.open_study import read_study
from pipeline.search.prior import PRIOR
from pipeline.search.session import Session
from pipeline.slots.slot import CallFailed
from tests.faults import toy
from tests.pipeline.here_slot import HereSlot
from tests.pipeline.test_promoted_sweeps import (
    PROMOTE,
    events_of,
    finished,
    quick,
    root,
    search,
    template,
)

__all__ = ["quick", "root", "template"]  # fixtures
ROUNDS = ("study.deterministic=true", "study.round=2", "budget.trials=3", "sampler=random")


def failing(at: int) -> Any:
    """An epoch that cannot be trained, the `at`-th that is begun."""
    begun: list[int] = []

    def train_epoch(spec: Any, state: Any) -> Any:
        begun.append(1)
        if len(begun) == at:
            raise CallFailed("MemoryError", "no room")
        return toy.train_epoch(spec, state)

    return train_epoch


@pytest.mark.parametrize("rule", [("train.epochs=2",), PROMOTE])
def test_an_epoch_that_fails_ends_its_trial_alone(
    rule: tuple[str, ...], root: Path, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "train_epoch", failing(2))
    session = search(root, *ROUNDS, *rule)
    assert finished(session, 4)["FAIL"] == 1, "three others count"
    (failed,) = [e for e in events_of(session, TrialEnded) if e.state == "FAIL"]
    assert (failed.number, failed.reason) == (1, "MemoryError: no room in epoch 1")


@pytest.mark.parametrize("rule", [("train.epochs=2",), PROMOTE])
def test_an_epoch_that_diverges_ends_its_trial_alone(
    rule: tuple[str, ...], root: Path, quick: Path
) -> None:
    (quick / "once-1-1").write_text("nan")
    session = search(root, *ROUNDS, *rule)
    assert finished(session, 4)["FAIL"] == 1
    (failed,) = [e for e in events_of(session, TrialEnded) if e.state == "FAIL"]
    assert failed.number == 1 and failed.reason.startswith("diverged: ")
    assert session.study.trials[1].intermediate_values == {}, "its value is none to learn from"


def test_a_pruner_ends_a_trial_and_says_after_which_epoch(root: Path, quick: Path) -> None:
    # A trial's value rises with its dropout.
    words = ["space={model.dropout:{choice:[0.0,0.5]}}", "train.epochs=3", "budget.trials=2"]
    words += ["study.enqueue=[['model.dropout=0.5'],['model.dropout=0.0']]", "pruner=median"]
    words += ["pruner.startup_trials=1", "pruner.warmup_epochs=0"]
    session = search(root, *words)
    assert finished(session, 2) == {"COMPLETE": 1, "PRUNED": 1}
    (pruned,) = [e for e in events_of(session, TrialEnded) if e.state == "PRUNED"]
    assert (pruned.number, pruned.reason, pruned.epochs) == (1, "after epoch 1 of 3", 1)


def test_a_round_whose_trials_are_drawn_otherwise_is_not_gone_on_with() -> None:
    """Such as where another version of the sampler's library suggests other values."""
    jobs: Any = LockstepJobs.__new__(LockstepJobs)
    stored, copy = SimpleNamespace(params={"x": 1}), SimpleNamespace(params={"x": 2}, number=7)
    with pytest.raises(RuntimeError) as raised:
        jobs.resume(stored, copy)
    said = "deterministic mode: trial 7 must be {'x': 1} again, got {'x': 2}"
    assert str(raised.value) == said


def test_a_study_that_knows_another_begins_with_its_best(
    root: Path, quick: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("budget.trials=2", "train.epochs=1", "budget.gain=0.001")
    old = search(root, *words, "sampler=auto", name="old")
    assert "sampler auto: gp (2 trials, " in capsys.readouterr().out
    best = old.study.best_trial.params
    new = search(root, *words, "sampler=random", "study.prior=[old]", name="new")
    assert new.study.trials[0].params == best
    assert "study.prior: 1 configuration first" in capsys.readouterr().out
    assert PRIOR in new.study.user_attrs
    finished(search(root, *words, "sampler=random", "study.prior=[old]", name="new"), 2)
    assert "study.prior: " not in capsys.readouterr().out, "it was said when the study began"


@pytest.fixture
def session(root: Path, quick: Path) -> Session:
    """A study that has all its two trials."""
    return search(root, "budget.trials=2", "train.epochs=1", "sampler=random")


def test_a_session_lets_go_of_a_study_on_a_server(session: Session) -> None:
    closed: list[str] = []
    session.held = SimpleNamespace(close=lambda: closed.append("held"))  # type: ignore[assignment]
    session.close()
    assert closed == ["held"]


@pytest.mark.parametrize(
    ("enough", "most", "more"),
    [
        ("", None, ["budget.trials=4"]),
        ("little more is gained", None, ["budget.gain=null", "budget.trials=4"]),
        ("", 3, ["budget.trials=3"]),
        ("", 2, []),
    ],
)
def test_how_a_finished_study_is_gone_on_with(
    enough: str, most: int | None, more: list[str], session: Session
) -> None:
    session.queue.enough, session.queue.most = enough, most
    assert run_sweep._more(session) == more


def test_slots_that_end_before_the_trials_do_fail_a_run(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(run_sweep.Runner):
        def run(self) -> None:
            """No slot takes a trial."""

    monkeypatch.setattr(run_sweep, "Runner", Gone)
    session.queue._wanted = 5
    slot = HereSlot(session.stop)
    with pytest.raises(RunFailed, match="the slots have ended before the trials did; once that is"):
        run_sweep._run(session, [slot], slot.machine(), None)
    assert session.stop.exit_code == 1


def test_a_study_whose_database_may_hold_a_password_is_its_user_s_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = session.config.paths.study_db
    slot = HereSlot(session.stop)
    file.chmod(0o644)
    run_sweep._run(session, [slot], slot.machine(), None)
    assert file.stat().st_mode & 0o777 == 0o644, "nothing in it is secret"
    monkeypatch.setattr(run_sweep, "redact", lambda text: text.replace("train", "***"))
    run_sweep._run(session, [slot], slot.machine(), None)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_confirmation_without_time_is_told_with_its_command(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.config.study.confirm = 1
    monkeypatch.setattr(run_sweep, "confirm", lambda *arguments: None)
    lines, ended = run_sweep._confirm(session, run_sweep.Context(session.stop), [])
    assert ended == 0, "what is wanted has not been done"
    (line,) = lines
    assert line.startswith("study.confirm: no time was left for it; run it with: python -m ")
    assert line.endswith(" budget.trials=2 budget.minutes=2"), (
        "the time used begins a minute, twice that"
    )


def test_what_another_program_has_made_under_this_name_is_refused(
    root: Path, quick: Path, session: Session
) -> None:
    file = root / "theirs" / "study.db"
    file.parent.mkdir()
    study = optuna.create_study(
        study_name="theirs", storage=f"sqlite:///{file}", direction="maximize"
    )
    words = ("budget.trials=1", "train.epochs=1", "sampler=random")
    study.add_trial(optuna.trial.create_trial(value=0.5))
    with pytest.raises(InputError) as refused:
        search(root, *words, name="theirs")
    assert str(refused.value) == (
        "study 'theirs': must have been made by this program, got one without its fingerprint"
    )
    with pytest.raises(InputError) as missing:
        read_study(session.config.paths, f"sqlite:///{file}")
    assert f"study.name: must name a study in sqlite:///{file}, got 's'" in str(missing.value)


def test_a_study_that_was_only_just_created_when_it_was_killed_is_begun(
    root: Path, quick: Path
) -> None:
    file = root / "s" / "study.db"
    file.parent.mkdir()
    optuna.create_study(study_name="s", storage=f"sqlite:///{file}", direction="maximize")
    session = search(root, "budget.trials=1", "train.epochs=1", "sampler=random")
    finished(session, 1)
    assert "fingerprint" in session.study.user_attrs
