"""The clock of a time budget, across all runs of a study or of its final training."""

import json
import math
import time
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.files import atomic_write_text
from pipeline.structured_text import read_json

SAVE_EVERY_S = 5.0  # a killed coordinator loses at most this much
# A budget is kept to within so many seconds, or this share of it if that is more.
WITHIN_S, WITHIN = 10.0, 0.02


class StudyClock:
    """Counts the seconds that a study has run; no limit if `minutes` is None."""

    def __init__(self, path: Path, minutes: float | None) -> None:
        self._path = path
        self._limit_s = None if minutes is None else minutes * 60
        self._before_s = _read(path)
        self._start = time.monotonic()
        self._saved = self._start

    @property
    def used_s(self) -> float:
        """Seconds used by this and earlier runs."""
        return self._before_s + time.monotonic() - self._start

    @property
    def left_s(self) -> float | None:
        """Seconds left of the budget, 0 when it is used up; None without a limit."""
        return None if self._limit_s is None else max(0.0, self._limit_s - self.used_s)

    def cut_s(self) -> float | None:
        """Return the seconds until an epoch in flight is cut off: half of what a budget may be
        exceeded by after its end. None without a limit.
        """
        if self._limit_s is None:
            return None
        return self._limit_s + max(WITHIN_S, WITHIN * self._limit_s) / 2 - self.used_s

    def save(self, *, now: bool = False) -> None:
        """Save the seconds used, if `now` or the last save is SAVE_EVERY_S old."""
        if now or time.monotonic() - self._saved >= SAVE_EVERY_S:
            self._saved = time.monotonic()
            atomic_write_text(self._path, json.dumps({"used_s": round(self.used_s, 3)}) + "\n")


def _read(path: Path) -> float:
    try:
        used = float(read_json(path)["used_s"])
    except FileNotFoundError:
        return 0.0
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        used, found = math.nan, f"{type(error).__name__}: {error}"
    else:
        found = f"{used:g}"
    if not 0 <= used < math.inf:
        raise InputError(
            f"the clock of a time budget must hold the seconds used, got {found} ({path}); remove "
            "it to count anew"
        )
    return used
