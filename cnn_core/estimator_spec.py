"""The estimator's parameters as a training's spec: the one place where their names are mapped."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from cnn_core.architectures import ARCHITECTURES
from cnn_core.errors import InputError
from cnn_core.spec import DataSpec, ModelSpec, RegularizerSpec, Scalar, Spec, SplitSpec
from cnn_core.train_spec import TrainSpec

# Parameters whose names are those of a section's fields.
MODEL = (
    *("filters", "kernel", "pool", "depth", "hidden", "activation", "init", "dropout"),
    "batch_norm",
)
TRAIN = ("epochs", "batch_size", "label_smoothing", "class_weights", "clip_norm", "select")
ROWS_NET, ROWS_HIDDEN = "mlp", (100,)  # of rows that are no images
MOST_IN_BATCH, BATCHES = 64, 20  # batch_size="auto": as many batches, each of at most so many

# What stands before a parameter's name in a spec's messages, and what is left of it.
_SECTION = re.compile(
    r"^(?:(model|optimizer|schedule)\.name|(?:model|train|regularizer|data)\.|optimizer\.(?=lr:))"
)


def plain(value: Any) -> Any:
    """Return a parameter as plain Python values: a grid's NumPy scalars, arrays and lists in it
    become numbers, texts and tuples.
    """
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def named(parameters: Mapping[str, Any], name: str) -> dict[str, Scalar]:
    """Return the parameter `name`, a name or a mapping with one, as ``{"name": ..., ...}``."""
    value = parameters[name]
    return dict(value) if isinstance(value, Mapping) else {"name": value}


def split_of_fit(parameters: Mapping[str, Any], seed: int) -> SplitSpec:
    """Return which of the images given to `fit` validate. Raises InputError as the spec does."""
    return SplitSpec(valid_fraction=parameters["valid_fraction"], split_seed=seed)


def fitting_window(side: int) -> dict[str, int]:
    """Return kernel and pool for images of that side: an odd kernel of about a quarter of it, from
    3 to 7, and pooling by 3 from 24 pixels on, by 2 below; neither larger
    than the side.
    """
    kernel, pool = min(7, max(3, side // 4 | 1)), 3 if side >= 24 else 2
    return {"kernel": min(kernel, side), "pool": min(pool, side)}


def spec_of(
    parameters: Mapping[str, Any], data: DataSpec, images: int, seed: int, picture: bool
) -> Spec:
    """Return the spec of a training with an estimator's `parameters`, plain values by name, on
    `images` training images; `picture` tells whether they are images at all.

    Raises InputError for what the specs refuse.
    """
    if not isinstance(augment := parameters["augment"] or {}, Mapping):
        raise InputError(f"augment: must be None or a mapping of strengths, got {augment!r}")
    optimizer = named(parameters, "optimizer")
    if parameters["lr"] is not None:
        optimizer.setdefault("lr", parameters["lr"])
    if (name := parameters["model"]) not in ARCHITECTURES:  # of rows too, which have their own
        raise InputError(f"model: must be one of {', '.join(ARCHITECTURES)}, got {name!r}")
    model = {key: parameters[key] for key in MODEL}
    train = {key: parameters[key] for key in TRAIN}
    if not picture and not model["hidden"]:
        model["hidden"] = ROWS_HIDDEN
    fitting = fitting_window(min(data.image_shape[1:]))
    model |= {key: size for key, size in fitting.items() if model[key] == "auto"}
    if train["batch_size"] == "auto":
        train["batch_size"] = min(MOST_IN_BATCH, max(1, -(-images // BATCHES)))
    return Spec(
        data=data,
        model=ModelSpec(name=name if picture else ROWS_NET, **model),
        optimizer=optimizer,
        schedule=named(parameters, "schedule"),
        regularizer=RegularizerSpec(l1=parameters["l1"], l2=parameters["l2"]),
        augment=dict(augment),
        train=TrainSpec(**train),
        seed=(seed,),
    )


@contextmanager
def in_own_words() -> Iterator[None]:
    """Raise a spec's InputError as ValueError in the estimator's words: ``dropout``, not
    ``model.dropout``.
    """
    try:
        yield
    except InputError as error:
        raise ValueError(_SECTION.sub(r"\1", str(error))) from error
