"""A command in a process of its own, watched from outside: its time, resident memory, descriptors,
threads, and what it leaves behind.

On a busy machine only processor time says what a command costs: seconds are those that it waited.
What a process does before it says that it has `begun` (its imports) is no growth.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

EVERY_S = 0.2
LINES = 4
GONE_S = 5.0  # until what a process has started is gone too
SHARED_MEMORY = Path("/dev/shm")
BEGUN = "METER_BEGUN"  # environment variable: the file that a watched process makes


@dataclass(frozen=True)
class Look:
    """What a process holds at one time; `beside`: the largest resident memory below it."""

    memory: int
    descriptors: int
    threads: int
    beside: int


@dataclass(frozen=True)
class Ended:
    """A process that has ended: its exit code, seconds, those of processors (of all that it
    started, too), the looks at it, and what it left.
    """

    code: int
    seconds: float
    processor_s: float
    looks: Sequence[Look]
    left: Sequence[str]
    said: str = ""  # the last lines that it printed
    warm: int | None = None  # the first look after it had begun; None: it never said so

    @property
    def peak(self) -> int:
        """The largest resident memory seen, bytes."""
        return max((look.memory for look in self.looks), default=0)

    @property
    def beside(self) -> int:
        """The largest resident memory seen of a process below it, bytes."""
        return max((look.beside for look in self.looks), default=0)

    def quarters(self, name: str) -> tuple[float, float]:
        """Return the median of a figure of `Look` in the first and in the last quarter of what it
        did since it had begun.
        """
        values = [float(getattr(look, name)) for look in self.looks[self.warm or 0 :]] or [0.0]
        size = max(1, len(values) // 4)
        return statistics.median(values[:size]), statistics.median(values[-size:])


@dataclass
class Watch:
    """Looks at a process, in a thread, until it has ended."""

    process: psutil.Process
    begun: Path
    warm: int | None = None
    looks: list[Look] = field(default_factory=list)
    seen: set[psutil.Process] = field(default_factory=set)

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(EVERY_S):
            with contextlib.suppress(psutil.Error):
                self.look()

    def look(self) -> None:
        if self.warm is None and self.begun.exists():
            self.warm = len(self.looks)
        below = self.process.children(recursive=True)
        self.seen.update(below)
        beside = 0
        for child in below:
            with contextlib.suppress(psutil.Error):
                beside = max(beside, child.memory_info().rss)
        with self.process.oneshot():
            memory, threads = self.process.memory_info().rss, self.process.num_threads()
            self.looks.append(Look(memory, self.process.num_fds(), threads, beside))

    def left(self) -> list[str]:
        """Return what outlives the process: processes that it started, and its files in shared
        memory.
        """
        end = time.monotonic() + GONE_S
        # Not psutil.wait_procs: of thousands of processes some's number is another's thread by now.
        while (alive := [one for one in self.seen if _runs(one)]) and time.monotonic() < end:
            time.sleep(0.1)
        pids = {str(one.pid) for one in (self.process, *self.seen)}
        files = SHARED_MEMORY.iterdir() if SHARED_MEMORY.is_dir() else ()
        named = [path.name for path in files if pids & {*path.name.replace("_", "-").split("-")}]
        return [*(f"process {one.pid}" for one in alive), *named]


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def begun() -> None:
    """Tell who watches this process, if somebody does, that its work has begun."""
    if BEGUN in os.environ:
        Path(os.environ[BEGUN]).touch()


def metered(module: str, words: Sequence[str]) -> Ended:
    """Run ``python -m module words`` to its end; of its output the last lines are kept."""
    began = time.perf_counter()
    command = [sys.executable, "-m", module, *words]
    with tempfile.TemporaryDirectory(prefix="meter-") as folder:
        mark, printed = Path(folder) / "begun", Path(folder) / "printed"
        environment = {**os.environ, BEGUN: str(mark)}
        with (
            printed.open("w") as out,
            subprocess.Popen(command, stdout=out, env=environment) as process,
        ):
            watch, ended = Watch(psutil.Process(process.pid), mark), threading.Event()
            thread = threading.Thread(target=watch.run, args=(ended,))
            thread.start()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - began
            ended.set()
            thread.join()
        said = "; ".join(printed.read_text(errors="replace").splitlines()[-LINES:])
    used_s = usage.ru_utime + usage.ru_stime
    left = watch.left()
    return Ended(process.returncode, seconds, used_s, watch.looks, left, said, watch.warm)
