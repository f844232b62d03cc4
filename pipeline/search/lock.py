"""One coordinator a study: the owner holds a lock on a file that names it, and the kernel drops the lock with the process."""

import fcntl
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from cnn_core.errors import InputError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, so named that no other is taken for it: a pid returns, with another start or after another boot."""

    host: str
    boot: str
    pid: int
    start: float  # seconds since the epoch

    @classmethod
    def here(cls) -> "Owner":
        """Return this process."""
        return cls(host=platform.node(), boot=boot_id(), pid=os.getpid(), start=psutil.Process().create_time())

    def lives(self) -> bool:
        """Tell whether this process runs on this machine now."""
        if (self.host, self.boot) != (platform.node(), boot_id()):
            return False
        try:
            return abs(psutil.Process(self.pid).create_time() - self.start) < 1.0
        except psutil.Error:
            return False


def boot_id() -> str:
    """Return what changes with each start of this machine, "" where the system does not say."""
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


class OwnerLock:
    """Held from `acquire` to `release`, or to the end of the process however it comes.

    The file stays, with its last owner's name: that is how the next owner knows whose workers to look for (`previous`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.previous: Owner | None = None
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the study. Raises InputError naming the owner when another coordinator has it."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _read(descriptor)
            os.close(descriptor)
            raise _taken(self.path, found) from None
        self.previous = _read(descriptor)
        if self._elsewhere(self.previous):  # a file system that machines share may not share its locks
            os.close(descriptor)
            raise _taken(self.path, self.previous)
        self._descriptor = descriptor
        self._write(asdict(Owner.here()))

    def release(self) -> None:
        """Let the study go. The name is crossed out, so that another machine may take it too."""
        if self._descriptor is not None:
            self._write(asdict(Owner.here()) | {"released": True})
            os.close(self._descriptor)
            self._descriptor = None

    def _elsewhere(self, owner: Owner | None) -> bool:
        return owner is not None and owner.host != platform.node()

    def _write(self, content: dict[str, Any]) -> None:
        """Overwrite in place: a rename would leave the lock on a file that nobody sees."""
        assert self._descriptor is not None
        try:
            os.pwrite(self._descriptor, (json.dumps(content).ljust(300) + "\n").encode(), 0)
        except OSError:  # a full disk; the lock itself holds, and says so to others without a name
            os.ftruncate(self._descriptor, 0)


def read_owner(path: Path) -> Owner | None:
    """Return the process that holds or last held the study without releasing it; None where none is named."""
    if not path.exists():
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether a coordinator on this machine holds the study."""
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Owner | None:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        if content.pop("released", False):
            return None
        return Owner(**content)
    except (ValueError, TypeError):
        return None  # empty or torn: written by a process that died at once


def _taken(path: Path, owner: Owner | None) -> InputError:
    who = f"process {owner.pid} on {owner.host}" if owner else "another process"
    elsewhere = owner is not None and owner.host != platform.node()
    hint = f"; if that machine is gone, remove {path}" if elsewhere else ""
    return InputError(f"study {path.parent.name!r}: one sweep at a time may own a study, got a second while {who} runs it{hint}")
