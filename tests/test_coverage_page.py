"""What a record of coverage tells: shares by room, and the tests that ran a line."""

import sys
from datetime import date
from pathlib import Path

import pytest
from coverage import Coverage, CoverageData

from tests.coverage_page import Covered, files_of, section
from tests.mutation.mutants import Mutant
from tests.mutation.tests_that_ran import Ran, TestsThatRan

CODE = "def sign(x):\n    if x < 0:\n        return -1\n    return 1\n"


def test_lines_and_branches_are_counted_by_hand(tmp_path: Path) -> None:
    module, record = tmp_path / "signs.py", tmp_path / ".coverage"
    module.write_text(CODE)
    coverage = Coverage(str(record), branch=True, include=[str(module)], config_file=False)
    traced = sys.gettrace()
    coverage.start()
    try:
        space: dict[str, object] = {}
        exec(compile(CODE, str(module), "exec"), space)
        space["sign"](1)  # type: ignore[operator]
    finally:
        coverage.stop()
        sys.settrace(traced)
    coverage.save()
    (covered,) = files_of(record).values()
    assert covered == Covered(lines=4, run=3, branches=2, taken=1)
    assert covered.row("all") == ["all", "4", "3", "75.0 %", "2", "1", "50.0 %"]


def test_a_room_adds_up_its_files_and_what_is_little_run_is_named() -> None:
    text = section(
        {
            "pipeline/search/a.py": Covered(10, 10, 2, 2),
            "pipeline/search/b.py": Covered(8, 4, 0, 0),
            "pipeline/sweep.py": Covered(2, 2, 0, 0),
            "cnn_core/x/y.py": Covered(5, 5, 0, 0),
            "cnn_core/__init__.py": Covered(),
        },
        date(2026, 11, 30),
    )
    assert "Recorded on 2026-11-30." in text and "Slow tests are not asked" in text
    assert "| pipeline/search | 18 | 14 | 77.8 % | 2 | 2 | 100.0 % |" in text
    assert "| pipeline | 2 |" in text and "| cnn_core | 5 |" in text
    assert "| together | 25 | 21 | 84.0 % | 2 | 2 | 100.0 % |" in text
    assert "- pipeline/search/b.py: 50 %" in text and "a.py" not in text and "__init__" not in text


def test_the_page_says_which_tests_were_asked() -> None:
    text = section({"cnn_core/a.py": Covered(10, 10, 2, 2)}, date(2026, 11, 30), slow=True)
    assert "`make coverage-all` runs the quick tests and the slow ones" in text
    assert "not asked" not in text


def test_nothing_recorded_says_what_records(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make coverage"):
        files_of(tmp_path / ".coverage")


def test_the_tests_that_ran_a_line_are_asked_the_quickest_first(tmp_path: Path) -> None:
    record = tmp_path / ".coverage"
    data = CoverageData(str(record))
    ran = {
        "": [1],
        "tests/test_a.py::test_long|run": [1, 3, 4, 7, 8, 9, 10, 11],
        "tests/test_a.py::test_short[a|b]|run": [3],
        "tests/test_a.py::test_short[a|b]|setup": [3, 4],
    }
    for context, lines in ran.items():
        data.set_context(context)
        data.add_lines({"/a/checkout/pipeline/room/file.py": lines, "/a/pipeline/file.py": [30]})
    data.write()
    asked = TestsThatRan(record)
    file = "pipeline/room/file.py"
    short, long = "tests/test_a.py::test_short[a|b]", "tests/test_a.py::test_long"
    assert asked.of(Mutant(file, 0, 3, ())) == Ran([short, long], are_all=True)
    assert asked.of(Mutant(file, 0, 3, ()), most=1) == Ran([short], are_all=False)
    assert asked.of(Mutant(file, 0, 11, ())) == Ran([long], are_all=True)
    assert asked.of(Mutant(file, 0, 1, ())) == Ran([long], are_all=False)  # and an import
    # The statement began a line before.
    assert asked.of(Mutant(file, 0, 5, ())) == Ran([short, long], are_all=False)
    assert asked.of(Mutant(file, 0, 40, ())) == Ran([], are_all=False)
    assert TestsThatRan(tmp_path / "none").of(Mutant(file, 0, 3, ())) == Ran([], are_all=False)
