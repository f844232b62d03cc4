"""Layers of plug-ins: which are refused, how the place of a table is found, and which have an
operation of their own.
"""

from pathlib import Path

import pytest

from cnn_core.errors import InputError
from cnn_core.layer_groups import ACTIVATIONS
from cnn_core.layers import LAYERS, OPERATIONS
from cnn_core.plugins import load
from pipeline.configuration.named_plugins import ALL_KINDS
from tests.pipeline.plugged import fresh, write

HEAD = "from cnn_core.layers import Layer\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("LAYERS = {'a': 1}\n", r"mine\.py:1: LAYERS 'a': must be a subclass of Layer"),
        ("x = 1\nLAYERS: dict = {'a': 1}\n", r"mine\.py:2: LAYERS 'a': must be a subclass of"),
        ("globals()['LAYERS'] = {'a': 1}\n", r"mine\.py: LAYERS 'a': must be a subclass of Layer"),
        (
            HEAD + "class Dense(Layer):\n    kind = 'a'\nLAYERS = {'a': Dense}\n",
            r"mine\.py:2: LAYERS 'a': must have a class name that no other layer has",
        ),
    ],
)
def test_what_is_no_layer_of_its_own_is_refused_with_its_place(
    tmp_path: Path, text: str, says: str
) -> None:
    write(tmp_path, {"mine.py": text})
    with fresh(), pytest.raises(InputError, match=says):
        load(tmp_path / "mine.py", ALL_KINDS)


LIKE_RELU = """
class Rectified(Layer):
    kind = "rectified"

    def at_inference(self):
        return {"op": "relu"}, {}


class Halved(Layer):
    kind = "halved"

    @staticmethod
    def infer(x, op, arrays):
        return x / 2


LAYERS = {"rectified": Rectified, "halved": Halved}
"""


def test_a_layer_adds_an_operation_where_it_computes_and_a_choice_where_it_activates(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"mine.py": HEAD + LIKE_RELU})
    operations, activations = set(OPERATIONS), set(ACTIVATIONS)
    with fresh():
        load(tmp_path / "mine.py", ALL_KINDS)
        assert {"rectified", "halved"} <= set(LAYERS)
        assert set(OPERATIONS) - operations == {"halved"}
        assert set(ACTIVATIONS) == activations
    assert set(OPERATIONS) == operations
