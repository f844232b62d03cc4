"""What a worker needs to train one net: plain values, checked when made, the same in search, final
training and replay.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from cnn_core.errors import InputError

Scalar = str | int | float | bool | None
SAMPLING = ("permutation", "replacement")
SELECT = ("last", "average", "best")


def _require(section: str, name: str, value: object, holds: bool, rule: str) -> None:
    """Raise InputError unless the rule holds; rules are written so that nan breaks them."""
    if not holds:
        raise InputError(f"{section}.{name}: must be {rule}, got {value!r}")


def _require_counts(section: str, spec: object, *names: str) -> None:
    for name in names:
        value = getattr(spec, name)
        _require(
            section,
            name,
            value,
            value is None or (type(value) is int and value >= 1),
            "a whole number of at least 1",
        )


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Prepared arrays (see `cnn_core.data.prepared`) and how they are split.

    ``train_size`` and ``valid_size`` keep that many images of the split, stratified; None keeps
    all. ``reserve`` images, stratified, are taken out before any split: neither trained on nor
    validated on (the frozen contest proxy is made of them). ``valid_folder`` holds prepared images
    in the same order as ``folder``, such as disturbed copies: validation reads them there.
    """

    folder: str
    digest: str
    image_shape: tuple[int, int, int]  # C, H, W
    classes: int
    valid_fraction: float = 1 / 6
    split_seed: int = 0
    train_size: int | None = None
    valid_size: int | None = None
    fold: int | None = (
        # with `folds`: validate on this fold of the training split instead of `valid_fraction`
        None
    )
    folds: int | None = None
    reserve: int = 0
    valid_folder: str | None = None
    valid_digest: str | None = None

    def __post_init__(self) -> None:
        _require(
            "data",
            "valid_fraction",
            self.valid_fraction,
            0 <= self.valid_fraction < 1,
            "at least 0 and less than 1",
        )
        _require("data", "split_seed", self.split_seed, self.split_seed >= 0, "at least 0")
        _require("data", "reserve", self.reserve, self.reserve >= 0, "at least 0")
        _require_counts("data", self, "classes", "train_size", "valid_size", "folds")
        together = (self.valid_folder is None) == (self.valid_digest is None)
        _require(
            "data",
            "valid_folder",
            self.valid_folder,
            together,
            "given together with data.valid_digest",
        )


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A named architecture (`cnn_core.architectures.ARCHITECTURES`) and its dimensions."""

    name: str = "contest"
    filters: int = 32  # of the first block; later blocks keep the net's ratios
    kernel: int = 5
    pool: int = 2
    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    init: str = "he"
    init_std: float = 0.01  # for init=normal
    dropout: float = 0.0
    batch_norm: str = "none"  # none | before | after the activation
    # none, or what `MomentNormalization` takes out of every image: similar | box | width
    frame: str = "none"
    frame_beside: bool = (
        False  # the net has the image as it is as well, as channels before the framed ones
    )
    frame_jitter: float = (
        0.0  # how much placement, size and slant vary in training, behind the frame
    )


@dataclass(frozen=True, kw_only=True)
class RegularizerSpec:
    """Penalties on weights (not on biases or batch norm): ``l1 * sum |W| + l2 / 2 * sum W^2``,
    added to the loss.
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            value = getattr(self, name)
            _require("regularizer", name, value, 0 <= value < math.inf, "finite and at least 0")


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """How long and on what an epoch trains."""

    epochs: int = 10
    batch_size: int = 100
    steps_per_epoch: int | None = None  # None: one pass
    sampling: str = "permutation"  # or replacement
    eval_size: int | None = (
        # images of each split for metrics; None: all of validation, the epoch's own batches of
        # training
        None
    )
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    average_decay: float = 0.999  # of the moving average of weights (select=average)
    select: str = "last"  # last | average | best (lowest validation loss)

    def __post_init__(self) -> None:
        _require_counts("train", self, "epochs", "batch_size", "steps_per_epoch", "eval_size")
        _require(
            "train",
            "sampling",
            self.sampling,
            self.sampling in SAMPLING,
            f"one of {', '.join(SAMPLING)}",
        )
        _require(
            "train", "select", self.select, self.select in SELECT, f"one of {', '.join(SELECT)}"
        )
        _require(
            "train",
            "label_smoothing",
            self.label_smoothing,
            0 <= self.label_smoothing < 1,
            "at least 0 and less than 1",
        )
        clip = self.clip_norm
        _require(
            "train",
            "clip_norm",
            clip,
            clip is None or 0 < clip < math.inf,
            "finite and greater than 0, or null",
        )
        _require(
            "train",
            "average_decay",
            self.average_decay,
            0 <= self.average_decay < 1,
            "at least 0 and less than 1",
        )


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One net's whole training, and its seed: equal specs on equal machines give equal bits."""

    data: DataSpec
    model: ModelSpec
    optimizer: Mapping[
        str, Scalar
    ]  # {"name": "adam", "lr": 0.001, ...}: a key of OPTIMIZERS and its constructor's arguments
    schedule: Mapping[str, Scalar] = field(
        default_factory=lambda: {"name": "constant"}
    )  # the same, of SCHEDULES
    regularizer: RegularizerSpec = RegularizerSpec()
    augment: Mapping[str, Scalar] = field(
        default_factory=dict
    )  # fields of cnn_core.augmentation.AugmentSpec; empty: none
    train: TrainSpec = TrainSpec()
    seed: tuple[int, ...] = (
        0,
    )  # entropy of the trial's SeedSequence, such as (study seed, trial number)

    def digest(self) -> str:
        """Return the sha256 of everything that decides the net; where the data lie does not (their
        own digest says what they are).
        """
        return self._digest

    @cached_property  # asked for at every epoch, by the checkpoint
    def _digest(self) -> str:
        values = asdict(self)
        del values["data"]["folder"], values["data"]["valid_folder"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
