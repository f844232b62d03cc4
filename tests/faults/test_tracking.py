"""Rows 12 (MLflow's store full), 15 and 16: a full disk, a server that dies, one that answers 500,
and runs that agree with the study.
"""

import http.server
import os
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import (
    TRIALS,
    Case,
    check,
    check_files,
    check_journal,
    grow_disk,
    no_traceback,
    small_disk,
    wait_until,
    workers_of,
)
from tests.faults.mlflow_runs import TRACKED, agree


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: making its schema takes a second, copying it none."""
    from pipeline.tracking.store import open_store, resolve_uri

    root = tmp_path_factory.mktemp("mlflow")
    open_store(resolve_uri(None, root), root, "template")
    return root / "mlflow.db"


@pytest.fixture
def tracked(case: Case, mlflow_store: Path) -> Case:
    shutil.copy(mlflow_store, case.root / "mlflow.db")
    case.overrides = [*TRACKED]
    return case


def test_runs_agree_with_the_study_after_a_kill_before_the_last_word(tracked: Case) -> None:
    assert tracked.run(env={"PIPELINE_FAULT": "before-tell:3"}).code == -signal.SIGKILL
    tracked.ask("always-2-3" if tracked.pauses else "always-4-1", "nan")  # what comes late
    ended = tracked.run()
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
def test_a_server_that_answers_500_costs_bounded_time_and_the_journal_is_sent_later(
    tracked: Case, angry_server: str
) -> None:
    ended = tracked.run(f"tracking.uri={angry_server}")
    assert ended.code == 0, ended.err
    assert "kept in" in ended.err
    check(tracked)
    again = tracked.run()  # the same study, with a store that answers
    assert again.code == 0, again.err
    agree(tracked)
    assert len(tracked.told()) == TRIALS


@pytest.fixture
def server(tracked: Case) -> Iterator["Server"]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(tracked.root, port)
    server.start()
    yield server
    server.kill()


class Server:
    """A real `mlflow server` on the case's store, as `python -m pipeline.ui` starts it."""

    def __init__(self, root: Path, port: int) -> None:
        from pipeline.ui import server_command

        self.address = f"http://127.0.0.1:{port}"
        self._command = server_command(f"sqlite:///{root / 'mlflow.db'}", root, port)

    def start(self) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(self._command, start_new_session=True, **quiet)
        wait_until(self._answers, "the server to answer")

    def _answers(self) -> bool:
        assert self._process.poll() is None
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.mark.slow
def test_a_server_killed_during_the_sweep_gets_its_runs_when_it_is_back(
    tracked: Case, server: Server
) -> None:
    tracked.overrides.append(f"tracking.uri={server.address}")
    tracked.ask("hold-2-2")
    running = tracked.start()
    tracked.wait_for(2, 2)
    position = tracked.folder / "replayed.json"
    wait_until(position.exists, "the server to have got something")
    server.kill()
    tracked.release("hold-2-2")
    ended = running.end()
    assert ended.code == 0, ended.err
    assert "sent at the next start" in ended.err
    no_traceback(ended)
    check(tracked)
    server.start()
    again = tracked.run()
    assert again.code == 0, again.err
    assert "MLflow" not in again.err
    agree(tracked)
    assert tracked.run().code == 0  # a third time sends nothing
    agree(tracked)


@pytest.mark.slow
def test_a_full_disk_under_the_store_alone_ends_cleanly_and_is_resumable(
    tracked: Case, tmp_path: Path, mlflow_store: Path
) -> None:
    disk = tmp_path / "disk"
    store = disk / "mlflow.db"
    tracked.overrides += [f"tracking.uri=sqlite:///{store}", "budget.trials=8"]
    tracked.ask(
        "hold-7-3"
    )  # the sweep is still there when MLflow, which lags behind, finds the disk full
    with small_disk(disk, "1m"):
        shutil.copy(mlflow_store, store)
        running = tracked.start()
        wait_until(lambda: "disk" in running.err, "the full disk to be noticed")
        tracked.release("hold-7-3")
        ended = running.end(cap_s=120)
        assert ended.code == 1, (ended.out, ended.err)
        assert f"No space left on device: {disk}" in ended.err
        assert "resume with" in ended.err
        no_traceback(ended)
        wait_until(lambda: not workers_of(tracked.folder), "workers to be gone")
        check_files(tracked.folder)
        assert tracked.states()["RUNNING"] == 0
        grow_disk(disk, "8m")
        again = tracked.run()
        assert again.code == 0, again.err
        check(tracked, total=8)
        agree(tracked, store)
