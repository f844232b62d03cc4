"""Optimizers by name: a table beside the classes, nothing registers itself."""

from collections.abc import Mapping
from dataclasses import fields

from cnn_core.errors import InputError
from cnn_core.optimizers.adam import Adam, AdamW
from cnn_core.optimizers.adaptive import AdaDelta, AdaGrad, RMSProp
from cnn_core.optimizers.gradient_descent import SGD, Momentum, Nesterov
from cnn_core.optimizers.optimizer import Optimizer, is_weight

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adadelta": AdaDelta,
    "adam": Adam,
    "adamw": AdamW,
}

__all__ = ["OPTIMIZERS", "Optimizer", "is_weight", "make_optimizer"]


def make_optimizer(settings: Mapping[str, object]) -> Optimizer:
    """Return the optimizer of ``{"name": "adam", "lr": 0.001, ...}``; raise InputError for an
    unknown name, key or value out of range.
    """
    arguments = dict(settings)
    name = arguments.pop("name", None)
    if name not in OPTIMIZERS:
        raise InputError(f"optimizer.name: must be one of {', '.join(OPTIMIZERS)}, got {name!r}")
    kind = OPTIMIZERS[str(name)]
    known = [f.name for f in fields(kind) if f.init]
    for key, value in arguments.items():
        if key not in known:
            raise InputError(f"optimizer.{key}: {name} takes {', '.join(known)}, got {key!r}")
        if (
            isinstance(value, str)
            or value is None
            or (isinstance(value, bool) != (key in ("eps_outside", "eps_corrected")))
        ):
            raise InputError(
                f"optimizer.{key}: must be a {'bool' if key.startswith('eps_') else 'number'}, got "
                f"{value!r} ({name})"
            )
    return kind(**arguments)  # type: ignore[arg-type]
