"""The wall-clock budget of a study over all its runs, by the monotonic clock: a jump of the wall clock changes nothing."""

import json
import time
from pathlib import Path

from pipeline.artifacts import atomic_write_text

SAVE_EVERY_S = 5.0  # a coordinator killed outright forgets at most this much


class StudyClock:
    """Counts the seconds that a study has run; `minutes` None is no limit."""

    def __init__(self, path: Path, minutes: float | None) -> None:
        self._path = path
        self._limit_s = None if minutes is None else minutes * 60
        self._before_s = _read(path)
        self._start = time.monotonic()
        self._saved = self._start

    @property
    def used_s(self) -> float:
        """Seconds of this and earlier runs."""
        return self._before_s + time.monotonic() - self._start

    @property
    def left_s(self) -> float | None:
        """Seconds left of the budget, 0 when it is used up; None without a limit."""
        return None if self._limit_s is None else max(0.0, self._limit_s - self.used_s)

    def save(self, *, now: bool = False) -> None:
        """Note the seconds used, now or when the last note is old."""
        if now or time.monotonic() - self._saved >= SAVE_EVERY_S:
            self._saved = time.monotonic()
            atomic_write_text(self._path, json.dumps({"used_s": round(self.used_s, 3)}) + "\n")


def _read(path: Path) -> float:
    try:
        return float(json.loads(path.read_text())["used_s"])
    except FileNotFoundError:
        return 0.0
