"""How a net is trained: the fields of the configuration's section ``train``."""

from dataclasses import dataclass

from cnn_core.errors import InputError
from cnn_core.field_checks import check_settings, setting


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """How long a net trains, on which batches, and which weights are kept."""

    epochs: int = setting(10, "epochs of a trial", low=1)
    batch_size: int = setting(100, "images per step", low=1)
    full_rank_epochs: int = setting(
        0, "with model.rank: epochs of the whole net, which is compressed after them", low=0
    )
    steps_per_epoch: int | None = setting(
        None, "batches in an epoch; null: one pass over the training images", low=1
    )
    sampling: str = setting(
        "permutation", "how batches are drawn", choices=("permutation", "replacement")
    )
    shards: int = setting(
        1,
        "parts that a batch is cut into, each computed by a core of its own where one is free; "
        "batch normalisation takes each part's statistics",
        low=1,
    )
    threads: int | None = setting(
        None,
        "cores that a training uses, at most train.shards; null: as many as its slot has; the "
        "result is the same to the bit",
        low=1,
    )
    # None: all validation images, and the epoch's own training batches.
    eval_size: int | None = setting(
        None, "images of each split that metrics are computed on; null: all", low=1
    )
    label_smoothing: float = setting(
        0.0, "share of the target spread over all classes", low=0, below=1
    )
    class_weights: str = setting(
        "none",
        "weight of each class in the loss; balanced: one over its share of the training images",
        choices=("none", "balanced"),
    )
    clip_norm: float | None = setting(
        None, "largest norm of the gradient; null: no clipping", above=0
    )
    average_decay: float = setting(
        0.999, "of the moving average of weights (train.select=average)", low=0, below=1
    )
    select: str = setting(
        "last",
        "weights kept: last, moving average, or lowest validation loss",
        choices=("last", "average", "best"),
    )
    replanned: tuple[int, ...] = setting(
        (),
        "epochs done and the last step from there on, in turn; what budgets of time decide",
        low=0,
    )

    def __post_init__(self) -> None:
        check_settings("train", self)
        for key, most, limit in (
            ("shards", "train.batch_size", self.batch_size),
            ("threads", "train.shards", self.shards),
        ):
            if (getattr(self, key) or 1) > limit:
                rule = f"must be at most {most}, {limit}"
                raise InputError(f"train.{key}: {rule}, got {getattr(self, key)}")
        object.__setattr__(self, "replanned", tuple(self.replanned))
        done = list(self.replanned[::2])
        if len(self.replanned) % 2 or done != sorted(done) or 0 in self.replanned[1::2]:
            rule = "must be pairs of epochs done, rising, and a last step of at least 1"
            raise InputError(f"train.replanned: {rule}, got {list(self.replanned)}")
