"""Settings of what is built after a sweep: final models and their ensemble."""

from dataclasses import dataclass

from pipeline.configuration.settings import setting


@dataclass
class FinalSettings:
    after_sweep: bool = setting(False, "go on with final, evaluate and export when the sweep is done")
    members: int = setting(5, "best distinct trials that become members", low=1)
    folds: int = setting(3, "nets a member, each trained without one fold", low=2)
    epochs: int | None = setting(None, "epochs of each net; null: as the trial", low=1)


@dataclass
class EnsembleSettings:
    name: str = setting("greedy", "how members are combined", choices=("uniform", "weighted", "greedy", "stacking"))
