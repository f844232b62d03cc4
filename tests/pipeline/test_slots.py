"""A slot: one worker process behind `call`, replaced when it dies, clean in its imports and
environment.
"""

import contextlib
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import psutil
import pytest
from joblib.externals.loky.process_executor import _ExecutorManagerThread

from cnn_core.errors import InputError
from pipeline.configuration.sections import SlotSettings
from pipeline.slots.process import ProcessSlot, start_slots
from pipeline.slots.scheduler_trust import security_of
from pipeline.slots.slot import CallFailed, TimedOut, WorkerDied, WorkerSettings


@pytest.fixture(scope="module")
def slot() -> Iterator[ProcessSlot]:
    (slot,) = start_slots(1, WorkerSettings(study_folder="/nowhere/test-slots"))
    yield slot
    slot.close()


def environment() -> dict[str, str]:
    return dict(os.environ)


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(30)


def leave() -> None:
    sys.exit(3)


def test_a_call_returns_what_the_function_returns_from_another_process(slot: ProcessSlot) -> None:
    assert slot.call(divmod, 17, 5) == (3, 2)
    assert slot.call(os.getpid) == slot.machine().pid != os.getpid()


IMPORTED = (
    "sorted({name.partition('.')[0] for name in __import__('sys').modules} "
    "- set(__import__('sys').stdlib_module_names))"
)


def test_a_worker_imports_numpy_and_cnn_core_alone() -> None:
    (slot,) = start_slots(1, WorkerSettings())
    try:
        found = {name for name in slot.call(eval, IMPORTED) if not name.startswith("_")}
    finally:
        slot.close()
    assert {"numpy", "cnn_core", "pipeline"} <= found
    assert found <= {
        "numpy",
        "cnn_core",
        "pipeline",
        "joblib",
        "cloudpickle",
        "psutil",
        "cython_runtime",
    }  # loky's own are among them


def test_one_blas_thread_and_no_pinned_kernels(slot: ProcessSlot) -> None:
    seen = slot.call(environment)
    assert seen["OPENBLAS_NUM_THREADS"] == seen["OMP_NUM_THREADS"] == "1"
    assert "OPENBLAS_CORETYPE" not in seen


def test_a_named_kernel_set_is_what_the_worker_uses(slot: ProcessSlot) -> None:
    if not slot.machine().kernels:
        pytest.skip("NumPy's BLAS is not OpenBLAS")
    (pinned,) = start_slots(1, WorkerSettings(kernels="Haswell"))
    try:
        assert pinned.machine().kernels == "Haswell"
    finally:
        pinned.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_dead_worker_is_named_by_its_signal_and_replaced(
    slot: ProcessSlot, number: signal.Signals
) -> None:
    before = slot.machine().pid
    with pytest.raises(WorkerDied, match=number.name):
        slot.call(die, int(number))
    assert slot.machine().pid != before
    assert slot.call(divmod, 7, 2) == (3, 1)


def test_a_late_call_ends_its_worker_alone(slot: ProcessSlot) -> None:
    with pytest.raises(TimedOut, match=r"timed out after 0\.2 s"):
        slot.call(time.sleep, 30, deadline_s=0.2)
    assert slot.call(divmod, 7, 2) == (3, 1)


def test_exceptions_come_back_by_name_and_leave_the_worker_alive(slot: ProcessSlot) -> None:
    pid = slot.machine().pid
    with pytest.raises(CallFailed, match="ValueError: invalid literal"):
        slot.call(int, "x")
    with pytest.raises(CallFailed, match="SystemExit"):
        slot.call(leave)
    assert slot.call(os.getpid) == pid


def test_interruptions_are_blocked_in_the_worker(slot: ProcessSlot) -> None:
    blocked = slot.call(signal.pthread_sigmask, signal.SIG_BLOCK, [])
    assert {signal.SIGINT, signal.SIGTERM} <= set(blocked)


