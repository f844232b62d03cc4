"""The pruners' settings: those that end trials early, and those that pause and promote them."""

from dataclasses import dataclass

from cnn_core.field_checks import setting


@dataclass
class PrunerSettings:
    name: str = setting("none", "which trials are stopped early, or paused and promoted")


@dataclass
class MedianSettings(PrunerSettings):
    startup_trials: int = setting(5, "trials that are never pruned", low=0)
    warmup_epochs: int = setting(1, "epochs before a trial can be pruned", low=0)


@dataclass
class HalvingSettings(PrunerSettings):
    min_epochs: int = setting(1, "epochs before the first decision", low=1)
    reduction_factor: int = setting(3, "one trial in so many is promoted at each rung", low=2)


@dataclass
class PashaSettings(HalvingSettings):
    epsilon: float | None = setting(
        None,
        "values so close rank alike at two rungs; null: what curves that cross twice differ by",
        low=0,
    )


@dataclass
class TopKSettings(PrunerSettings):
    look: int = setting(1, "epochs that every trial trains", low=1)
    keep: int = setting(3, "best trials that then train to the end", low=1)


@dataclass
class TopKInStepsSettings(TopKSettings):
    keep: int = setting(2, "best trials that train to the end", low=1)
    halvings: int = setting(
        2, "steps in which they are chosen, after twice as many epochs each", low=0, high=10
    )


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
    "promote": HalvingSettings,
    "pasha": PashaSettings,
    "top_k": TopKSettings,
    "top_k_in_steps": TopKInStepsSettings,
}
