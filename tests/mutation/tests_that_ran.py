"""Which tests ran a line, by what `make coverage` has left: they are asked before those that only
look near, and alone where the record knows every run of the line.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from coverage import CoverageData

from tests.mutation.mutants import Mutant

MOST_TESTS = 40
AROUND = 8  # lines: of a statement over several the first is known, of a `def` those inside
UNKNOWN = ""  # of a line that ran outside of any test: in an import, or in a process of its own


class Ran(NamedTuple):
    """Tests that ran a line, and whether no other test can have run it."""

    tests: list[str]
    are_all: bool


class TestsThatRan:
    """What a record of coverage tells; nothing where there is none."""

    __test__ = False  # a name for readers, not for pytest

    def __init__(self, record: Path) -> None:
        self._data = CoverageData(str(record))
        if record.exists():
            self._data.read()
        self._files = sorted(self._data.measured_files())
        self._sizes: Counter[str] = Counter()
        for file in self._files:
            for tests in self._data.contexts_by_lineno(file).values():
                self._sizes.update(tests)

    def of(self, mutant: Mutant, most: int = MOST_TESTS) -> Ran:
        """Return tests that ran the mutant's line, or one close to it; first those that ran little
        else, which are quick.
        """
        lines = self._lines(mutant.file)
        for away in range(AROUND + 1):
            found = {*lines.get(mutant.line - away, ()), *lines.get(mutant.line + away, ())}
            if near := found - {UNKNOWN}:
                ranked = sorted(near, key=lambda test: (self._sizes[test], test))
                tests = list(dict.fromkeys(test.rpartition("|")[0] for test in ranked))
                known = away == 0 and UNKNOWN not in found
                return Ran(tests[:most], known and len(tests) <= most)
        return Ran([], False)

    def _lines(self, file: str) -> dict[int, list[str]]:
        measured = next((each for each in self._files if Path(each).match(file)), None)
        return self._data.contexts_by_lineno(measured) if measured else {}
