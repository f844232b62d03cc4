"""Counts the file operations below a folder that change something, of a process and of all that it
starts, and fails a chosen one as the kernel would.

A seccomp filter passes every such system call to this process before the kernel does it (Linux's
user notification), whoever calls: Python, SQLite, a library in C, a worker. The process that is
watched knows nothing of it and holds no test code. An operation that is not failed goes on as if
nobody had looked.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import re
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
SHARED, WRITABLE = 1, 2  # MAP_SHARED, PROT_WRITE
HERE = -100  # AT_FDCWD
AFTERWARDS_S = 10.0  # processes that outlive their parent for longer are left behind


@dataclass(frozen=True)
class Call:
    """A system call that changes files: its kind, and where its arguments tell the file.

    number: on x86_64 and on aarch64, None where there is none. file: index of the argument that is
    a descriptor. name: index of one that is a path, below the folder of the descriptor `below`.
    only: pairs of an argument's index and bits of which one must be set.
    """

    kind: str
    number: tuple[int | None, int | None]
    file: int | None = None
    name: int | None = None
    below: int | None = None
    only: Sequence[tuple[int, int]] = ()


CALLS = (
    Call("open", (2, None), name=0, only=[(1, WRITING)]),
    Call("open", (257, 56), name=1, below=0, only=[(2, WRITING)]),
    Call("open", (85, None), name=0),
    Call("write", (1, 64), file=0),
    Call("write", (18, 68), file=0),
    Call("write", (20, 66), file=0),
    Call("write", (296, 70), file=0),
    Call("write", (40, 71), file=0),
    Call("write", (326, 285), file=2),
    Call("write", (285, 47), file=0),
    Call("sync", (74, 82), file=0),
    Call("sync", (75, 83), file=0),
    Call("rename", (82, None), name=1),
    Call("rename", (264, 38), name=3, below=2),
    Call("rename", (316, 276), name=3, below=2),
    Call("link", (86, None), name=1),
    Call("link", (265, 37), name=3, below=2),
    Call("link", (88, None), name=1),
    Call("link", (266, 36), name=2, below=1),
    Call("folder", (83, None), name=0),
    Call("folder", (258, 34), name=1, below=0),
    Call("remove", (87, None), name=0),
    Call("remove", (84, None), name=0),
    Call("remove", (263, 35), name=1, below=0),
    Call("cut", (76, 45), name=0),
    Call("cut", (77, 46), file=0),
    Call("mode", (90, None), name=0),
    Call("mode", (91, 52), file=0),
    Call("mode", (268, 53), name=1, below=0),
    Call("map", (9, 222), file=4, only=[(2, WRITABLE), (3, SHARED)]),
)
TAKES_SPACE = ("open", "write", "sync", "folder", "link", "map")
MACHINES = {"x86_64": (0xC000003E, 317), "aarch64": (0xC00000B7, 277)}  # audit's id, seccomp
OFFSET_WRITE = (18, 68)  # pwrite64
PLAIN_WRITES = (1, 64, *OFFSET_WRITE)


@dataclass(frozen=True)
class Operation:
    """One file operation, as it was about to happen."""

    kind: str
    path: str  # below the watched folder
    coordinator: bool  # else of a process that it started

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


@dataclass(frozen=True)
class Fault:
    """The operation that fails, counted from 1, and how.

    once: it alone, with an input/output error. gone: it and all that follow. full: from it on all
    that take space, as on a disk that is full; the first write is done by half. killed: the process
    and all that it started die in its place.
    """

    at: int
    mode: str = "once"

    def error(self, count: int, operation: Operation) -> int:
        """Return the error of the operation that is number `count`, 0 where it goes on."""
        if count < self.at or (self.mode == "once" and count > self.at):
            return 0
        if self.mode == "full":
            return errno.ENOSPC if operation.kind in TAKES_SPACE else 0
        return errno.EIO


@dataclass
class Watched:
    """What came of a process that was watched: its exit code (a signal's is negative), its
    operations, those that failed, and whether processes of it were left behind or it did not end.
    """

    code: int = 0
    operations: list[Operation] = field(default_factory=list)
    failed: list[Operation] = field(default_factory=list)
    left_behind: bool = False
    hung: bool = False


def available() -> bool:
    """Tell whether this system can watch: Linux on a machine whose calls are known."""
    return platform.system() == "Linux" and platform.machine() in MACHINES


def watch(
    body: Callable[[], int],
    folder: Path,
    fault: Fault | None = None,
    *,
    only: str = "",
    cap_s: float = 300.0,
) -> Watched:
    """Run `body` in a forked process, watched below `folder`; return what came of it. `only`: a
    pattern of the operations that count.

    The calling process must have one thread only.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ours.close()
            os.setsid()
            listener = _install_filter()
            socket.send_fds(theirs, [b"."], [listener])
            os.close(listener)
            theirs.close()
            code = body()
        finally:
            os._exit(code)  # nothing of the caller's runs here, whatever happened
    theirs.close()
    with ours:
        _, (listener, *_), _, _ = socket.recv_fds(ours, 1, 1)
    try:
        return _Supervisor(pid, listener, folder, fault, only).serve(cap_s)
    finally:
        os.close(listener)


_libc = ctypes.CDLL(None, use_errno=True)


def _machine() -> tuple[int, int, int]:
    """Return audit's id of this machine, its number of seccomp, and its column of numbers."""
    name = platform.machine()
    return *MACHINES[name], list(MACHINES).index(name)


def _install_filter() -> int:
    """Have this process's calls, and those of its children, asked for; return the listener."""
    audit, seccomp, column = _machine()
    load, equal, bits, answer = 0x20, 0x15, 0x45, 0x06
    ask, allow = 0x7FC00000, 0x7FFF0000
    code = [(load, 0, 0, 4), (equal, 1, 0, audit), (answer, 0, 0, allow), (load, 0, 0, 0)]
    for call in CALLS:
        number = call.number[column]
        if number is None:
            continue
        body = []
        for argument, mask in call.only:
            body += [(load, 0, 0, 16 + 8 * argument), (bits, 1, 0, mask), (answer, 0, 0, allow)]
        body.append((answer, 0, 0, ask))
        code += [(equal, 0, len(body), number), *body]
    code.append((answer, 0, 0, allow))
    program = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    if _libc.prctl(38, 1, 0, 0, 0):  # no new privileges: else only root may filter
        raise OSError(ctypes.get_errno(), "prctl")
    listener = int(_libc.syscall(seccomp, 1, 8, header))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


class _Supervisor:
    """Answers the calls of a watched process until it, and all that it started, have ended."""

    def __init__(
        self, pid: int, listener: int, folder: Path, fault: Fault | None, only: str
    ) -> None:
        self._pid, self._listener, self._only = pid, listener, re.compile(only)
        self._folder = str(folder.resolve()) + "/"
        self._fault = fault
        self._calls = {
            call.number[_machine()[2]]: call
            for call in CALLS
            if call.number[_machine()[2]] is not None
        }
        self._found = Watched()
        self._short = False  # a write was done by half

    def serve(self, cap_s: float) -> Watched:
        end, ended_at, poll = time.monotonic() + cap_s, None, select.poll()
        poll.register(self._listener, select.POLLIN)
        pidfd = os.pidfd_open(self._pid)
        poll.register(pidfd, select.POLLIN)
        while True:
            ready = dict(poll.poll(200))
            if ready.get(self._listener, 0) & select.POLLIN:
                self._answer()
            elif ready.get(self._listener, 0) & select.POLLHUP:
                break
            if pidfd in ready:
                ended_at = time.monotonic()
                poll.unregister(pidfd)
            if ended_at is not None and time.monotonic() - ended_at > AFTERWARDS_S:
                self._found.left_behind = True
                self._kill()
            elif time.monotonic() > end and ended_at is None:
                self._found.hung = True
                self._kill()
        os.close(pidfd)
        self._found.code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._found

    def _kill(self) -> None:
        """Kill the process and what it started, also in process groups of their own."""
        import psutil

        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self._pid).children(recursive=True):
                child.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def _answer(self) -> None:
        request = bytearray(80)
        try:
            fcntl.ioctl(self._listener, 0xC0502100, request, True)
        except OSError:  # its process was killed meanwhile
            return
        identity, thread, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", request)
        value, error = self._judge(thread, self._calls[number], number, arguments)
        reply = struct.pack("QqiI", identity, value, -error, not (value or error))
        with contextlib.suppress(OSError):  # its process was killed meanwhile
            fcntl.ioctl(self._listener, 0xC0182101, bytearray(reply), True)

    def _judge(
        self, thread: int, call: Call, number: int, arguments: Sequence[int]
    ) -> tuple[int, int]:
        """Return the value and the error with which a call ends; (0, 0): the kernel does it."""
        path = _path(thread, call, arguments)
        if path is None or not path.startswith(self._folder):
            return 0, 0
        process = _process_of(thread)
        operation = Operation(call.kind, path[len(self._folder) :], process == self._pid)
        if not self._only.search(str(operation)):
            return 0, 0
        self._found.operations.append(operation)
        count, fault = len(self._found.operations), self._fault
        if fault is None or not (error := fault.error(count, operation)):
            return 0, 0
        if fault.mode == "full" and call.kind == "open" and Path(path).exists():
            return 0, 0  # what is there already takes no space
        self._found.failed.append(operation)
        if fault.mode == "killed":
            self._kill()
        if fault.mode == "full" and number in PLAIN_WRITES and not self._short:
            self._short = True
            return _half(thread, process, number, arguments), 0
        return 0, error


