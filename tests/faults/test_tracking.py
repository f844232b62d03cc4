"""Rows 15, 16 and the MLflow half of the others: a server that dies, one that answers 500, and runs that agree with the study."""

import http.server
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import TRIALS, Case, check, check_journal

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: making its schema takes a second, copying it none."""
    from pipeline.tracking.store import open_store, resolve_uri

    root = tmp_path_factory.mktemp("mlflow")
    open_store(resolve_uri(None, root), root, "template")
    return root / "mlflow.db"


def runs(root: Path) -> dict[int | None, list[Any]]:
    """Return the store's runs by trial; None for the parent."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    found: dict[int | None, list[Any]] = {}
    for run in client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1000):
        trial = run.data.tags.get("trial")
        found.setdefault(None if trial is None else int(trial), []).append(run)
    return found


def agree(case: Case) -> None:
    """Each trial has one run, of the status and objective that the study says; nothing was logged twice."""
    found = runs(case.root)
    (parent,) = found.pop(None)
    assert parent.info.status == "FINISHED"
    trials = case.trials()
    assert sorted(number for number in found if number is not None) == [trial["number"] for trial in trials]
    for trial in trials:
        (run,) = found[trial["number"]]
        assert run.info.status == STATUS[trial["state"]]
        assert run.data.tags["state"] == trial["state"]
        if trial["state"] == "COMPLETE":
            assert run.data.metrics["objective"] == trial["value"]


@pytest.fixture
def tracked(case: Case, mlflow_store: Path) -> Case:
    shutil.copy(mlflow_store, case.root / "mlflow.db")
    case.overrides = ["tracking=mlflow", "tracking.figures=false"]
    return case


def test_runs_agree_with_the_study_after_a_kill_before_the_last_word(tracked: Case) -> None:
    assert tracked.run(env={"PIPELINE_FAULT": "before-tell:3"}).code == -signal.SIGKILL
    tracked.ask("always-4-1", "nan")
    ended = tracked.run(cap_s=40)
    assert ended.code == 0, ended.err
    check(tracked, failed=1)
    check_journal(tracked)
    agree(tracked)


class Angry(http.server.BaseHTTPRequestHandler):
    """Answers every request with 500."""

    def answer(self) -> None:
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def angry_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Angry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_server_that_answers_500_costs_bounded_time_and_the_spool_is_sent_later(tracked: Case, angry_server: str) -> None:
    ended = tracked.run(f"tracking.uri={angry_server}", cap_s=60)
    assert ended.code == 0, ended.err
    assert "kept in" in ended.err
    check(tracked)
    again = tracked.run(cap_s=60)  # the same study, with a store that answers
    assert again.code == 0, again.err
    agree(tracked)
    assert len(tracked.told()) == TRIALS
