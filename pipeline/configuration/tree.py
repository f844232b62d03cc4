"""The whole tree as types: which class a section of the composed configuration is checked against,
and the result, `Config`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cnn_core.errors import InputError
from cnn_core.spec import DataSpec, ModelSpec, RegularizerSpec, Scalar, Spec, TrainSpec
from pipeline.configuration.choices import (
    PRUNERS,
    SAMPLERS,
    PrunerSettings,
    SamplerSettings,
    augment_settings,
    optimizer_settings,
    schedule_settings,
)
from pipeline.configuration.command import Command
from pipeline.configuration.data_settings import DATA, DataSettings
from pipeline.configuration.hydra_tree import groups
from pipeline.configuration.settings import (
    BlasSettings,
    BudgetSettings,
    DeadlineSettings,
    EnsembleSettings,
    FinalSettings,
    ModelSettings,
    RegularizerSettings,
    SlotSettings,
    StudySettings,
    TrackingSettings,
    TrainSettings,
)
from pipeline.files import StudyPaths
from pipeline.redact import redact

# Section -> class, or a function of the section's `name`.
SECTIONS: dict[str, type | Callable[[str], type]] = {
    "study": StudySettings,
    "budget": BudgetSettings,
    "deadline": DeadlineSettings,
    "slots": SlotSettings,
    "blas": BlasSettings,
    "data": DATA.__getitem__,
    "model": ModelSettings,
    "optimizer": optimizer_settings,
    "schedule": schedule_settings,
    "regularizer": RegularizerSettings,
    "augment": lambda _: augment_settings(),
    "train": TrainSettings,
    "sampler": SAMPLERS.__getitem__,
    "pruner": PRUNERS.__getitem__,
    "tracking": TrackingSettings,
    "final": FinalSettings,
    "ensemble": EnsembleSettings,
}
FREE_SECTIONS = ("space",)  # a plain mapping with a parser of its own
ROOT_KEYS = {"root": "outputs"}


def section_type(section: str, name: str | None) -> type:
    """Return the dataclass that the section is checked against. Raises InputError for a name that
    is in no table.
    """
    entry = SECTIONS[section]
    if isinstance(entry, type):
        return entry
    try:
        return entry(name or "")
    except KeyError:
        raise InputError(
            f"{section}.name: must be a name that the program knows, got {name!r} in "
            f"conf/{section}/"
        ) from None


def choices_with(key: str) -> list[str]:
    """Return the choices of a group that have the key, such as csv, npz and text for ``data.file``;
    none where choices share their keys.
    """
    section, _, name = key.partition(".")
    if isinstance(SECTIONS.get(section, object), type):
        return []
    known = groups().get(section, [])
    found = [
        choice
        for choice in known
        if name in {item.name for item in dataclasses.fields(section_type(section, choice))}
    ]
    return found if len(found) < len(known) else []


@dataclass(frozen=True)
class Config:
    """A composed configuration: typed sections, and the node and overrides that they came from."""

    command: str
    overrides: tuple[
        str, ...
    ]  # as given, the command's own keys left out, so that they can be composed again
    node: DictConfig  # unresolved
    root: Path
    study: StudySettings
    budget: BudgetSettings
    deadline: DeadlineSettings
    slots: SlotSettings
    blas: BlasSettings
    data: DataSettings
    model: ModelSettings
    optimizer: Mapping[str, Scalar]
    schedule: Mapping[str, Scalar]
    regularizer: RegularizerSettings
    augment: Mapping[str, Scalar]
    train: TrainSettings
    space: Mapping[str, Any]
    sampler: SamplerSettings
    pruner: PrunerSettings
    tracking: TrackingSettings
    final: FinalSettings
    ensemble: EnsembleSettings
    arguments: Any = None  # the command's own keys, an instance of its dataclass
    choices: Mapping[str, str | None] = field(default_factory=dict)  # group -> chosen file
    quiet: bool = False
    verbose: bool = False

    @cached_property
    def yaml(self) -> str:
        """The tree as YAML, interpolations unresolved and secrets redacted: what may be logged."""
        return redact(OmegaConf.to_yaml(self.node, resolve=False))

    def acting_as(self, command: Command) -> "Config":
        """Return this configuration as another command's, whose own keys have their defaults: what
        one command hands to the next.
        """
        return replace(
            self, command=command.name, arguments=None if command.keys is None else command.keys()
        )

    @property
    def paths(self) -> StudyPaths:
        return StudyPaths(self.root, self.study.name)


def spec_of(config: Config, data: DataSpec, seed: tuple[int, ...]) -> Spec:
    """Return the spec of one net; `data` comes from `pipeline.data.preparation`, its split follows
    ``config.data``.
    """
    split: dict[str, Any] = {
        name: getattr(config.data, name)
        for name in ("valid_fraction", "split_seed", "train_size", "valid_size", "reserve")
    }
    # What a net does not use must not make it another.
    plain = {"frame_beside": False, "frame_jitter": 0.0} if config.model.frame == "none" else {}
    return Spec(
        data=replace(data, **split),
        model=ModelSpec(
            **_fields(ModelSpec, config.model) | {"hidden": tuple(config.model.hidden)} | plain
        ),
        optimizer=dict(config.optimizer),
        schedule=dict(config.schedule),
        regularizer=RegularizerSpec(**_fields(RegularizerSpec, config.regularizer)),
        augment=dict(config.augment),
        train=TrainSpec(**_fields(TrainSpec, config.train)),
        seed=seed,
    )


def _fields(target: type, settings: Any) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in fields(target)}
