"""Branches of a space: what remains of conditions, and how a large space is covered; and what no
value of a choice may be.
"""

from typing import Any

import pytest

from cnn_core.errors import InputError
from pipeline.search.branches import Condition, left_of
from pipeline.search.parameter import parse_parameter
from pipeline.search.space import Space


def test_of_a_large_space_a_choice_under_others_comes_with_what_it_needs() -> None:
    """Five choices of four words are too many to combine; the last is active under two others."""
    words = ["p", "q", "r", "s"]
    space = Space.parse(
        {
            "a": {"choice": words},
            "b": {"choice": words, "when": {"a": "s"}},
            "c": {"choice": words, "when": {"b": "r"}},
            "d": {"choice": words},
            "leaf": {"choice": [1, 2], "when": {"c": "q"}},
            "other": {"choice": [1, 2], "when": {"d": "q"}},
        }
    )
    found = list(space.branches())
    assert len(found) < 4**4, "not every combination"
    for name in "abcd":
        assert {branch.get(name) for branch in found} - {None} == set(words)
    assert all(branch["a"] == "s" for branch in found if "b" in branch)
    assert all(branch["b"] == "r" for branch in found if "c" in branch)


@pytest.mark.parametrize(
    ("b_needs", "left"),
    [
        ({"c": ("x", "y")}, {"c": ("x",)}),
        ({"c": ("y",)}, None),  # a needs another value of c than b does
        ({"e": ("y",)}, {"c": ("x",), "e": ("y",)}),
    ],
)
def test_what_two_conditions_leave_of_a_third(b_needs: Condition, left: Condition | None) -> None:
    """Both parameters that a condition names are fixed, and active under conditions of their
    own.
    """
    fixed = {"a": (1,), "b": (2,)}
    conditions: dict[str, Condition] = {"a": {"c": ("x",)}, "b": b_needs}
    assert left_of({"a": (1, 5), "b": (2,)}, fixed, conditions) == left


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ([1, {"a": 2}], "space p: choice must hold plain values, got {'a': 2}"),
        ([0.5, float("inf")], "space p: choice must hold finite numbers, got inf"),
        ([float("nan")], "space p: choice must hold finite numbers, got nan"),
    ],
)
def test_a_choice_between_what_no_override_can_say_is_refused(choices: Any, says: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_parameter("p", {"choice": choices})
    assert str(refused.value) == says


def test_a_space_that_is_no_mapping_is_refused() -> None:
    given: Any = ["model.filters"]
    with pytest.raises(InputError) as refused:
        Space.parse(given)
    assert str(refused.value) == (
        "space: must be a mapping of keys to distributions, got ['model.filters']"
    )
