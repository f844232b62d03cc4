"""Optimizers by name: a table beside the classes, nothing registers itself."""

from collections.abc import Mapping

from cnn_core.field_checks import make_named
from cnn_core.optimizers.muon import Muon
from cnn_core.optimizers.optimizer import Optimizer, is_weight
from cnn_core.optimizers.updates import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    RMSProp,
)

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adadelta": AdaDelta,
    "adam": Adam,
    "adamw": AdamW,
    "muon": Muon,
}

__all__ = ["OPTIMIZERS", "Optimizer", "is_weight", "make_optimizer"]


def make_optimizer(settings: Mapping[str, object]) -> Optimizer:
    """Return the optimizer of ``{"name": "adam", "lr": 0.001, ...}``; raise InputError for an
    unknown name, key or value out of range.
    """
    return make_named("optimizer", OPTIMIZERS, settings)
