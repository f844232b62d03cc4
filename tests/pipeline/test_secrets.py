"""A secret of the environment is hidden wherever a sweep writes what went wrong."""

from pathlib import Path

import optuna
import pytest

from pipeline.search.queue import TrialQueue
from pipeline.slots.stop_request import Stop
from pipeline.tracking.listeners import LogListener
from tests.ends import ended

SECRET = "s3cr3t-of-the-store"
REASON = f"401 Unauthorized: bearer {SECRET}"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)


def test_log_txt_hides_it(tmp_path: Path) -> None:
    log = LogListener(tmp_path / "log.txt")
    log.handle(ended("FAIL", reason=REASON))
    log.close()
    written = (tmp_path / "log.txt").read_text()
    assert "401 Unauthorized: bearer ***" in written and SECRET not in written


def test_the_study_hides_it() -> None:
    study = optuna.create_study(direction="maximize")
    queue = TrialQueue(study, 1, Stop(), 100)
    asked = queue.ask(lambda trial: [])
    assert asked is not None
    queue.tell(asked[0], ended("FAIL", reason=REASON))
    assert study.trials[0].user_attrs["reason"] == "401 Unauthorized: bearer ***"
