"""What a worker needs to train one net: plain values, checked on construction, the same in search,
final training and replay.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

from cnn_core.errors import InputError
from cnn_core.field_checks import check_settings, setting
from cnn_core.plugin_source import PluginSpec
from cnn_core.train_spec import TrainSpec

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """How the training images are split. Limits on sizes are stratified and apply after the split;
    ``reserve`` images are used for neither training nor validation (the frozen contest proxy is
    made of them).
    """

    valid_fraction: float = setting(
        1 / 6, "share of the training images held out for validation", low=0, below=1
    )
    split_seed: int = setting(
        0, "of the validation split; the same in all studies, so that they can be compared", low=0
    )
    train_size: int | None = setting(None, "training images used; null: all", low=1)
    valid_size: int | None = setting(None, "validation images used; null: all", low=1)
    train_choice: str = setting(
        "stratified",
        "with train_size: images in their classes' proportions, or the first of the training split",
        choices=("stratified", "first"),
    )
    reserve: int = setting(
        0, "images taken out before any split, neither trained on nor validated on", low=0
    )

    def __post_init__(self) -> None:
        check_settings("data", self)

    @property
    def split(self) -> dict[str, Any]:
        """Return the split's fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(SplitSpec)}


@dataclass(frozen=True, kw_only=True)
class DataSpec(SplitSpec):
    """Prepared arrays (see `cnn_core.data.prepared`) and how they are split.

    With ``folds``, ``fold`` of the training split validates instead of ``valid_fraction``.
    ``valid_folder`` holds prepared images in the same order as ``folder``, such as disturbed
    copies: validation reads them there.
    """

    folder: str
    digest: str
    image_shape: tuple[int, int, int]  # C, H, W
    classes: int = setting(MISSING, "number of classes", low=1)
    fold: int | None = None
    folds: int | None = setting(None, "folds of the training split", low=1)
    valid_folder: str | None = None
    valid_digest: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.valid_folder is None) != (self.valid_digest is None):
            raise InputError(
                "data.valid_folder: must be given together with data.valid_digest, got "
                f"{self.valid_folder!r}"
            )


