"""The images of a training: opened, split, and given out batch by batch, augmented where the spec
says so.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import cast

import numpy as np

from cnn_core.augmentation import AugmentSpec, augment, augment_type
from cnn_core.axes import Array, Images, Indices, Labels
from cnn_core.data.about import About, numbered_classes
from cnn_core.data.image_form import ImageForm
from cnn_core.data.pages import rows_of
from cnn_core.data.prepared import Prepared, open_prepared
from cnn_core.data.splits import Batcher, epoch_batches, split, split_of, subset
from cnn_core.errors import InputError
from cnn_core.spec import DataSpec, Scalar, Spec, SplitSpec
from cnn_core.streams import stream

SAMPLE_IMAGES, SAMPLE_VALUES = 2000, 1 << 22


def make_augmentation(settings: Mapping[str, Scalar]) -> AugmentSpec:
    """Return the AugmentSpec of those fields; raise InputError for an unknown one or a value out of
    range.
    """
    made = augment_type()
    known = [f.name for f in fields(made)]
    for key in settings:
        if key not in known:
            raise InputError(f"augment.{key}: must be one of {', '.join(known)}, got {key!r}")
    return made(**settings)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Data:
    """The images and labels of a DataSpec, with the training and validation indices; validation may
    read disturbed copies.
    """

    prepared: Prepared
    valid_images: Images
    train: Indices
    valid: Indices

    @property
    def labels(self) -> Labels:
        return self.prepared.labels

    def sample(self) -> Array:
        """Return training images, evenly spread and as many as fit the limits, as the net takes
        them, (C, H, W, N): what is taken from images before training is taken from these.
        """
        shape = self.prepared.image_shape
        most = max(1, min(SAMPLE_IMAGES, SAMPLE_VALUES // math.prod(shape)))
        chosen = self.train[:: -(-len(self.train) // most)]
        return Batcher(shape)(rows_of(self.prepared.images, chosen))

    def evaluation(self, indices: Indices, size: int | None, seed: int) -> Indices:
        """Return a stratified sample of `size` of the indices, the same in every epoch; None
        returns all.
        """
        return (
            indices
            if size is None or size >= len(indices)
            else subset(indices, self.labels, size, seed, 4, "eval_size")
        )


_held: dict[str, Data] = {}  # sets in this process's memory, by the digest that names them
_numbers = count()


@contextmanager
def in_memory(
    images: Images | Array, labels: Labels, classes: int, parts: SplitSpec
) -> Iterator[DataSpec]:
    """Yield the spec by which training finds these arrays, without a file, while the block runs.

    images: (N, C, H, W) uint8, or float32 whose 255 enters the net as 1, as a byte's does; labels:
    (N,) int64 from 0. The spec's digest names the set in this process alone: it says nothing of
    its content. Raises InputError where the split leaves no training image.
    """
    channels, height, width = shape = images.shape[1:]
    form = ImageForm(channels=channels, height=height, width=width)
    about = About(name="in memory", class_names=numbered_classes(classes), form=form)
    digest = f"in memory {next(_numbers)}"
    spec = DataSpec(folder="", digest=digest, image_shape=shape, classes=classes, **parts.split)
    chosen, held = split(labels, spec), cast(Images, images)
    prepared = Prepared(held, labels, about, digest)
    _held[digest] = Data(prepared, held, chosen.train, chosen.valid)
    try:
        yield spec
    finally:
        del _held[digest]


def data_of(spec: DataSpec) -> Data:
    """Open and split the data; raise InputError where they are not what the spec says."""
    if spec.digest in _held:
        return _held[spec.digest]
    prepared = open_prepared(spec.folder, spec.digest)
    if prepared.image_shape != tuple(spec.image_shape) or prepared.classes != spec.classes:
        found = f"{prepared.image_shape} with {prepared.classes} classes"
        raise InputError(
            f"{spec.folder}: images must be {tuple(spec.image_shape)} with {spec.classes} classes, "
            f"got {found}"
        )
    images = prepared.images
    if spec.valid_folder is not None and spec.valid_digest is not None:
        disturbed = open_prepared(spec.valid_folder, spec.valid_digest)
        if disturbed.images.shape != images.shape or not np.array_equal(
            disturbed.labels, prepared.labels
        ):
            raise InputError(
                f"{spec.valid_folder}: must hold the images of {spec.folder} in the same order, "
                f"got {disturbed.images.shape}"
            )
        images = disturbed.images
    chosen = split_of(replace(spec, valid_folder=None, valid_digest=None))
    return Data(prepared, images, chosen.train, chosen.valid)


class EpochInputs:
    """An epoch's batches, and what their images enter the net as: augmented where the spec says so.

    Each part of the batches (``train.shards``) has a random stream of its own.
    """

    def __init__(self, spec: Spec, data: Data, epoch: int) -> None:
        self._spec, self._data, self._epoch = spec, data, epoch
        self._augmentation = make_augmentation(spec.augment)
        self._rngs = [
            stream(spec.seed, "augment", epoch, part) for part in range(spec.train.shards)
        ]

    def batches(self, steps: int) -> Iterator[Indices]:
        """Yield the images of each of so many batches."""
        train, rng = self._spec.train, stream(self._spec.seed, "shuffle", self._epoch)
        return epoch_batches(self._data.train, train.batch_size, steps, train.sampling, rng)

    def __call__(self, chosen: Indices, part: int, batcher: Batcher) -> tuple[Array, Labels]:
        """Return inputs (C, H, W, N) and labels of the images; the input array is overwritten by
        the batcher's next use.
        """
        images, labels = rows_of(self._data.prepared.images, chosen), self._data.labels[chosen]
        if not self._augmentation.changes_images:
            return batcher(images), labels
        out = batcher.take(len(chosen))
        return augment(images, self._augmentation, self._rngs[part], out), labels