def test_a_stopped_slot_starts_no_other_worker() -> None:
    (slot,) = start_slots(1, WorkerSettings())
    pid = slot.machine().pid
    slot.stop()
    with pytest.raises(WorkerDied):
        slot.call(divmod, 1, 1)
    slot.close()
    end = time.monotonic() + 5
    while (
        psutil.pid_exists(pid)
        and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        and time.monotonic() < end
    ):
        time.sleep(0.01)
    assert time.monotonic() < end, "the worker lives on"


def test_a_memory_limit_is_a_memory_error_in_the_call_alone() -> None:
    (slot,) = start_slots(1, WorkerSettings(memory_mb=1000))
    try:
        with pytest.raises(CallFailed, match="MemoryError"):
            slot.call(bytearray, 2 * 10**9)
        assert slot.call(divmod, 7, 2) == (3, 1)
    finally:
        slot.close()


def test_work_that_a_kill_took_away_is_passed_over() -> None:
    """Loky fails what is pending when an executor is killed, but leaves its number in the queue."""
    left, kept = queue.Queue[int](), Future[int]()
    for number in (3, 4):
        left.put(number)
    manager = SimpleNamespace(
        call_queue=queue.Queue(),
        work_ids_queue=left,
        pending_work_items={4: SimpleNamespace(future=kept, fn=abs, args=(-1,), kwargs={})},
        running_work_items=[],
    )
    _ExecutorManagerThread.add_call_item_to_queue(manager)
    assert manager.running_work_items == [4]
    assert manager.call_queue.get_nowait().args == (-1,)
    assert kept.running()


HELD: list[bytes] = []


def grow() -> None:
    time.sleep(1.1)  # loky looks at memory once a second
    HELD.append(b"x" * (400 << 20))


def test_a_worker_that_has_grown_is_replaced_without_a_word() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        (slot,) = start_slots(1, WorkerSettings())
        try:
            before = slot.call(os.getpid)
            with ThreadPoolExecutor(2) as pool:
                growing = pool.submit(slot.call, grow)
                waiting = pool.submit(slot.call, os.getpid)  # while the first computes
                growing.result()
                assert waiting.result() != before
        finally:
            slot.close()
    assert [str(one.message) for one in said] == []


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        (
            "tcp://ann:Zq/7kX@192.0.2.1:8786",
            "must be tls://host:port, got tcp://***@192.0.2.1:8786",
        ),
        ("tcp://192.0.2.1:8786", "must be tls://host:port, or the tcp:// address of"),
        ("tcp://127.0.0.1:{other}", "that this process has started"),
        ("tcp://127.0.0.1", "that this process has started"),
        ("tcp://127.0.0.1:x", "must be tls://host:port, got tcp://127.0.0.1:x"),
        ("tls://ann:Zq7kX@192.0.2.1:1", "slots.tls_ca, tls_cert, tls_key: must be given"),
        ("inproc://x", "must be tls://host:port"),
    ],
)
def test_a_scheduler_that_may_be_anybodys_is_not_trusted(address: str, rule: str) -> None:
    """Both sides run what the other sends."""
    pytest.importorskip("distributed")
    with listening() as other:
        settings = SlotSettings(name="dask", address=address.format(other=other))
        with pytest.raises(InputError, match=re.escape(rule)) as refused:
            security_of(settings)
    assert "7kX" not in str(refused.value)


def test_one_that_listens_in_this_process_is_trusted() -> None:
    pytest.importorskip("distributed")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        address = f"tcp://127.0.0.1:{ours.getsockname()[1]}"
        assert security_of(SlotSettings(name="dask", address=address)) is None


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """The port of another user's process; what this one has started are its children, but not
    theirs whose parent has ended.
    """
    code = "import os, socket, sys, time; s = socket.create_server(('127.0.0.1', 0)); "
    code += "print(s.getsockname()[1], os.getpid(), flush=True); time.sleep(60)"
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}])"
    done = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
    assert done.stdout is not None
    port, pid = map(int, done.stdout.readline().split())
    done.wait()
    try:
        yield port
    finally:
        os.kill(pid, signal.SIGKILL)
        done.stdout.close()
