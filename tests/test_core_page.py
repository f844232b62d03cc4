"""The page "all of cnn_core" is what the sources say, and every public name has a docstring."""

import pytest

from benchmarks.core_page import COMMAND, PAGE, core_files, equation, page, public, sentence, words
from benchmarks.house import CORE, dotted

FILES = [path for floor in CORE for room in floor for path in core_files(room)]


def test_the_page_is_that_of_the_sources() -> None:
    assert PAGE.read_text() == page(), f"renew it: {COMMAND}"


def test_every_public_function_and_class_has_a_docstring() -> None:
    silent = [
        f"{dotted(path)}.{node.name}" for path in FILES for node in public(path) if not words(node)
    ]
    assert len(FILES) > 60 and not silent


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        (
            "Windows, e.g. of 3.5 pixels. Source: Szegedy et al. (2016).",
            "Windows, e.g. of 3.5 pixels.",
        ),
        ("A rule (see A. Name) holds. More.", "A rule (see A. Name) holds."),
        ("A rule ``f. G`` holds. More.", "A rule ``f. G`` holds."),
        ("Without a stop\nA paragraph. More.", "Without a stop"),
    ],
)
def test_the_first_sentence_ends_where_it_does(text: str, first: str) -> None:
    assert sentence(text) == first


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Step: ``w <- w - lr g``.", "w <- w - lr g"),
        ("Write ``name`` and ``l1 * sum |W|``.", "l1 * sum |W|"),
        ("Has ``train_epoch(spec, state)``.", ""),
    ],
)
def test_equations_are_told_from_names(text: str, found: str) -> None:
    assert equation(text) == found
