"""Sections whose fields depend on the chosen file: samplers, pruners, and those that cnn_core's own
tables define.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pipeline.configuration.settings import setting


@dataclass
class SamplerSettings:
    name: str = setting("tpe", "how the next trial is chosen")


@dataclass
class TpeSettings(SamplerSettings):
    startup_trials: int = setting(8, "random trials before the model is used", low=1)
    candidates: int = setting(24, "candidates scored for each suggestion", low=1)


@dataclass
class CmaesSettings(SamplerSettings):
    startup_trials: int = setting(1, "random trials before the model is used", low=1)
    sigma: float | None = setting(
        None, "first step size, as a share of the space; null: the library's choice", above=0
    )


@dataclass
class GpSettings(SamplerSettings):
    startup_trials: int = setting(10, "random trials before the model is used", low=1)


@dataclass
class Nsga2Settings(SamplerSettings):
    population: int = setting(20, "trials in a generation", low=2)


SAMPLERS: dict[str, type[SamplerSettings]] = {
    "tpe": TpeSettings,
    "random": SamplerSettings,
    "grid": SamplerSettings,
    "cmaes": CmaesSettings,
    "gp": GpSettings,
    "nsga2": Nsga2Settings,
}


@dataclass
class PrunerSettings:
    name: str = setting("none", "which trials are stopped early")


@dataclass
class MedianSettings(PrunerSettings):
    startup_trials: int = setting(5, "trials that are never pruned", low=0)
    warmup_epochs: int = setting(1, "epochs before a trial can be pruned", low=0)


@dataclass
class HalvingSettings(PrunerSettings):
    min_epochs: int = setting(1, "epochs before the first decision", low=1)
    reduction_factor: int = setting(3, "one trial in so many is promoted at each rung", low=2)


@dataclass
class PatientSettings(PrunerSettings):
    patience: int = setting(3, "epochs without improvement before a trial can be pruned", low=0)
    min_delta: float = setting(0.0, "what counts as an improvement", low=0)


PRUNERS: dict[str, type[PrunerSettings]] = {
    "none": PrunerSettings,
    "median": MedianSettings,
    "successive_halving": HalvingSettings,
    "hyperband": HalvingSettings,
    "patient": PatientSettings,
}


def settings_of(source: type, name: str | None = None) -> type:
    """Return a dataclass with the constructor's fields of `source` (and `name`, where given):
    cnn_core's classes are the schema.
    """
    hints = get_type_hints(source)
    fields: list[Any] = [] if name is None else [("name", str, dataclasses.field(default=name))]
    for item in dataclasses.fields(source):
        if item.init and item.name != "name":
            copied = dataclasses.field(
                default=item.default, default_factory=item.default_factory, metadata=item.metadata
            )
            fields.append((item.name, hints[item.name], copied))
    return dataclasses.make_dataclass(f"{source.__name__}Settings", fields)


def optimizer_settings(name: str) -> type:
    """Return the schema of ``optimizer=name``, from OPTIMIZERS. Raises KeyError."""
    from cnn_core.optimizers import OPTIMIZERS

    return settings_of(OPTIMIZERS[name], name)


def schedule_settings(name: str) -> type:
    """Return the schema of ``schedule=name``, from SCHEDULES. Raises KeyError."""
    from cnn_core.schedules import SCHEDULES

    return settings_of(SCHEDULES[name], name)


def augment_settings() -> type:
    """Return the schema of ``augment``, the fields of AugmentSpec."""
    from cnn_core.augmentation import AugmentSpec

    return settings_of(AugmentSpec)


def check_by_construction(
    optimizer: Mapping[str, Any], schedule: Mapping[str, Any], augment: Mapping[str, Any]
) -> None:
    """Construct what the sections describe, so that cnn_core's own checks speak.

    Raises InputError.
    """
    from cnn_core.augmentation import AugmentSpec
    from cnn_core.optimizers import make_optimizer
    from cnn_core.schedules import make_schedule

    make_optimizer(optimizer)
    make_schedule(schedule)
    AugmentSpec(**augment)
