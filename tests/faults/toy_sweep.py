"""`python -m tests.faults.toy_sweep ...`: the sweep's own command with a toy epoch, a crash at a
named point, and a log of its own.

PIPELINE_FAULT=<point>[:<n>] kills this process outright when the n-th (first) time comes:
after-ask, after-epoch (saved, not yet reported), before-tell, after-tell, during-export;
before-PAUSED, within-promotion (reopened, no more), after-promotion.
$TOY/told.log gets a line before ("telling") and after ("told") every tell that reaches the study.
All is wrapped from outside: the product holds no test code.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pipeline.configuration import SWEEP, command_line
from pipeline.events import TrialEnded
from pipeline.search import leaderboard, run_sweep, rungs, trial
from pipeline.search.queue import TrialQueue
from pipeline.sweep import main
from pipeline.trial_folder import TrialFolder
from tests.faults import toy

POINT, _, COUNT = os.environ.get("PIPELINE_FAULT", "").partition(":")
_passed = 0


def crash_at(point: str) -> None:
    """End this process without any farewell if it is at the point asked for."""
    global _passed
    if point == POINT:
        _passed += 1
        if _passed == int(COUNT or 1):
            os.kill(os.getpid(), signal.SIGKILL)


def after(owner: type | ModuleType, name: str, point: str) -> None:
    """Crash when the method has returned."""
    original: Callable[..., Any] = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        crash_at(point)
        return result

    setattr(owner, name, wrapped)


def log(line: str) -> None:
    """Append a line that survives this process."""
    with (toy.folder() / "told.log").open("a") as file:
        file.write(line + "\n")


def wrap_tell() -> None:
    original = TrialQueue.tell

    def tell(self: TrialQueue, asked: Any, ended: TrialEnded) -> int | None:
        if ended.state in ("INTERRUPTED", "PAUSED"):
            crash_at(f"before-{ended.state}")
            return original(self, asked, ended)
        crash_at("before-tell")
        log(f"telling {asked.number}")
        result = original(self, asked, ended)
        log(f"told {asked.number} {ended.state} {','.join(map(repr, ended.objective))}")
        crash_at("after-tell")
        return result

    TrialQueue.tell = tell  # type: ignore[method-assign]


def wrap_export() -> None:
    original = leaderboard.atomic_write_text

    def write(path: Any, text: str) -> None:
        original(path, text)
        crash_at("during-export")

    leaderboard.atomic_write_text = write


def install() -> None:
    """Put the toy in the place of training and set the crash points."""
    trial.training.train_epoch = toy.train_epoch
    # A toy epoch takes as long with two steps as with a thousand: there is nothing to measure.
    run_sweep.calibrated = lambda config, *rest, fixed: (config, None)
    after(TrialQueue, "ask", "after-ask")
    after(TrialFolder, "save", "after-epoch")
    after(rungs, "reopen", "within-promotion")
    after(TrialQueue, "promote", "after-promotion")
    wrap_tell()
    wrap_export()
    if jump := os.environ.get(
        "TOY_CLOCK_JUMP_S"
    ):  # the wall clock is wrong by that much from the third look on
        real, looks = time.time, iter([0.0, 0.0])
        time.time = lambda: real() + next(looks, float(jump))


if __name__ == "__main__":
    install()
    sys.exit(command_line(SWEEP, sys.argv[1:], main))
