"""One coordinator per study: the owner holds a lock that the kernel, or the database server, drops
when the process ends.

Also clears what a killed coordinator may leave behind: stopped workers, and names in shared memory.
"""

import contextlib
import hashlib
import json
import math
import os
import platform
import stat
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from cnn_core.errors import InputError
from cnn_core.plain_json import parse_json
from cnn_core.whole_files import naming
from pipeline.slots.file_lock import lock_file
from pipeline.slots.worker import STUDY_MARK
from pipeline.structured_text import OWN_FILE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

MOST_PID = 1 << 22  # of Linux
CLOCK_S = 1.0  # processes' starts are known from a boot time in whole seconds
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, identified unambiguously: a pid is reused, but with another start time or boot."""

    host: str
    boot: str
    pid: int
    start: float  # seconds since the epoch

    @classmethod
    def here(cls) -> "Owner":
        """Return this process."""
        return cls(
            host=platform.node(),
            boot=boot_id(),
            pid=os.getpid(),
            start=psutil.Process().create_time(),
        )

    def is_well_formed(self) -> bool:
        """Tell whether each field is what `here` writes; the file may have been received."""
        texts = isinstance(self.host, str) and isinstance(self.boot, str)
        number = isinstance(self.pid, int) and not isinstance(self.pid, bool)
        start = isinstance(self.start, int | float) and math.isfinite(self.start)
        return texts and number and start and 0 < self.pid <= MOST_PID

    @property
    def elsewhere(self) -> bool:
        """Tell whether it is of another machine."""
        return self.host != platform.node()

    def lives(self) -> bool:
        """Tell whether this process runs on this machine now."""
        if (self.host, self.boot) != (platform.node(), boot_id()):
            return False
        try:
            return abs(psutil.Process(self.pid).create_time() - self.start) < 1.0
        except psutil.Error:
            return False


def boot_id() -> str:
    """Return an id that changes with each boot of this machine, "" if the system has none."""
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


class OwnerLock:
    """A study's lock, held from `acquire` to `release` or to the end of the process, however it
    ends.

    The file stays, naming its last owner, so that the next one knows whose workers to look for
    (`previous`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.previous: Owner | None = None
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the study. Raises InputError naming the owner when another coordinator has it."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | OWN_FILE, 0o644)
        try:
            lock_file(descriptor)
        except BlockingIOError:
            found = _read(descriptor)
            os.close(descriptor)
            raise _taken(self.path, found) from None
        self.previous = _read(descriptor)
        # A shared file system may not share its locks.
        if self.previous is not None and self.previous.elsewhere:
            os.close(descriptor)
            raise _taken(self.path, self.previous)
        self._descriptor = descriptor
        self._write(asdict(Owner.here()))

    def release(self) -> None:
        """Release the study, marked as released so that another machine may take it too."""
        if self._descriptor is not None:
            self._write(asdict(Owner.here()) | {"released": True})
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, content: dict[str, Any]) -> None:
        """Overwrite in place: a rename would leave the lock on a file that nobody sees."""
        assert self._descriptor is not None
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, (json.dumps(content).ljust(300) + "\n").encode())
        except OSError:  # a full disk: the lock still holds, but does not name its owner
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)


def read_owner(path: Path) -> Owner | None:
    """Return the process that holds the study, or last held it without releasing it; None if none
    is named.
    """
    if not path.exists():
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            return _read(descriptor)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether a coordinator on this machine holds the study."""
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        lock_file(descriptor, shared=True)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Owner | None:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        content = parse_json(os.read(descriptor, 4096))
        if content.pop("released", False):
            return None
        owner = Owner(**content)
        return owner if owner.is_well_formed() else None
    except (ValueError, TypeError, AttributeError):
        return None  # empty or torn: written by a process that died at once


def _taken(path: Path, owner: Owner | None) -> InputError:
    who = f"process {owner.pid} on {owner.host}" if owner else "another process"
    elsewhere = owner is not None and owner.elsewhere
    hint = f"; if that machine is gone, remove {path}" if elsewhere else ""
    return InputError(
        f"study {path.parent.name!r}: one sweep at a time may own a study, got a second while "
        f"{who} runs it{hint}"
    )


def hold(engine: "Engine", study: str) -> "Connection | None":
    """Take a study for as long as the returned connection lives. Raises InputError when another
    coordinator, anywhere, has it.

    The folder's lock cannot see a coordinator with another root. Returns None for a server without
    advisory locks.
    """
    if engine.dialect.name != "postgresql":
        return None
    from sqlalchemy import text

    number = int.from_bytes(
        hashlib.sha256(f"cnn-sweep {study}".encode()).digest()[:8], "big", signed=True
    )
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    if not connection.execute(
        text("select pg_try_advisory_lock(:number)"), {"number": number}
    ).scalar():
        connection.close()
        raise InputError(
            f"study {study!r}: one sweep at a time may own a study, got a second while another "
            "runs it on the same database"
        )
    return connection


SHARED_MEMORY = Path("/dev/shm")


def find_workers(study_folder: Path) -> list[psutil.Process]:
    """Return the processes marked as workers of this study that are not this process's children;
    the caller holds the study.

    The mark is in their environment, so no list of pids has to be kept, and a reused pid is not
    mistaken for a worker.
    """
    return [process for process in psutil.process_iter() if _is_orphan(process, str(study_folder))]


def _is_orphan(process: psutil.Process, folder: str) -> bool:
    try:
        return process.environ().get(STUDY_MARK) == folder and process.ppid() != os.getpid()
    except psutil.Error:  # ended meanwhile, or another user's
        return False


def find_semaphores(owner: Owner) -> list[Path]:
    """Return the semaphores in shared memory that this owner's loky made and left: of a process of
    this machine and boot that has ended, this user's, and made while it ran.
    """
    if sys.platform == "win32":
        return []
    here = (owner.host, owner.boot) == (platform.node(), boot_id())
    if not here or not owner.is_well_formed() or psutil.pid_exists(owner.pid):
        return []  # what lives under this pid now may be another's
    before = psutil.Process().create_time()
    found = []
    for path in SHARED_MEMORY.glob(f"sem.loky-{owner.pid}-*"):
        with contextlib.suppress(OSError):
            about = path.lstat()
            made = owner.start - CLOCK_S <= about.st_mtime < before + CLOCK_S
            if stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid() and made:
                found.append(path)
    return found


def reap_after(previous: Owner | None, study_folder: Path) -> tuple[int, int]:
    """Kill a dead coordinator's orphaned workers and remove its semaphores; return how many of
    each. The caller holds the study.
    """
    # One that released the study left nothing; one that lives runs the original of a copied root.
    if previous is None or previous.lives():
        return 0, 0
    workers = find_workers(study_folder)
    for process in workers:
        process.kill()
    semaphores = find_semaphores(previous)
    for path in semaphores:
        path.unlink(missing_ok=True)
    return len(workers), len(semaphores)
