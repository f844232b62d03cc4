"""The clock of a time budget, across all runs of a study or of its final training."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.files import atomic_write_text
from pipeline.structured_text import read_json

SAVE_EVERY_S = 5.0  # a killed coordinator loses at most this much
# A budget is kept to within so many seconds, or this share of it if that is more.
WITHIN_S, WITHIN = 10.0, 0.02
MOST_FOLLOWING = 0.25  # of a budget, what is kept for what follows the last trial
KEPT_BACK = 0.2  # of what a budget may be exceeded by, for the end of the process


class StudyClock:
    """Counts the seconds that a study has run, since `began` by the monotonic clock; no limit if
    `minutes` is None. `following` tells how many seconds of the limit are needed for what follows
    the last trial.
    """

    def __init__(self, path: Path, minutes: float | None, began: float | None = None) -> None:
        self._path = path
        self._limit_s = None if minutes is None else minutes * 60
        self._before_s = _read(path)
        self._saved = time.monotonic()
        self._start = self._saved if began is None else began
        self.following: Callable[[], float] = lambda: 0.0

    @property
    def used_s(self) -> float:
        """Seconds used by this and earlier runs."""
        return self._before_s + time.monotonic() - self._start

    @property
    def left_s(self) -> float | None:
        """Seconds left of the budget for training, 0 when it is used up; None without a limit."""
        before_end_s = self._until(0.0)
        return None if before_end_s is None else max(0.0, before_end_s)

    def cut_s(self) -> float | None:
        """Return the seconds until an epoch in flight is cut off: half of what a budget may be
        exceeded by after its end. None without a limit.
        """
        return self._until(0.5)

    def _until(self, beyond: float) -> float | None:
        """Return the seconds left for training and that share of what may be exceeded."""
        if self._limit_s is None:
            return None
        kept_s = min(self.following(), MOST_FOLLOWING * self._limit_s)
        return self._limit_s - kept_s + beyond * self._more_s() - self.used_s

    def end_s(self) -> float | None:
        """Return the seconds until nothing may be waited for any more, at least one. None without
        a limit, or where it was used up when this run began, which only ends what another left.
        """
        if self._limit_s is None or self._before_s >= self._limit_s:
            return None
        return max(1.0, self._limit_s + (1 - KEPT_BACK) * self._more_s() - self.used_s)

    def _more_s(self) -> float:
        """Return by how much the budget may be exceeded."""
        return max(WITHIN_S, WITHIN * (self._limit_s or 0.0))

    def use_up(self) -> None:
        """Count all of the budget as used: what was kept of it is no time for more trials."""
        if self._limit_s is not None:
            self._before_s += max(0.0, self._limit_s - self.used_s)
            self.save(now=True)

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
