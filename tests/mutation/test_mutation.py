"""A few mutants of the product are noticed, and so is a test that would notice none."""

from pathlib import Path

import pytest

from tests.mutation.__main__ import ROOMS, ROOT, all_mutants, try_room
from tests.mutation.chosen_tests import Nearness
from tests.mutation.mutants import Mutant, changed_lines, mutants
from tests.mutation.mutated_checkout import KILLED, SURVIVED, TIMED_OUT, Checkout, Verdict
from tests.mutation.mutation_page import RoomScore, add, section, survivors

TOY = '''"""A module with words."""

import os
from dataclasses import dataclass

from cnn_core.field_checks import setting


@dataclass(frozen=True)
class Size:
    """A size."""

    width: int = setting(4, "how wide", low=1)


def area(width: int, height: int = 1) -> int:
    if width < 0:
        raise ValueError("a width of " + str(width))
    print("computing", width)
    return width * height


def doubled(number: int) -> int:
    return number * 2


def left(number: int) -> int:
    while number > 0:
        number -= 1
    return number
'''
TESTS = """
import pytest
from toy.shapes import area, doubled, left

def test_area() -> None:
    assert area(3, 4) == 12 and area(0) == 0 and area(5) == 5

def test_nothing() -> None:
    doubled(2)

def test_left() -> None:
    assert left(1) == 0

@pytest.mark.slow
def test_doubled() -> None:
    assert doubled(2) == 4
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A checkout of one module, of which one function is tested, and one is but called."""
    root = tmp_path / "toy_checkout"
    (root / "toy").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "toy" / "shapes.py").write_text(TOY)
    (root / "tests" / "test_shapes.py").write_text(TESTS)
    (root / "tests" / "test_other.py").write_text("def test_other() -> None:\n    assert False\n")
    (root / "pytest.ini").write_text(
        "[pytest]\naddopts=-q --import-mode=importlib\npythonpath=.\nmarkers=slow: slow\n"
    )
    return root


def changes(root: Path) -> list[tuple[str, str]]:
    texts = [each.text(root) for each in mutants(root, "toy/shapes.py")]
    return [changed_lines(TOY, text)[1:] for text in texts if text is not None]


def test_words_types_and_errors_are_no_mutants_and_all_else_is(toy: Path) -> None:
    found = changes(toy)
    before = {old for old, _ in found}
    assert before == {
        'width: int = setting(4, "how wide", low=1)',
        "def area(width: int, height: int = 1) -> int:",
        "if width < 0:",
        "return width * height",
        "return number * 2",
        "while number > 0:",
        "number -= 1",
    }
    settings = [new for old, new in found if "setting" in old]
    assert 'width: int = setting(4, "how wide", low=2)' in settings
    assert 'width: int = setting(5, "how wide", low=1)' in settings
    assert not [new for new in settings if "XX" in new or "HOW" in new or "4, None" in new]
    assert {new for old, new in found if "<" in old} == {"if width <= 0:", "if width < 1:"}


def test_the_tests_that_name_the_function_come_first() -> None:
    nearness = Nearness(ROOT)
    mutant = next(
        each for each in mutants(ROOT, "cnn_core/losses.py") if each.inside == ("balanced_weights",)
    )
    chosen = nearness.tests_of(mutant)
    assert chosen[0] == "tests/core/test_losses.py" and len(chosen) == 8


def test_the_record_keeps_reasons_and_drops_what_is_noticed(tmp_path: Path) -> None:
    def verdict(before: str, outcome: str) -> Verdict:
        return Verdict("a.py", 3, before, "x | y", outcome, "")

    first = [verdict("one", SURVIVED), verdict("two", SURVIVED), verdict("three", TIMED_OUT)]
    add(RoomScore.of("a", 9, first, "3", 1), first, tmp_path)
    assert [(each.before, each.reason) for each in survivors(tmp_path)] == [
        ("one", ""),
        ("two", ""),
    ]
    text = (tmp_path / "survivors.csv").read_text()
    (tmp_path / "survivors.csv").write_text(text.replace("one,x | y,", "one,x | y,equivalent: so"))
    second = [verdict("two", KILLED), verdict("one", SURVIVED)]
    add(RoomScore.of("a", 9, second, "2", 2), second, tmp_path)
    page = section(tmp_path)
    assert "| a | 9 | 2 | 1 | 0 | 1 | 50 % |" in page and "--sample 2 --seed 2" in page
    assert "| a.py | `one` | `x \\| y` | equivalent: so |" in page and "`two`" not in page


def test_every_file_that_is_mutated_has_tests() -> None:
    nearness = Nearness(ROOT)
    files = [
        path.relative_to(ROOT)
        for place in ROOMS.values()
        for path in ((ROOT / place).rglob("*.py") if (ROOT / place).is_dir() else [ROOT / place])
    ]
    alone = [path for path in files if not nearness.tests_of(Mutant(str(path), 0, 1, ()))]
    assert len(files) > 200 and alone == []


@pytest.mark.slow
def test_a_survivor_and_an_endless_loop_are_told(toy: Path, tmp_path: Path) -> None:
    checkout = Checkout(toy, tmp_path / "work", test_s=3, run_s=30)
    tests = ["tests/test_other.py", "tests/test_shapes.py"]  # the first fails without any mutant
    outcomes = {}
    for each in mutants(toy, "toy/shapes.py"):
        text = each.text(toy)
        assert text is not None
        _, before, after = changed_lines(TOY, text)
        if after in ("return width / height", "return number * 3", "number += 1"):
            verdict = checkout.judge(each, [tests[:1], tests[1:]])
            assert verdict is not None and (verdict.before, verdict.after) == (before, after)
            outcomes[after] = (verdict.outcome, verdict.test)
    assert outcomes == {
        "return width / height": (KILLED, "tests/test_shapes.py::test_area"),
        "return number * 3": (SURVIVED, ""),
        "number += 1": (TIMED_OUT, "tests/test_shapes.py::test_left"),
    }
    assert checkout.unsound == ["tests/test_other.py::test_other"]
    assert (checkout.root / "toy" / "shapes.py").read_text() == TOY


@pytest.mark.slow
def test_slow_tests_are_asked_about_survivors_where_wanted(toy: Path, tmp_path: Path) -> None:
    tripled = next(
        each
        for each in mutants(toy, "toy/shapes.py")
        if "return number * 3" in (each.text(toy) or "")
    )
    outcomes = []
    for slow in (False, True):
        checkout = Checkout(toy, tmp_path / str(slow), test_s=3, run_s=30, slow=slow)
        verdict = checkout.judge(tripled, [["tests/test_shapes.py"]])
        assert verdict is not None
        outcomes.append((verdict.outcome, verdict.test))
    assert outcomes == [(SURVIVED, ""), (KILLED, "tests/test_shapes.py::test_doubled")]


@pytest.mark.slow
def test_a_sample_of_the_product_is_noticed(tmp_path: Path) -> None:
    checkout = Checkout(ROOT, tmp_path / "work")
    verdicts = [
        verdict
        for place in ("cnn_core/losses.py", "cnn_core/schedules.py")
        for verdict in try_room(checkout, all_mutants(ROOT, place), place, 1, seed=2)
    ]
    assert [verdict.outcome for verdict in verdicts] == [KILLED] * 2
    assert checkout.unsound == []
