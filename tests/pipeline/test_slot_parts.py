"""Small parts around slots: what a worker says of its machine, kernels that are pinned, locks, and
which scheduler is asked.
"""

import ctypes.util
import os
import signal
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_core.errors import InputError
from pipeline.configuration import compose
from pipeline.configuration.sections import SlotSettings
from pipeline.slots import pool, worker
from pipeline.slots.owner_lock import OwnerLock, hold, is_locked
from pipeline.slots.process import ProcessSlot, clear_pins
from pipeline.slots.scheduler_trust import security_of
from pipeline.slots.slot import CallFailed
from pipeline.slots.stop_request import HUNG_UP, SignalHandling, Stop


def test_a_worker_whose_coordinator_is_gone_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    parents = iter([7, 7, 1])
    monkeypatch.setattr(worker, "WATCH_S", 0.0)
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(os, "_exit", codes.append)
    worker._watch(7)
    assert codes == [1] and not list(parents), "it has looked until there was another parent"


def test_without_an_openblas_no_kernels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_loaded_libraries", lambda word: [])
    assert worker.openblas_kernels() == ""
    other = ctypes.util.find_library("m")  # a library without OpenBLAS's functions
    monkeypatch.setattr(worker, "_loaded_libraries", lambda word: [other])
    assert worker.openblas_kernels() == ""


def test_a_system_that_says_nothing_of_its_processor_is_asked_by_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker.platform, "processor", lambda: "")
    monkeypatch.setattr(worker.platform, "machine", lambda: "riscv64")
    read_text = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, *rest, **more: (
            "processor : 0\nhart : 1\n"
            if path == Path("/proc/cpuinfo")
            else read_text(path, *rest, **more)
        ),
    )
    assert worker._processor() == "riscv64"
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert worker._processor() == "riscv64"
    assert worker._loaded_libraries("openblas") == []


@pytest.mark.parametrize(
    ("kernels", "left"),
    [
        ("auto", {}),
        ("inherit", {"OPENBLAS_CORETYPE": "Zen", "OPENBLAS_L2_SIZE": "512"}),
        ("Haswell", {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512"}),
    ],
)
def test_processes_that_predict_take_the_kernels_that_are_said(
    kernels: str, left: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    clear_pins(compose([f"blas.kernels={kernels}"]))
    names = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    assert {name: os.environ[name] for name in names if name in os.environ} == left


def test_a_worker_that_cannot_load_what_it_needs_says_why() -> None:
    slot = ProcessSlot.__new__(ProcessSlot)  # no process is started
    slot._greeting = Future()
    slot._greeting.set_result(("MemoryError", "out of memory"))
    with pytest.raises(CallFailed) as raised:
        slot.machine()
    assert (raised.value.kind, raised.value.text) == ("MemoryError", "out of memory")


def test_a_lock_that_is_not_held_is_released_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "owner.json"
    lock = OwnerLock(path)
    lock.release()
    assert not path.exists()
    lock.acquire()
    lock.release()
    left = path.read_text()
    lock.release()
    assert path.read_text() == left and not is_locked(path)


class Postgres:
    """An engine whose server has advisory locks, and gives a number to one connection."""

    dialect = SimpleNamespace(name="postgresql")

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.opened: list[Any] = []

    def connect(self) -> Any:
        connection = SimpleNamespace(closed=False)

        def execute(statement: Any, values: dict[str, int]) -> Any:
            assert str(statement) == "select pg_try_advisory_lock(:number)"
            free = values["number"] not in self.taken
            self.taken.add(values["number"])
            return SimpleNamespace(scalar=lambda: free)

        def options(**more: str) -> Any:
            assert more == {"isolation_level": "AUTOCOMMIT"}
            return connection

        connection.execute, connection.execution_options = execute, options
        connection.close = lambda: setattr(connection, "closed", True)
        self.opened.append(connection)
        return connection


def test_a_study_on_a_server_is_held_by_one_connection() -> None:
    engine: Any = Postgres()
    held: Any = hold(engine, "first")
    assert held is engine.opened[0] and not held.closed
    with pytest.raises(InputError) as refused:
        hold(engine, "first")
    assert str(refused.value) == (
        "study 'first': one sweep at a time may own a study, got a second while another runs it on "
        "the same database"
    )
    assert engine.opened[1].closed and not held.closed
    assert hold(engine, "second") is engine.opened[2], "another study is another lock"
    assert all(-(2**63) <= number < 2**63 for number in engine.taken)


def test_a_terminal_that_is_closed_ends_at_once() -> None:
    stop, heard = Stop(), threading.Event()
    stop.on_request.append(heard.set)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    try:
        with SignalHandling(stop, lambda line: None):
            signal.raise_signal(signal.SIGHUP)
            assert heard.wait(30)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (stop.reason, stop.exit_code, stop.now) == ("SIGHUP", HUNG_UP, True)


def test_tls_with_a_certificate_of_both_sides_is_trusted() -> None:
    pytest.importorskip("distributed")
    names = {"tls_ca": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"}
    settings = SlotSettings(name="dask", address="tls://192.0.2.1:8786", **names)
    security = security_of(settings)
    assert security.require_encryption is True
    found = (security.tls_ca_file, security.tls_client_cert, security.tls_client_key)
    assert found == ("ca.pem", "cert.pem", "key.pem")


@pytest.mark.parametrize(("count", "wanted"), [(None, 3), (1, 1)])
def test_slots_of_a_cluster_are_asked_of_dask_and_closed(
    count: int | None, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    closed: list[int] = []

    def connect(settings: SlotSettings, n: int, kernels: str) -> list[Any]:
        assert settings.address == "tls://192.0.2.1:8786" and kernels == "Haswell"
        return [
            SimpleNamespace(close=lambda index=index: closed.append(index)) for index in range(n)
        ]

    monkeypatch.setattr("pipeline.slots.dask.connect_slots", connect)
    words = ["slots=dask", "slots.address=tls://192.0.2.1:8786", "slots.n=3"]
    with pool.open_slots(compose([*words, "blas.kernels=Haswell"]), tmp_path, count) as slots:
        assert len(slots) == wanted and not closed
    assert closed == list(range(wanted))
