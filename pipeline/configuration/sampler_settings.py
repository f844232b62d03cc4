"""The settings of each sampler: how the next trial is chosen."""

from dataclasses import dataclass

from cnn_core.field_checks import setting


@dataclass
class SamplerSettings:
    name: str = setting("tpe", "how the next trial is chosen")

    @property
    def startup(self) -> int:
        """How many trials are random before a model is used; 0 where there is none."""
        return int(getattr(self, "startup_trials", 0))


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
class AutoSettings(SamplerSettings):
    startup_trials: int = setting(
        8, "random trials before a model is used, where the chosen sampler has one", low=1
    )


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
    "auto": AutoSettings,
}
