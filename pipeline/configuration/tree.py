"""The whole tree as types: what a command is, which class a section of the composed configuration
is checked against, and the result, `Config`.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from cnn_core.augmentation import AugmentSpec, augment_type
from cnn_core.errors import InputError, did_you_mean
from cnn_core.optimizers import OPTIMIZERS
from cnn_core.plugins import Plugin
from cnn_core.schedules import SCHEDULES
from cnn_core.spec import DataSpec, ModelSpec, RegularizerSpec, Scalar, Spec
from cnn_core.train_spec import TrainSpec
from pipeline.configuration.data_settings import DATA, DataSettings
from pipeline.configuration.hydra_tree import groups
from pipeline.configuration.pruner_settings import PRUNERS, PrunerSettings
from pipeline.configuration.sampler_settings import SAMPLERS, SamplerSettings
from pipeline.configuration.sections import (
    BlasSettings,
    BudgetSettings,
    DeadlineSettings,
    EnsembleSettings,
    FinalSettings,
    SlotSettings,
    StudySettings,
    TrackingSettings,
)
from pipeline.files import StudyPaths
from pipeline.redact import redacted


@dataclass(frozen=True)
class Command:
    """A command of ``python -m pipeline.<name>``.

    `keys` is a dataclass of the command's own top-level keys, its fields made with `setting`; an
    instance arrives as ``config.arguments``. `sections` are the sections of the tree that it reads;
    None: all. An override of any other is refused, since it would have no effect.
    """

    name: str
    about: str = ""
    examples: tuple[str, ...] = ()
    keys: type | None = None
    sections: tuple[str, ...] | None = None


SWEEP = Command(
    name="sweep",
    about="Searches hyperparameters: many trials at once, logged in MLflow. Interrupted, the same "
    "command resumes where it stopped.",
    examples=(
        "python -m pipeline.sweep                                   20 trials on 1,797 small "
        "digits, about a minute",
        "python -m pipeline.sweep experiment=mnist slots.n=2        30 trials on MNIST",
        "python -m pipeline.sweep data=csv data.file=train.csv study.name=mine budget.minutes=30",
        "python -m pipeline.sweep optimizer=adam model.dropout=0.4  fixes two values that would be "
        "searched",
        "python -m pipeline.sweep study.name=small 'space={model.filters:{int:[8,32]}}'",
    ),
)


def settings_of(source: type, name: str) -> type:
    """Return a dataclass of `name` and the settings of an optimizer or a schedule: cnn_core's
    classes are the schema.
    """
    hints = get_type_hints(source)
    given: list[Any] = [("name", str, field(default=name))]
    for item in dataclasses.fields(source):
        if item.init:
            copied = field(default=item.default, metadata=item.metadata)
            given.append((item.name, hints[item.name], copied))
    return dataclasses.make_dataclass(f"{source.__name__}Settings", given)


# Section -> class, or a function of the section's `name`.
SECTIONS: dict[str, type | Callable[[str], type]] = {
    "study": StudySettings,
    "budget": BudgetSettings,
    "deadline": DeadlineSettings,
    "slots": SlotSettings,
    "blas": BlasSettings,
    "data": DATA.__getitem__,
    "model": ModelSpec,
    "optimizer": lambda name: settings_of(OPTIMIZERS[name], name),
    "schedule": lambda name: settings_of(SCHEDULES[name], name),
    "regularizer": RegularizerSpec,
    "augment": AugmentSpec,
    "train": TrainSpec,
    "sampler": SAMPLERS.__getitem__,
    "pruner": PRUNERS.__getitem__,
    "tracking": TrackingSettings,
    "final": FinalSettings,
    "ensemble": EnsembleSettings,
}
# The names that such a function knows.
NAMES: dict[str, Collection[str]] = {
    "data": DATA,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "sampler": SAMPLERS,
    "pruner": PRUNERS,
}
FREE_SECTIONS = ("space",)  # a plain mapping with a parser of its own
ROOT_KEYS: dict[str, Any] = {"root": "outputs", "plugins": []}


def section_type(section: str, name: str | None, place: str = "conf") -> type:
    """Return the dataclass that the section is checked against. Raises InputError for a name that
    is in no table, with the file (`place`) that has it.
    """
    entry = SECTIONS[section]
    if isinstance(entry, type):
        return augment_type() if entry is AugmentSpec else entry
    try:
        return entry(name or "")
    except KeyError:
        known = ", ".join(NAMES[section])
        got = "none" if name is None else repr(name) + did_you_mean(name, NAMES[section])
        raise InputError(f"{section}.name: must be one of {known}, got {got} ({place})") from None


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
    # as given, the command's own keys left out, so that they can be composed again
    overrides: tuple[str, ...]
    node: DictConfig  # unresolved
    root: Path
    study: StudySettings
    budget: BudgetSettings
    deadline: DeadlineSettings
    slots: SlotSettings
    blas: BlasSettings
    data: DataSettings
    model: ModelSpec
    optimizer: Mapping[str, Scalar]
    schedule: Mapping[str, Scalar]
    regularizer: RegularizerSpec
    augment: Mapping[str, Scalar]
    train: TrainSpec
    space: Mapping[str, Any]
    sampler: SamplerSettings
    pruner: PrunerSettings
    tracking: TrackingSettings
    final: FinalSettings
    ensemble: EnsembleSettings
    arguments: Any = None  # the command's own keys, an instance of its dataclass
    choices: Mapping[str, str | None] = field(default_factory=dict)  # group -> chosen file
    plugins: tuple[Plugin, ...] = ()
    quiet: bool = False
    verbose: bool = False
    # the command and its overrides as the user typed them, whatever was composed from them since
    invocation: tuple[str, ...] = ()

    @cached_property
    def yaml(self) -> str:
        """Return the tree as YAML, fit for logs: interpolations unresolved, secrets redacted."""
        plain = OmegaConf.to_container(self.node, resolve=False)
        return OmegaConf.to_yaml(OmegaConf.create(redacted(plain)))

    def acting_as(self, command: Command) -> "Config":
        """Return this configuration for another command, whose own keys have their defaults: what
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
    model = config.model
    if model.frame == "none":  # unused values must not change the spec's digest
        model = replace(model, frame_beside=False, frame_jitter=0.0)
    return Spec(
        data=replace(data, **config.data.split),
        model=model,
        optimizer=dict(config.optimizer),
        schedule=dict(config.schedule),
        regularizer=config.regularizer,
        augment=dict(config.augment),
        train=config.train,
        measure=config.study.objective,
        top_k=config.study.top_k if config.study.objective == "top_k" else Spec.top_k,
        seed=seed,
        seeds=config.study.seeds,
        folds=config.study.folds,
        plugins=tuple(plugin.spec for plugin in config.plugins if plugin.trains),
    )
