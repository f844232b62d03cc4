"""One declaration a setting: what cnn_core's specs say is what the command line says."""

import dataclasses
from typing import Any

import pytest

from cnn_core.augmentation import AugmentSpec
from cnn_core.errors import InputError
from cnn_core.field_checks import check_settings
from cnn_core.optimizers import OPTIMIZERS, make_optimizer
from cnn_core.schedules import SCHEDULES, make_schedule
from cnn_core.spec import ModelSpec, RegularizerSpec, SplitSpec
from cnn_core.train_spec import TrainSpec
from pipeline.configuration import compose
from pipeline.configuration.data_settings import DATA
from pipeline.configuration.hydra_tree import groups
from pipeline.configuration.overrides import literal
from pipeline.configuration.tree import SECTIONS, section_type
from pipeline.data.preparation import source_of
from pipeline.data.source import DataSource

KINDS = [
    (section, choice)
    for section, entry in SECTIONS.items()
    for choice in ([""] if isinstance(entry, type) else groups().get(section, [""]))
]


@pytest.mark.parametrize(("section", "choice"), KINDS)
def test_every_key_has_words_and_a_default_within_its_limits(section: str, choice: str) -> None:
    kind = section_type(section, choice)
    check_settings(section, kind())
    for item in dataclasses.fields(kind):
        assert item.name == "name" or item.metadata["about"], f"{section}.{item.name}"


def outside(item: "dataclasses.Field[Any]") -> list[Any]:
    """Return values just outside the limits and words of a field."""
    limits, many = item.metadata["limits"], item.default == ()
    number = float if item.type in (float, float | None) else int
    found: list[Any] = [number(limits["low"] - 1)] if "low" in limits else []
    found += [number(limits["high"] + 1)] if "high" in limits else []
    found += [number(limits[name]) for name in ("above", "below") if name in limits]
    found += [float("nan")] if number is float and limits else []
    found += ["rubbish"] if item.metadata["choices"] else []
    return [[value] for value in found] if many else found


MADE: list[tuple[str, str, type, Any]] = [
    ("data", "digits", SplitSpec, SplitSpec),
    ("model", "contest", ModelSpec, ModelSpec),
    ("regularizer", "none", RegularizerSpec, RegularizerSpec),
    ("augment", "none", AugmentSpec, AugmentSpec),
    ("train", "default", TrainSpec, TrainSpec),
    *(
        ("optimizer", name, kind, lambda name=name, **given: make_optimizer({"name": name} | given))
        for name, kind in OPTIMIZERS.items()
    ),
    *(
        ("schedule", name, kind, lambda name=name, **given: make_schedule({"name": name} | given))
        for name, kind in SCHEDULES.items()
    ),
]
CASES = [
    (section, choice, make, item.name, value)
    for section, choice, kind, make in MADE
    for item in dataclasses.fields(kind)
    if item.init
    for value in outside(item)
]


@pytest.mark.parametrize(
    ("section", "choice", "make", "key", "value"),
    CASES,
    ids=[f"{section}={choice} {key}={value}" for section, choice, _, key, value in CASES],
)
def test_spec_and_command_line_refuse_a_value_with_the_same_sentence(
    section: str, choice: str, make: Any, key: str, value: Any
) -> None:
    with pytest.raises(InputError) as by_spec:
        make(**{key: value})
    with pytest.raises(InputError) as by_command_line:
        written = str(value) if isinstance(value, list) else literal(value)
        compose([f"{section}={choice}", f"{section}.{key}={written}"])
    assert str(by_spec.value) == str(by_command_line.value)
    assert str(by_spec.value).startswith(f"{section}.{key}: must be ")


def test_limits_are_there_to_be_tested() -> None:
    assert len(CASES) > 150 and {case[0] for case in CASES} == {case[0] for case in MADE}


@pytest.mark.parametrize("name", DATA)
def test_every_data_source_is_found_by_its_settings(name: str) -> None:
    source = source_of(compose([f"data={name}"]).data)
    assert isinstance(source, DataSource)
    assert set(source.options) <= {item.name for item in dataclasses.fields(DATA[name])}
