"""The section "Faults at every write" of docs/RELIABILITY.md: a row for each command, replaced when
that command is walked again.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.document import markdown_table, write_section
from benchmarks.reliability_page import PAGE, PREAMBLE

NAME = "every_write"
HEADER = [
    *("command", "operations", "failed", "cases"),
    *("ended well", "problems", "walked by"),
]
BODY = """Each command below was run again and again, each time with another one of its file
operations failing: opening for writing, writing, fsync, renaming, removing, making a folder,
mapping, of Python, SQLite and NumPy alike, in the coordinator and in what it starts. The kernel
passes them to the tests first (seccomp), so the product holds no test code.

How an operation fails: *once*, with an input/output error; *full*, from it on there is no space,
and the first write is done by half; *gone*, from it on nothing works; *killed*, the process dies in
its place. After each case: exit code 0 only where the result is the whole one; else one line on
stderr with cause and file, no traceback; no partial file under a final name, and nothing under a
temporary one where it could be removed; every acknowledged trial is stored. Then the same command,
undisturbed, ends with the same trials and files as a run without faults, to the bit.

`python -m tests.faults.every_write --write` fails every operation of every command in all four
ways; *walked by*: the words that made a row, which the next walk over that command replaces.

{table}

Workers write nothing (a test counts). *Failed*: how many of the operations; *ended well*: exit code
0 with the whole result, since what failed was not needed, such as a folder that was there already.
"""


def write(rows: Sequence[Sequence[str]], page: Path | None = None) -> None:
    """Write the rows into the section, beside those of other commands."""
    page = page or PAGE
    known = {row[0]: row for row in [*_rows(page), *rows]}
    body = BODY.format(table=markdown_table(HEADER, list(known.values())))
    write_section(NAME, "Faults at every write", body, page, PREAMBLE)


def _rows(page: Path) -> list[list[str]]:
    text = page.read_text() if page.exists() else ""
    section = re.search(f"<!-- begin {NAME} -->(.*)<!-- end {NAME} -->", text, re.DOTALL)
    lines = section.group(1).splitlines() if section else []
    table = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return [row for row in table if row != HEADER and not row[0].startswith("---")]
