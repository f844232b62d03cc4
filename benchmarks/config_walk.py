"""Which files a configuration passes through in a sweep: ``python -m benchmarks.config_walk``.

A small sweep with confirmation runs under a profile hook; a file counts where a function with a
parameter that holds the configuration is called in the coordinator, whatever the parameter's name.
"""

import contextlib
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline import sweep
from pipeline.configuration import SWEEP, Config, command_line, override

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = ("experiment=smoke", "budget.trials=3", "study.confirm=1", "tracking=none", "-q")


class Walk:
    """The functions, by file, that were called with the configuration."""

    def __init__(self) -> None:
        self.seen: dict[str, set[str]] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event != "call" or not path.startswith(f"{ROOT}/pipeline/"):
            return
        code = frame.f_code
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(isinstance(frame.f_locals.get(name), Config) for name in names):
            self.seen.setdefault(path.removeprefix(f"{ROOT}/"), set()).add(code.co_name)


def main() -> int:
    walk = Walk()
    threading.setprofile(walk)
    sys.setprofile(walk)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        code = command_line(SWEEP, [*ARGUMENTS, override("root", Path(folder))], sweep.main)
    sys.setprofile(None)
    for path, functions in sorted(walk.seen.items()):
        print(f"{path}: {', '.join(sorted(functions))}")
    print(f"{len(walk.seen)} files")
    return code


if __name__ == "__main__":
    sys.exit(main())
