"""Records are read from JSON with every field checked, and written as they were."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from pipeline.records.ensemble_record import Ensemble
from pipeline.records.manifest import BundleError, Combine, manifest_digest
from pipeline.records.manifest_reading import read_manifest
from pipeline.records.typed_json import RecordError, plain, read_record


@dataclass(frozen=True, kw_only=True)
class Leaf:
    name: str
    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Tree:
    count: int
    leaves: tuple[Leaf, ...]
    place: tuple[int, int] | None = None
    notes: Mapping[str, float]


WHOLE: dict[str, Any] = {
    "count": 2,
    "leaves": [{"name": "a", "share": 1}],
    "place": [3, 4],
    "notes": {"x": 0.1},
}


def test_what_is_written_is_what_was_read() -> None:
    tree = read_record(Tree, WHOLE)
    assert tree == Tree(count=2, leaves=(Leaf(name="a", share=1),), place=(3, 4), notes={"x": 0.1})
    assert json.dumps(plain(tree)) == json.dumps(WHOLE)
    assert "place" not in plain(read_record(Tree, {**WHOLE, "place": None}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leaves": [{"share": 1}]}, r"got none of leaves\[0\]\.name"),
        ({"leaves": {}}, "got leaves = dict, must be a list"),
        ({"place": [1]}, "got place = list, must be a list of 2"),
        ({"count": 1.5}, "got count = 1.5, must be a whole number"),
        ({"count": True}, "got count = True, must be a whole number"),
        ({"notes": {"x": "y"}}, r"got notes\.x = 'y', must be a number"),
        ({"notes": []}, "got notes = list, must be an object"),
    ],
)
def test_a_field_that_is_missing_or_of_another_type_is_named(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        read_record(Tree, {**WHOLE, **change})


def test_a_manifest_says_rule_value_and_place() -> None:
    content: dict[str, Any] = {"format": 1, "study": "s", "classes": "ten"}
    content["digest"] = manifest_digest(content)
    with pytest.raises(
        BundleError, match=r"must be complete, got none of image_shape, .*, data in here/m\.json"
    ):
        read_manifest(json.dumps(content).encode(), "here/m.json")


def test_a_mean_needs_weights_and_stacking_coefficients() -> None:
    with pytest.raises(RecordError, match="none of weights, temperature for the method greedy"):
        Combine(method="greedy")
    with pytest.raises(RecordError, match="none of intercepts for the method stacking"):
        Combine(method="stacking", coefficients=())


SCORES = {"accuracy": 0.5, "log_loss": 1.0, "best_member": 0, "best_member_accuracy": 0.5}
SCORES |= {"gain": dict.fromkeys(("gain", "low", "high", "errors_removed"), 0.0)}
SCORES["gain"] |= dict.fromkeys(("errors_best", "errors_ensemble"), 0)  # type: ignore[operator]
MEMBER = {"name": "m", "temperature": 1.0, "overrides": [], "model": {}, "specs": []}
ENSEMBLE: dict[str, Any] = {
    "chosen_on": "clean",
    "views": [],
    "members": [MEMBER | {"clean_accuracy": 0.5}],
    "combine": {"method": "uniform", "weights": [1.0], "temperature": 1.0},
    "images": 3,
    "out_of_fold": {"clean": SCORES},
    "expected": {},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen_on": "x"}, r"got chosen_on = 'x', must be a set of out_of_fold \(clean\)"),
        ({"members": ENSEMBLE["members"] * 9}, "got 1 combine.weights, must be 9, one a member"),
        (
            {"out_of_fold": {"clean": SCORES, "proxy": SCORES}},
            "got none of a member's proxy_accuracy, out_of_fold has proxy",
        ),
    ],
)
def test_an_ensemble_refers_to_what_it_has(change: dict[str, Any], message: str) -> None:
    read_record(Ensemble, ENSEMBLE)
    with pytest.raises(RecordError, match=message):
        read_record(Ensemble, ENSEMBLE | change)
