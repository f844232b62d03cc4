"""How well time budgets are kept: ``python -m benchmarks.budgets [--quick] [--sweeps ...]``.

Whole sweeps from data to bundle with ``budget.minutes`` and ``final.minutes``, on the machine as it
is, beside a neighbour that keeps every core busy with matrix products, and beside one that comes
halfway. The error is what the whole command took beyond both budgets together; it must be within
2 % of them or 10 s, and there must be a bundle. With ``--write`` the table becomes a section of
docs/RELIABILITY.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT
from threading import Thread

from benchmarks.document import command_of, markdown_table, write_section
from benchmarks.environment import machine, measured_environment
from benchmarks.reliability_page import PAGE, PREAMBLE
from benchmarks.reliability_parts.case import filled
from pipeline.search.study_clock import WITHIN, WITHIN_S

SHOWN = 60  # lines of what a sweep printed that did not hold its budgets
NEIGHBOURS = ("none", "always", "halfway")
BUSY = (
    "import numpy as np\na = np.ones((512, 512), np.float32)\nwhile True:\n    a = a @ a * 1e-3\n"
)


@dataclass(frozen=True)
class Budgeted:
    """A sweep with its budgets of minutes."""

    name: str
    search: float
    final: float
    overrides: tuple[str, ...]

    def command(self, root: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "pipeline.sweep"),
            *self.overrides,
            *(f"root={root}", "study.name=budgeted", "final.after_sweep=true"),
            *(f"budget.minutes={self.search}", f"final.minutes={self.final}"),
        ]


def sweeps(*, quick: bool) -> list[Budgeted]:
    """Return the three sweeps; with `quick`, the digits alone for half a minute and half a
    minute.
    """
    digits = ("data=digits", "budget.trials=null", "final.epochs=2000", "final.members=2")
    if quick:
        return [Budgeted("digits", 0.5, 0.5, digits)]
    mnist = ("experiment=mnist", "final.epochs=100", "final.members=2", "final.refit=1")
    contest = ("experiment=contest_quick", "data=mnist")
    return [
        Budgeted("digits", 2.0, 2.0, digits),
        Budgeted("mnist", 4.0, 4.0, (*mnist, "final.fold_share=0.34", "final.folds=2")),
        Budgeted("contest_quick", 3.5, 9.0, contest),
    ]


def measure(sweep: Budgeted, neighbour: str) -> dict[str, str]:
    """Run a sweep beside a neighbour; return a row of the table."""
    whole_s = 60 * (sweep.search + sweep.final)
    environment = measured_environment(1)
    with tempfile.TemporaryDirectory(prefix="budgets-") as name:
        root = Path(name)
        began = time.monotonic()
        running = subprocess.Popen(
            sweep.command(root), stdout=PIPE, stderr=STDOUT, env=environment, text=True
        )
        said: list[str] = []
        reading = Thread(target=_stamped, args=(running, began, said))
        reading.start()
        busy = _busy() if neighbour == "always" else []
        try:
            while running.poll() is None:
                time.sleep(0.1)
                if neighbour == "halfway" and not busy:
                    busy = _busy() if time.monotonic() - began > whole_s / 2 else []
        finally:
            running.kill()
            for one in busy:
                one.kill()
        took_s = time.monotonic() - began
        reading.join()
        bundle = (root / "budgeted" / "bundle" / "manifest.json").exists()
    error_s = took_s - whole_s
    held = bundle and abs(error_s) <= max(WITHIN_S, WITHIN * whole_s)
    if not held:
        print("".join(said[-SHOWN:]), file=sys.stderr, flush=True)
    return {
        "sweep": sweep.name,
        "neighbour": neighbour,
        "budgets, min": f"{sweep.search:g} + {sweep.final:g}",
        "took, s": f"{took_s:.0f}",
        "error, s": f"{error_s:+.1f}",
        "error": f"{error_s / whole_s:+.1%}",
        "bundle": "yes" if bundle else "no",
        "held": "yes" if held else "NO",
    }


def _stamped(running: subprocess.Popen[str], began: float, said: list[str]) -> None:
    """Collect the lines that a command prints, each with its second."""
    assert running.stdout is not None
    said.extend(f"{time.monotonic() - began:7.1f} {line}" for line in running.stdout)


def _busy() -> list[subprocess.Popen[bytes]]:
    """Start a process of matrix products for each core."""
    environment = measured_environment(1)
    return [
        subprocess.Popen([sys.executable, "-c", BUSY], env=environment)
        for _ in range(os.cpu_count() or 1)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budgets", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the digits alone, for a minute")
    names = [sweep.name for sweep in sweeps(quick=False)]
    parser.add_argument("--sweeps", nargs="+", choices=names, help="all unless given")
    parser.add_argument("--neighbours", nargs="+", default=list(NEIGHBOURS), choices=NEIGHBOURS)
    parser.add_argument("--write", action="store_true", help="write docs/RELIABILITY.md")
    options = parser.parse_args(argv)
    if options.quick and options.sweeps not in (None, ["digits"]):
        parser.error("--quick: runs the digits alone, which --sweeps leaves out")
    print(machine())
    rows: list[dict[str, str]] = []
    for sweep in sweeps(quick=options.quick):
        for neighbour in options.neighbours:
            if options.sweeps is None or sweep.name in options.sweeps:
                rows.append(measure(sweep, neighbour))
                if len(rows) == 1:
                    print("| " + " | ".join(rows[0]) + " |\n" + "| --- " * len(rows[0]) + "|")
                print("| " + " | ".join(rows[-1].values()) + " |", flush=True)
    if options.write:
        command = command_of("benchmarks.budgets", sys.argv[1:] if argv is None else argv)
        write_section("budgets", "Time budgets", section(rows, command), PAGE, PREAMBLE)
    return 0 if all(row["held"] == "yes" for row in rows) else 1


def section(rows: Sequence[dict[str, str]], command: str) -> str:
    """Return the text of the section."""
    about = (
        "Whole sweeps, data to bundle: `budget.minutes` for the search, `final.minutes` for the "
        "nets and all that follows; *neighbour*: a process on each core that does nothing "
        "but matrix products, all the time or from halfway on. The error is what the whole command "
        f"took beyond both; held: within {WITHIN:.0%} or {WITHIN_S:.0f} s, with a bundle."
    )
    table = markdown_table([*rows[0]], [[*row.values()] for row in rows])
    return "\n\n".join([filled(f"`{command}`: {machine()}."), filled(about), table])


if __name__ == "__main__":
    sys.exit(main())
