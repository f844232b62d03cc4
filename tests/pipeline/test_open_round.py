"""What decides trials in deterministic mode stays until those that were interrupted have ended."""

import shlex
from pathlib import Path

import pytest

from cnn_core.errors import InputError
from pipeline.files import StudyPaths
from pipeline.search.open_round import DECIDING
from pipeline.search.open_study import read_study
from pipeline.search.session import Session
from tests.pipeline.test_promoted_sweeps import PROMOTE, finished, quick, root, search, template

__all__ = ["quick", "root", "template"]  # fixtures
FREE = ("train.epochs=4", "budget.trials=4", "study.round=2", "sampler.startup_trials=3")
LOCKSTEP = (*FREE, "study.deterministic=true")
ENQUEUED = "study.enqueue=[['model.filters=8']]"


def refused(root: Path, *words: str) -> str:
    """Return why the study cannot be resumed so; nothing of it may have changed."""
    before = known(root)
    with pytest.raises(InputError) as refusal:
        search(root, *words)
    assert known(root) == before
    return str(refusal.value)


def known(root: Path) -> object:
    """Return what a study holds, in its database and in its trials' folders."""
    study = read_study(StudyPaths(root, "s"))
    files = [path.read_bytes() for path in sorted((root / "s").glob("trials/*/*"))]
    return study.get_trials(), study.user_attrs, files


def resumed_as_printed(root: Path, refusal: str) -> Session:
    """Do what a refusal says."""
    words = shlex.split(refusal.partition("end them first: ")[2])
    assert words[:3] == ["python", "-m", "pipeline.sweep"]
    return search(root, *words[3:])


@pytest.mark.parametrize(
    ("begun", "resumed", "differs"),
    [
        pytest.param(FREE, LOCKSTEP, "study.deterministic: false in the study, true now", id="on"),
        pytest.param(LOCKSTEP, FREE, "study.deterministic: true in the study, false now", id="off"),
        pytest.param(
            (*LOCKSTEP, ENQUEUED),
            (*LOCKSTEP, "study.enqueue=[['model.filters=5']]"),
            'study.enqueue: [["model.filters=8"]] in the study, [["model.filters=5"]] now',
            id="enqueue",
        ),
        pytest.param(
            LOCKSTEP,
            (*FREE[:-1], "study.deterministic=true", "sampler=random"),
            'sampler: "tpe" in the study, "random" now; sampler.startup_trials: 3 in the study',
            id="sampler",
        ),
        pytest.param(
            LOCKSTEP,
            (*LOCKSTEP, *PROMOTE),
            'pruner: "none" in the study, "promote" now; pruner.min_epochs: absent in the study',
            id="pruner",
        ),
        pytest.param(
            (*LOCKSTEP, *PROMOTE), LOCKSTEP, 'pruner: "promote" in the study, "none" now', id="none"
        ),
        pytest.param(
            (*LOCKSTEP, "study.round=3"),
            LOCKSTEP,
            "study.round: 3 in the study, 2 now",
            id="round",
        ),
    ],
)
def test_an_open_round_is_resumed_as_it_was_begun(
    root: Path, quick: Path, begun: tuple[str, ...], resumed: tuple[str, ...], differs: str
) -> None:
    assert search(root, *begun, epochs=1).stop.exit_code == 130
    refusal = refused(root, *resumed)
    assert f"must end as they were begun, got {differs}" in refusal
    assert "study.name=NEW (study.fork=s takes over" in refusal
    finished(resumed_as_printed(root, refusal), 4)


def test_between_rounds_another_sampler_may_go_on(root: Path, quick: Path) -> None:
    finished(search(root, *LOCKSTEP), 4)
    more = ("budget.trials=6", "sampler=random", "study.deterministic=true", "train.epochs=4")
    session = search(root, *more, epochs=1)
    assert session.study.user_attrs[DECIDING]["sampler"] == '"random"'
    assert "sampler: " in refused(root, *more[:1], *more[2:])
    finished(search(root, *more), 6)


def test_without_lockstep_any_sampler_goes_on(root: Path, quick: Path) -> None:
    search(root, *FREE, epochs=1)
    finished(search(root, "train.epochs=4", "budget.trials=4", "sampler=random"), 4)


def test_of_a_study_that_did_not_note_it_nothing_is_said(
    root: Path, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("pipeline.search.session.keep_deciding", lambda study, config: None)
        search(root, *LOCKSTEP, epochs=1)
    session = search(root, *LOCKSTEP, "study.round=3", epochs=1)
    assert DECIDING not in session.study.user_attrs, "its round was begun by what is not known"
    finished(search(root, *LOCKSTEP), 4)
