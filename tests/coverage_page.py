"""`python -m tests.coverage_page`: what share of the product's lines and branches the tests ran, by
what `make coverage` or, told by `--slow`, `make coverage-all` has left; with `--write` in
docs/RELIABILITY.md. Exit code 1: less than `--least` of either.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from coverage import Coverage

from benchmarks.document import markdown_table, write_section
from benchmarks.reliability_page import PAGE, PREAMBLE

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / ".coverage"
LOW = 0.85  # files below are named
HEAD = ["room", "lines", "run", "share", "branches", "taken", "share"]


@dataclass(frozen=True)
class Covered:
    """How many lines and branches there are, and how many of them a test ran."""

    lines: int = 0
    run: int = 0
    branches: int = 0
    taken: int = 0

    def __add__(self, other: "Covered") -> "Covered":
        return Covered(
            self.lines + other.lines,
            self.run + other.run,
            self.branches + other.branches,
            self.taken + other.taken,
        )

    @property
    def share(self) -> float:
        """The share of lines and branches together."""
        whole = self.lines + self.branches
        return (self.run + self.taken) / whole if whole else 1.0

    def row(self, name: str) -> list[str]:
        """Return the row of the table."""
        shares = _share(self.run, self.lines), _share(self.taken, self.branches)
        counts = [f"{n:,}" for n in (self.lines, self.run, self.branches, self.taken)]
        return [name, *counts[:2], shares[0], *counts[2:], shares[1]]


def files_of(record: Path) -> dict[str, Covered]:
    """Return what was run of each file. Raises FileNotFoundError where nothing was recorded."""
    if not record.exists():
        raise FileNotFoundError(f"no record of coverage at {record}; make coverage makes one")
    with tempfile.TemporaryDirectory(prefix="coverage-") as folder:
        report = Path(folder) / "coverage.json"
        coverage = Coverage(str(record))
        coverage.load()
        coverage.json_report(outfile=str(report))
        files = json.loads(report.read_text())["files"]
    return {name: _covered(file["summary"]) for name, file in files.items()}


def section(files: dict[str, Covered], day: date, slow: bool = False) -> str:
    """Return the text of the section; `day`: of the record; `slow`: of the slow tests too."""
    rooms: dict[str, Covered] = defaultdict(Covered)
    for name, covered in files.items():
        parts = Path(name).parts
        inner = parts[0] == "pipeline" and len(parts) > 2
        rooms["/".join(parts[:2]) if inner else parts[0]] += covered
    total = sum(files.values(), Covered())
    rows = [rooms[name].row(name) for name in sorted(rooms)]
    low = sorted((each.share, name) for name, each in files.items() if each.share < LOW)
    named = [f"- {name}: {share:.0%}".replace("%", " %") for share, name in low]
    parts_ = [
        f"{_ALL if slow else _QUICK}\n\n{_WORDS} Recorded on {day.isoformat()}.",
        markdown_table(HEAD, [*rows, total.row("together")]),
    ]
    if named:
        parts_ += [f"Files of which less than {LOW:.0%} was run:".replace("%", " %")]
        parts_ += ["\n".join(named)]
    return "\n\n".join(parts_)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.coverage_page", description=__doc__)
    parser.add_argument("--least", type=float, default=0.95, help="share that must have been run")
    parser.add_argument("--slow", action="store_true", help="the slow tests were asked too")
    parser.add_argument("--write", action="store_true", help="renew docs/RELIABILITY.md")
    options = parser.parse_args()
    files = files_of(RECORD)
    day = date.fromtimestamp(RECORD.stat().st_mtime)
    text, total = section(files, day, options.slow), sum(files.values(), Covered())
    print(text)
    if options.write:
        write_section("coverage", "Coverage", text, PAGE, PREAMBLE)
    least = options.least
    return int(total.run < least * total.lines or total.taken < least * total.branches)


def _covered(summary: dict[str, int]) -> Covered:
    keys = ("num_statements", "covered_lines", "num_branches", "covered_branches")
    return Covered(*(summary[key] for key in keys))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


_QUICK = """\
`make coverage` runs the quick tests and records the lines and branches of the product that they
run, in what they start too. Slow tests are not asked, so more is run than is told here."""
_ALL = """\
`make coverage-all` runs the quick tests and the slow ones, and records the lines and branches of
the product that they run, in what they start too."""
_WORDS = """\
A branch is a way out of a condition or a loop. A process that is killed tells nothing. Not counted:
what only type checkers see, and bodies of abstract methods."""


if __name__ == "__main__":
    sys.exit(main())
