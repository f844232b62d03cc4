"""A study on a real PostgreSQL server, started here: a sweep, a kill, a resume, a second
coordinator that is refused, no password shown.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import TRIALS, Case

pytestmark = pytest.mark.slow
PASSWORD = "pg-s3cr3t-pass"
BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server on a free port; yield the URL of an empty database."""
    pytest.importorskip("psycopg")
    if not BIN or not (BIN[-1] / "initdb").exists():
        pytest.skip("PostgreSQL's server is not installed (apt-get install postgresql)")
    user = (
        "postgres" if os.geteuid() == 0 else getpass.getuser()
    )  # the server refuses to run as root
    base = Path("/tmp") / f"pg-{os.getpid()}"
    base.mkdir()
    (base / "password").write_text(PASSWORD)
    if os.geteuid() == 0:
        shutil.chown(base, user)
        shutil.chown(base / "password", user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def as_user(*command: str) -> None:
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            user=user if os.geteuid() == 0 else None,
            cwd=base,
        )

    tool = BIN[-1]
    data = base / "data"
    as_user(
        str(tool / "initdb"),
        "-D",
        str(data),
        "-U",
        "sweeper",
        "-A",
        "scram-sha-256",
        f"--pwfile={base / 'password'}",
        "--no-sync",
    )
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={base} -c fsync=off"
    )
    as_user(
        str(tool / "pg_ctl"), "-D", str(data), "-w", "-l", str(base / "log"), "-o", options, "start"
    )
    try:
        yield f"postgresql+psycopg://sweeper:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        as_user(str(tool / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(base)


def states(url: str, study: str) -> list[str]:
    import optuna

    storage = optuna.storages.RDBStorage(url)
    names = [
        trial.state.name for trial in optuna.load_study(study_name=study, storage=storage).trials
    ]
    storage.engine.dispose()
    return names


def own_name(case: Case, name: str) -> str:
    """Return a study's name on the server that all cases share."""
    return f"{name}-pauses" if case.pauses else name


def test_a_sweep_on_postgresql_is_killed_and_resumed(case: Case, server: str) -> None:
    case.study = own_name(case, "case")
    case.overrides = [f"study.storage={server}"]
    first = case.run(env={"PIPELINE_FAULT": "before-tell:3"})
    assert first.code == -signal.SIGKILL, first.err
    second = case.run()
    assert second.code == 0, second.err
    assert states(server, case.study) == ["COMPLETE"] * TRIALS
    assert PASSWORD not in first.out + first.err + second.out + second.err
    assert not (case.folder / "study.db").exists()
    for path in case.folder.rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes(), path


def test_a_second_coordinator_elsewhere_is_refused(case: Case, server: str, tmp_path: Path) -> None:
    case.study = own_name(case, "shared")
    case.overrides = [f"study.storage={server}"]
    case.ask("hold-0-1")
    running = case.start()
    case.wait_for(0, 1)
    other = Case(
        tmp_path / "other", case.toy, case.overrides, study=case.study
    )  # another root, as on another machine
    refused = other.run()
    assert refused.code == 2, (refused.code, refused.out, refused.err)
    assert "one sweep at a time may own a study" in refused.err
    case.release("hold-0-1")
    assert running.end(40).code == 0


def test_a_server_that_does_not_answer_is_refused(case: Case) -> None:
    case.overrides = [f"study.storage=postgresql+psycopg://sweeper:{PASSWORD}@127.0.0.1:9/none"]
    ended = case.run()
    assert ended.code == 2
    assert PASSWORD not in ended.out + ended.err
    assert "study.storage: must be a database that opens" in ended.err
