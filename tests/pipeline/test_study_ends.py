"""How a sweep that is called from Python ends: interrupted before or after there is a study, or
failed; and a law of pruners that one breaks.
"""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.pruners import ThresholdPruner

from pipeline.configuration.termination import RunFailed
from pipeline.search.sampler_laws import the_best_trial_is_not_pruned
from pipeline.slots.stop_request import FAILED, INTERRUPTED
from pipeline.study import Study, sweep
from tests.pipeline.test_promoted_sweeps import quick, root, search, template

__all__ = ["quick", "root", "template"]  # fixtures


def test_a_study_without_a_complete_trial_has_no_best(root: Path, quick: Path) -> None:
    session = search(root, "budget.trials=1", "train.epochs=2", "sampler=random", epochs=1)
    study = Study(session.config)
    assert study.best is None and "best trial" not in repr(study)


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupted_sweep_returns_the_study_that_there_is(
    begun: bool, root: Path, quick: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    words = ["budget.trials=1", "train.epochs=2", "sampler=random"]
    if begun:
        search(root, *words, epochs=1)
    monkeypatch.setattr("pipeline.study.run_whole", lambda config: INTERRUPTED)
    words = ["experiment=smoke", "tracking=none", f"root={root}", "study.name=s", *words]
    if begun:
        study = sweep(*words)
        assert study.folder == root / "s" and study.best is None
        assert "interrupted; the same call resumes\n" in capsys.readouterr().out
    else:
        with pytest.raises(KeyboardInterrupt, match="the same call resumes"):
            sweep(*words)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_sweep_that_fails_raises(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.study.run_whole", lambda config: FAILED)
    with pytest.raises(RunFailed, match="it failed for the reason printed above; once that is"):
        sweep("experiment=smoke", "tracking=none", f"root={root}", "study.name=s")


@pytest.mark.parametrize(
    ("lower", "broken"),
    [
        (0.0, ""),  # values are from 0.25 to 0.8
        (0.9, "a trial must be left, got all pruned"),
    ],
)
def test_a_pruner_that_leaves_no_trial_breaks_its_law(lower: float, broken: str) -> None:
    settings = SimpleNamespace(name="floor", pruner=lambda epochs: ThresholdPruner(lower=lower))
    try:
        the_best_trial_is_not_pruned(settings)  # type: ignore[arg-type]
        found = ""
    except AssertionError as error:
        found = str(error)
    assert found == broken
