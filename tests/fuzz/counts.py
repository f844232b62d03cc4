"""How often each target was called: a line of the table, the record in executions.csv, and the
section of docs/RELIABILITY.md that is made from it.
"""

import csv
import re
import subprocess
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

RECORD = Path(__file__).with_name("executions.csv")
HEADER = ("date", "target", "engine", "executions", "coverage", "features", "findings", "commit")


@dataclass(frozen=True)
class Count:
    """What fuzzing one target came to; coverage and features as libFuzzer counts them, 0 without
    it.
    """

    target: str
    executions: int
    coverage: int
    features: int
    findings: int

    def line(self) -> str:
        return (
            f"{self.target:22} {self.executions:>10,} executions {self.coverage:>6,} edges "
            f"{self.features:>6,} features {self.findings:>3} findings"
        )


def coverage_in(log: str) -> tuple[int, int]:
    """Return the edges and features that libFuzzer's last line tells, 0 and 0 where there is
    none.
    """
    found = re.findall(r"cov: (\d+) ft: (\d+)", log)
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)


def rows(record: Path = RECORD) -> list[dict[str, str]]:
    """Return the rows of the record."""
    if not record.exists():
        return []
    with record.open(newline="") as file:
        return list(csv.DictReader(file))


def add(count: Count, engine: str, record: Path = RECORD) -> None:
    """Add a count to the record: those of a day, a target and a commit are one row."""
    known = rows(record)
    key = {"date": date.today().isoformat(), "target": count.target, "engine": engine}
    key["commit"] = commit()
    row = next((row for row in known if key.items() <= row.items()), None)
    if row is None:
        known.append(row := {**key, "executions": "0"})
    row["executions"] = str(int(row["executions"]) + count.executions)
    row["coverage"], row["features"] = str(count.coverage), str(count.features)
    row["findings"] = str(count.findings)
    with record.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(known)


@cache
def commit() -> str:
    """Return the commit at hand, "" where there is none."""
    git = ["git", "-C", str(RECORD.parent), "rev-parse", "--short=7", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def section(record: Path = RECORD) -> str:
    """Return the text of the section: a row a target, all runs together."""
    from benchmarks.document import markdown_table

    known = rows(record)
    targets = sorted({row["target"] for row in known})
    table, total = [], 0
    for target in targets:
        mine = [row for row in known if row["target"] == target]
        executions = sum(int(row["executions"]) for row in mine)
        total += executions
        most = [str(max(int(row[name]) for row in mine)) for name in ("coverage", "features")]
        table.append((target, f"{executions:,}", *most, mine[-1]["findings"]))
    days = sorted({row["date"] for row in known})
    words = (
        f"{total:,} executions of {len(targets)} targets from {days[0]} to {days[-1]}"
        if known
        else "No run yet"
    )
    header = ("target", "executions", "edges", "features", "findings in the last run")
    return f"{_WORDS}\n{words}.\n\n{markdown_table(header, table)}"


_WORDS = """\
`make fuzz MINUTES=10` gives every reader bytes that nobody meant, and looks for code that they have
not reached yet, by atheris (libFuzzer for Python). The extra `test` brings it where it has wheels,
Linux on x86-64 with Python 3.11 to 3.13; elsewhere it would need a compiler, so the command mutates
the corpus alone, and says so. A finding is any exception but the documented ones, more than 500 MB
of memory, more than 5 s of processor time for one input, or the death of the process. Checksums and
digests are made right behind each mutation. What was found is mended, and its smallest input is in
`tests/fuzz/corpus`, which `make test` replays. `python -m tests.fuzz --minutes 0 --write` makes
this section of `tests/fuzz/executions.csv`.
"""


def write(record: Path = RECORD) -> None:
    """Renew the section "Fuzzing" of docs/RELIABILITY.md."""
    from benchmarks.document import write_section
    from benchmarks.reliability_page import PAGE, PREAMBLE

    write_section("fuzzing", "Fuzzing", section(record), PAGE, PREAMBLE)