# What model.activation may be; plug-ins add to it.
ACTIVATION_WORDS = ["relu", "leaky_relu", "sigmoid", "tanh"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A named architecture (`cnn_core.architectures.ARCHITECTURES`) and its dimensions."""

    name: str = setting("contest", "named architecture")
    filters: int = setting(
        32, "filters of the first block; later blocks keep the net's ratios", low=1
    )
    kernel: int = setting(5, "side of the convolutions' kernels", low=1)
    pool: int = setting(2, "side and stride of the pooling windows", low=1)
    pool_p: float | None = setting(
        None,
        "pooling takes (mean of |x|^P)^(1/P) of each window; 1: the average; null: the maximum, "
        "which is P = infinity",
        low=1,
    )
    padding: str | None = setting(
        None, "of the convolutions; null: the net's own", choices=("valid", "same")
    )
    rank: int | None = setting(
        None,
        "layers but the last become products of thinner ones of at most this rank, where that "
        "saves multiplications; null: whole",
        low=1,
    )
    input_scale: float = setting(
        1.0, "pixels, from 0 to 1, are multiplied by this; 255: not scaled", above=0
    )
    whiten: int = setting(
        0,
        "side of the kernels of a first layer that is not learned: they whiten patches of training "
        "images; 0: none",
        low=0,
    )
    whiten_filters: int = setting(16, "its filters, in pairs of opposite sign", low=2)
    whiten_stride: int = setting(1, "its stride", low=1)
    depth: int = setting(2, "convolutions in each stage of pyramid", low=1, high=6)
    hidden: tuple[int, ...] = setting((), "units of the dense layers before the last", low=1)
    activation: str = setting(
        "relu",
        "after convolutions and dense layers",
        choices=ACTIVATION_WORDS,
    )
    init: str = setting(
        "he",
        "how weights are drawn",
        choices=("zeros", "normal", "xavier", "glorot", "he", "dirac"),
    )
    init_std: float = setting(0.01, "standard deviation for init=normal", low=0)
    dropout: float = setting(0.0, "share of units dropped in training", low=0, below=1)
    batch_norm: str = setting(
        "none",
        "batch normalisation relative to the activation",
        choices=("none", "before", "after"),
    )
    frame: str = setting(
        "none",
        "what images' own moments take out of bright figures on black",
        choices=("none", "similar", "box", "width"),
    )
    frame_beside: bool = setting(
        False,
        "where there is a frame: the net has the image as it is as well, as channels before the "
        "framed ones",
    )
    frame_jitter: float = setting(
        0.0, "how much place, size and slant vary behind the frame in training", low=0, below=0.5
    )

    def __post_init__(self) -> None:
        check_settings("model", self)
        object.__setattr__(self, "hidden", tuple(self.hidden))  # read from a file it is a list


@dataclass(frozen=True, kw_only=True)
class RegularizerSpec:
    """Penalties on weights (not on biases or batch norm): ``l1 * sum |W| + l2 / 2 * sum W^2``,
    added to the loss.
    """

    l1: float = setting(0.0, "l1 * sum |W| is added to the loss", low=0)
    l2: float = setting(0.0, "l2 / 2 * sum W^2 is added to the loss", low=0)

    def __post_init__(self) -> None:
        check_settings("regularizer", self)


# Values that did not always exist, with what was true before they did: by section, "" the spec
# itself. At these they do not count, so that an older study's specs keep their digests.
ADDED: Mapping[str, Mapping[str, Scalar | tuple[()]]] = {
    "": {"measure": "accuracy", "top_k": 5, "seeds": 1, "folds": None, "plugins": ()},
    "data": {"train_choice": "stratified"},
    "model": {
        "depth": 2,
        "pool_p": None,
        "padding": None,
        "rank": None,
        "input_scale": 1.0,
        "whiten": 0,
        "whiten_filters": 16,
        "whiten_stride": 1,
    },
    "augment": {"flip": 0.0, "colour": 0.0},
    "train": {"class_weights": "none", "replanned": (), "full_rank_epochs": 0, "shards": 1},
}
# What does not change the net that is trained.
WITHOUT_EFFECT = (("data", "folder"), ("data", "valid_folder"), ("train", "threads"))


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A whole training, and its seed: equal specs on equal machines give equal bits."""

    data: DataSpec
    model: ModelSpec
    # {"name": "adam", "lr": 0.001, ...}: a key of OPTIMIZERS and its constructor's arguments
    optimizer: Mapping[str, Scalar]
    # the same, of SCHEDULES
    schedule: Mapping[str, Scalar] = field(default_factory=lambda: {"name": "constant"})
    regularizer: RegularizerSpec = RegularizerSpec()
    # fields of cnn_core.augmentation.AugmentSpec; empty: none
    augment: Mapping[str, Scalar] = field(default_factory=dict)
    train: TrainSpec = field(default_factory=TrainSpec)
    # what validation images are scored by beside the accuracy: a name of cnn_core.measures.MEASURES
    measure: str = "accuracy"
    top_k: int = 5  # where the measure is top_k
    # entropy of the trial's SeedSequence, such as (study seed, trial number)
    seed: tuple[int, ...] = (0,)
    # several nets trained as one (cnn_core.repeats): with other seeds, each without another fold
    seeds: int = 1
    folds: int | None = None
    plugins: tuple[PluginSpec, ...] = ()

    @property
    def nets(self) -> int:
        """The number of nets that are trained."""
        return self.seeds * (self.folds or 1)

    def digest(self) -> str:
        """Return the sha256 of everything that determines the net; data and plug-ins count by their
        digest, not their place.
        """
        return self._digest

    @cached_property  # needed by the checkpoint of every epoch
    def _digest(self) -> str:
        values = asdict(self)
        for section, name in WITHOUT_EFFECT:
            del values[section][name]
        values["plugins"] = tuple(plugin.digest for plugin in self.plugins)
        for section, added in ADDED.items():
            part = values if section == "" else values[section]
            for name, default in added.items():
                if part.get(name, default) == default:
                    part.pop(name, None)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
