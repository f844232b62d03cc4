"""A setting's declaration is its check: kinds, limits and words, each refused in one sentence."""

import math
from dataclasses import dataclass, fields
from typing import Any

import pytest

from cnn_core.augmentation import AugmentSpec
from cnn_core.errors import InputError
from cnn_core.field_checks import check_settings, make_named, setting
from cnn_core.initializers import INITIALIZERS
from cnn_core.layer_groups import ACTIVATIONS
from cnn_core.layers import MomentNormalization
from cnn_core.optimizers import OPTIMIZERS
from cnn_core.schedules import SCHEDULES
from cnn_core.spec import DataSpec, ModelSpec, RegularizerSpec, SplitSpec
from cnn_core.train_spec import TrainSpec

SPECS = (SplitSpec, ModelSpec, RegularizerSpec, TrainSpec, AugmentSpec)


@dataclass(frozen=True, kw_only=True)
class Kettle:
    cups: int = setting(2, "water", low=1, high=8)
    heat: float = setting(0.5, "share of full power", above=0, below=1)
    least: float = setting(0.0, "loss", low=0)
    minutes: float | None = setting(None, "time", above=0)
    whistle: bool = setting(True, "whether it whistles")
    tea: str = setting("green", "what is brewed", choices=("green", "black"))
    steps: tuple[int, ...] = setting((), "of the thermostat", low=1)
    teas: list[str] = setting([], "in this order", choices=("green", "black"))
    plain: object = None  # not made by `setting`: not checked

    def __post_init__(self) -> None:
        check_settings("kettle", self)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("cups", 0, "must be from 1 to 8, got 0"),
        ("cups", 9, "must be from 1 to 8, got 9"),
        ("cups", 2.0, "must be a whole number, got 2.0"),
        ("cups", True, "must be a whole number, got True"),
        ("cups", None, "must be a whole number, got None"),
        ("heat", 0, "must be greater than 0 and less than 1, got 0"),
        ("heat", 1.5, "must be greater than 0 and less than 1, got 1.5"),
        ("heat", math.nan, "must be finite, got nan"),
        ("heat", "hot", "must be a number, got 'hot'"),
        ("least", -1e-9, "must be at least 0, got -1e-09"),
        ("least", math.inf, "must be finite, got inf"),
        ("minutes", 0.0, "must be greater than 0, got 0.0"),
        ("minutes", "long", "must be a number or null, got 'long'"),
        ("whistle", 1, "must be true or false, got 1"),
        ("tea", "gren", "must be one of green, black, got 'gren'; did you mean \"green\"?"),
        ("tea", 3, "must be a text, got 3"),
        ("steps", (3, 0), "must be at least 1, got 0"),
        ("steps", 3, "must be a list, such as [1,2], got 3"),
        ("teas", ["black", "oolong"], "must be one of green, black, got 'oolong'"),
    ],
)
def test_a_value_that_may_not_be_is_refused_with_rule_and_key(
    key: str, value: Any, rule: str
) -> None:
    with pytest.raises(InputError) as refused:
        Kettle(**{key: value})
    assert str(refused.value) == f"kettle.{key}: {rule}"


def test_values_at_the_limits_are_taken() -> None:
    Kettle(cups=1, heat=1e-9, least=0, minutes=None, steps=(1,), teas=["black"], plain="anything")
    Kettle(cups=8, heat=1 - 1e-9, minutes=1e9, whistle=False, tea="black", steps=[2, 3])  # type: ignore[arg-type]
    assert Kettle().teas == [] and Kettle().teas is not Kettle().teas


def test_a_named_thing_is_made_by_its_table() -> None:
    assert make_named("pot", {"kettle": Kettle}, {"name": "kettle", "cups": 3}) == Kettle(cups=3)
    for settings, message in (
        ({"name": "pan"}, r"pot\.name: must be one of kettle, got 'pan'"),
        ({"name": ["kettle"]}, r"pot\.name: must be one of kettle, got \['kettle'\]"),
        ({"name": "kettle", "lid": 1}, r"pot\.lid: kettle takes cups, heat, .*, got 'lid'"),
    ):
        with pytest.raises(InputError, match=message):
            make_named("pot", {"kettle": Kettle}, settings)


@pytest.mark.parametrize("kind", [*SPECS, *OPTIMIZERS.values(), *SCHEDULES.values()])
def test_every_setting_of_a_net_has_words(kind: type) -> None:
    for item in fields(kind):
        assert not item.init or item.metadata["about"], f"{kind.__name__}.{item.name}"


def test_words_that_a_model_may_choose_from_are_those_of_the_tables() -> None:
    choices = {item.name: item.metadata["choices"] for item in fields(ModelSpec)}
    assert list(choices["activation"]) == list(ACTIVATIONS)
    assert choices["init"] == tuple(INITIALIZERS)
    assert choices["frame"] == ("none", *MomentNormalization.FRAMES)


def test_hidden_layers_read_from_a_file_are_the_same_net() -> None:
    read: Any = [40, 20]
    assert ModelSpec(hidden=read) == ModelSpec(hidden=(40, 20))
    assert hash(ModelSpec(hidden=read)) == hash(ModelSpec(hidden=(40, 20)))


def test_disturbed_images_and_their_digest_are_given_together() -> None:
    with pytest.raises(InputError, match=r"data\.valid_folder: must be given together with"):
        DataSpec(folder="", digest="", image_shape=(1, 8, 8), classes=10, valid_folder="x")
