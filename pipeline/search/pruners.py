"""Optuna's pruners by the names of ``pruner`` sections, which end a trial for good; the rules that
pause trials and promote them are in `pipeline.search.promotion`.
"""

from collections.abc import Callable
from typing import Any

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
)

from pipeline.search.promotion import RULES


def make_pruner(settings: Any, epochs: int) -> BasePruner:
    """Return the pruner of a ``pruner`` section; `epochs` is the most that a trial trains."""
    if settings.name not in PRUNERS:  # a plug-in's
        made: BasePruner = settings.pruner(epochs)
        return made
    return PRUNERS[settings.name](settings, epochs)


def _median(settings: Any, _: int) -> BasePruner:
    return MedianPruner(
        n_startup_trials=settings.startup_trials, n_warmup_steps=settings.warmup_epochs
    )


def _halving(settings: Any, _: int) -> BasePruner:
    return SuccessiveHalvingPruner(
        min_resource=settings.min_epochs, reduction_factor=settings.reduction_factor
    )


def _hyperband(settings: Any, epochs: int) -> BasePruner:
    return HyperbandPruner(
        min_resource=settings.min_epochs,
        max_resource=epochs,
        reduction_factor=settings.reduction_factor,
    )


def _patient(settings: Any, _: int) -> BasePruner:
    return PatientPruner(MedianPruner(), patience=settings.patience, min_delta=settings.min_delta)


PRUNERS: dict[str, Callable[[Any, int], BasePruner]] = {
    "none": lambda _, __: NopPruner(),
    "median": _median,
    "successive_halving": _halving,
    "hyperband": _hyperband,
    "patient": _patient,
    **dict.fromkeys(RULES, lambda _, __: NopPruner()),  # they pause trials, and prune none
}