def _path(thread: int, call: Call, arguments: Sequence[int]) -> str | None:
    """Return the path of the file that a call is about, None for what has none."""
    place = f"/proc/{thread}"
    try:
        if call.file is not None:
            return str(Path(f"{place}/fd/{arguments[call.file]}").readlink()).removesuffix(
                " (deleted)"
            )
        assert call.name is not None
        name = _text(thread, arguments[call.name])
        if name.startswith("/"):
            return os.path.normpath(name)
        folder = HERE if call.below is None else ctypes.c_int(arguments[call.below]).value
        base = Path(f"{place}/cwd" if folder == HERE else f"{place}/fd/{folder}").readlink()
        return os.path.normpath(base / name)
    except OSError:
        return None


def _text(thread: int, address: int) -> str:
    """Return the text that ends with a zero at an address of another process."""
    with open(f"/proc/{thread}/mem", "rb", 0) as memory:  # noqa: PTH123 - quick, unbuffered
        memory.seek(address)
        room = 4096 - address % 4096  # the next page may not be there
        found = memory.read(room)
        if b"\0" not in found:
            found += memory.read(4096)
    return os.fsdecode(found.partition(b"\0")[0])


def _process_of(thread: int) -> int:
    status = Path(f"/proc/{thread}/status").read_text()
    return int(status.partition("Tgid:")[2].split(None, 1)[0])


def _half(thread: int, process: int, number: int, arguments: Sequence[int]) -> int:
    """Do the first half of a write in the place of its process; return how many bytes that is."""
    descriptor, address, size, offset, *_ = arguments
    with open(f"/proc/{thread}/mem", "rb", 0) as memory:  # noqa: PTH123
        memory.seek(address)
        content = memory.read(max(1, size // 2))
    pidfd = os.pidfd_open(process)
    file = int(_libc.syscall(438, pidfd, descriptor, 0))  # shares its position with theirs
    try:
        return (
            os.pwrite(file, content, offset) if number in OFFSET_WRITE else os.write(file, content)
        )
    finally:
        os.close(file)
        os.close(pidfd)
