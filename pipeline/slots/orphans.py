"""What a coordinator that was killed outright may leave behind: stopped workers, and names in shared memory."""

import os
from pathlib import Path

import psutil

from pipeline.search.lock import Owner
from pipeline.slots.worker import STUDY_MARK

SHARED_MEMORY = Path("/dev/shm")


def find_workers(study_folder: Path) -> list[psutil.Process]:
    """Return the processes marked as workers of this study that are not this process's own; the caller holds the study.

    The mark is in their environment, so no list of pids has to be kept, and a pid that is used again is not mistaken.
    """
    return [process for process in psutil.process_iter() if _is_orphan(process, str(study_folder))]


def _is_orphan(process: psutil.Process, folder: str) -> bool:
    try:
        return process.environ().get(STUDY_MARK) == folder and process.ppid() != os.getpid()
    except psutil.Error:  # ended meanwhile, or another user's
        return False


def find_semaphores(coordinator_pid: int, before: float) -> list[Path]:
    """Return loky's semaphores in shared memory made by that pid before the time `before` (seconds since the epoch)."""
    if not SHARED_MEMORY.is_dir():
        return []
    found = SHARED_MEMORY.glob(f"sem.loky-{coordinator_pid}-*")
    return [path for path in found if path.stat().st_mtime < before]


def reap_after(previous: Owner | None, study_folder: Path) -> tuple[int, int]:
    """Kill a dead coordinator's orphaned workers and remove its semaphores; return how many of each. The caller holds the study."""
    if previous is None:  # it released the study, and with it all it had
        return 0, 0
    workers = find_workers(study_folder)
    for process in workers:
        process.kill()
    semaphores = find_semaphores(previous.pid, psutil.Process().create_time())
    for path in semaphores:
        path.unlink(missing_ok=True)
    return len(workers), len(semaphores)
