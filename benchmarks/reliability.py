"""What large studies, long runs and many openings cost, and whether anything grows or is lost:
``python -m benchmarks.reliability [--cases ...] [--scale 0.01] [--write]``.

Each case runs the product's own commands, each in a process of its own, watched from outside. With
``--write`` the cases that ran replace their sections of docs/RELIABILITY.md. The exit code is 1
where something does not hold.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.document import command_of, write_section
from benchmarks.environment import machine, restart_unpinned
from benchmarks.reliability_page import PAGE, PREAMBLE
from benchmarks.reliability_parts import CASES
from benchmarks.reliability_parts.case import Trial, section
from benchmarks.reliability_parts.meter import metered


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes")
    parser.add_argument("--write", action="store_true", help="write docs/RELIABILITY.md")
    options = parser.parse_args(argv)
    restart_unpinned("benchmarks.reliability", 1)
    command, wrong = command_of("benchmarks.reliability", sys.argv[1:] if argv is None else argv), 0
    for name in options.cases:
        with tempfile.TemporaryDirectory(prefix=f"reliability-{name}-") as folder:
            trial = Trial(Path(folder), options.scale, metered)
            CASES[name].measure(trial)
        text = section(CASES[name], trial, heading(command, options.scale))
        print(f"{text}\n", flush=True)
        wrong += len(trial.wrong)
        if options.write:
            write_section(f"load {name}", CASES[name].title, text, PAGE, PREAMBLE)
    return 1 if wrong else 0


def heading(command: str, scale: float) -> str:
    """Return what a section begins with: command, machine, load, and which part was run."""
    load, cores = os.getloadavg()[2], os.cpu_count() or 1
    shared = f"; load {load:.1f} on {cores} cores, so seconds are longer" if load > cores else ""
    part = "" if scale == 1 else f" Run at {scale:g} of the full size."
    return f"`{command}`: {machine()}{shared}.{part}"


if __name__ == "__main__":
    sys.exit(main())
