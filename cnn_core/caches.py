"""What a process keeps between epochs: the net's arrays, the mapped images, the split.

A worker runs many epochs of many trials; opening data, splitting and allocating the net again each
time would cost more than a short epoch. Nothing here carries information from one epoch to the
next: parameters, buffers and streams are set from the state at every start, which
`tests/core/test_training.py` checks bit for bit.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import cast

import numpy as np

from cnn_core.architectures import build_model
from cnn_core.augmentation import AugmentSpec, augment, augment_type
from cnn_core.axes import Array, Images, Indices, Labels, Shape
from cnn_core.cores import beside, free_cores
from cnn_core.data.about import About, numbered_classes
from cnn_core.data.image_form import ImageForm
from cnn_core.data.pages import rows_of
from cnn_core.data.prepared import Prepared, open_prepared
from cnn_core.data.splits import Batcher, epoch_batches, split, split_of, subset
from cnn_core.errors import InputError
from cnn_core.fused.fuse import fuse
from cnn_core.kernels.workspace import Workspace
from cnn_core.losses import correct_count, softmax, softmax_cross_entropy
from cnn_core.measures import measured, metric_of
from cnn_core.model import Sequential
from cnn_core.replicas import Replicas
from cnn_core.spec import DataSpec, ModelSpec, Scalar, Spec, SplitSpec
from cnn_core.streams import stream
from cnn_core.train_spec import TrainSpec

INFERENCE_BATCH = 100


def inference_batches(indices: Indices) -> list[Indices]:
    """Return the indices in batches of `INFERENCE_BATCH`; the last may be smaller."""
    return [indices[at : at + INFERENCE_BATCH] for at in range(0, len(indices), INFERENCE_BATCH)]


def cores_of(train: TrainSpec) -> int:
    """Return how many cores a training uses here; one where its batches are not cut, since parts
    of small nets cost time (docs/LOG.md, Speed: whole steps).
    """
    return min(train.shards, train.threads or free_cores())


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


class TrainingNet:
    """A net for training: its plain layers, and the fused ones that run on the same arrays."""

    def __init__(
        self, spec: ModelSpec, image_shape: Shape, classes: int, seed: tuple[int, ...]
    ) -> None:
        self.plain: Sequential = build_model(spec, image_shape, classes, stream(seed, "init"))
        self.fused = fuse(self.plain)
        self.work = Workspace()  # for the regularizers
        channels, height, width = image_shape
        self.batcher = Batcher((channels, height, width))
        self._replicas: Replicas | None = None

    def replicas(self, train: TrainSpec) -> Replicas:
        """Return what computes the gradients of batches in a training's parts."""
        kept, wanted = self._replicas, (train.shards, cores_of(train))
        if kept is None or (kept.shards, kept.processes) != wanted:
            kept = Replicas(self.plain, self.fused, self.batcher, *wanted)
            self._replicas = kept
        return kept

    def logits(self, images: Images, indices: Indices) -> Iterator[tuple[Indices, Array]]:
        """Yield the indices in batches of `INFERENCE_BATCH`, each with the logits (classes, N) of
        its images, in inference mode.
        """
        for batch in inference_batches(indices):
            yield batch, self._logits(images, batch)

    def _logits(self, images: Images, batch: Indices) -> Array:
        return self.fused.forward(self.batcher(rows_of(images, batch)), training=False)

    def evaluate(
        self,
        images: Images,
        labels: Labels,
        indices: Indices,
        cores: int = 1,
        kept: list[Array] | None = None,
    ) -> tuple[float, float]:
        """Return mean cross-entropy (no smoothing, no penalty) and accuracy of those images, in
        inference mode; the logits (N, classes) of each batch are appended to `kept`.

        Each batch of `INFERENCE_BATCH` is computed alike in any process.
        """

        def judge(batch: Indices) -> tuple[float, int, Array | None]:
            logits = self._logits(images, batch)
            loss, _ = softmax_cross_entropy(logits, labels[batch])
            copied = None if kept is None else logits.T.copy()
            return loss * len(batch), correct_count(logits, labels[batch]), copied

        with beside(judge, cores) as run:
            judged = run(inference_batches(indices))
        if kept is not None:
            kept += [logits for *_, logits in judged if logits is not None]
        total, correct = (sum(each) for each in zip(*((t, c) for t, c, _ in judged), strict=True))
        return total / len(indices), correct / len(indices)

    def validate(self, spec: Spec, data: Data, chosen: Indices) -> dict[str, float]:
        """Return loss, accuracy and, where it is another one, the contest's measure."""
        labels, parts = data.labels, list[Array]() if spec.measure != "accuracy" else None
        loss, accuracy = self.evaluate(
            data.valid_images, labels, chosen, cores_of(spec.train), parts
        )
        found = {"valid_loss": loss, "valid_accuracy": accuracy}
        if parts:
            probabilities = softmax(np.concatenate(parts), axis=1)
            value = measured(spec.measure, probabilities, labels[chosen], spec.top_k)
            found[metric_of(spec.measure)] = value
        return found


class _Kept(threading.local):
    """The net that this thread used last: threads that train at once share no array."""

    def __init__(self) -> None:
        self.nets: dict[tuple[ModelSpec, Shape, int], TrainingNet] = {}


_kept = _Kept()


def net_of(
    spec: ModelSpec, image_shape: Shape, classes: int, fresh_seed: tuple[int, ...] | None = None
) -> TrainingNet:
    """Return this thread's net of that architecture; its weights are drawn from `fresh_seed` if
    given, else arbitrary.

    Only one is kept: a worker's trials differ in their nets, and a deep net's arrays are large.
    """
    key = (spec, tuple(image_shape), classes)
    nets = _kept.nets
    if fresh_seed is not None or key not in nets:
        nets.clear()
        nets[key] = TrainingNet(
            spec, tuple(image_shape), classes, fresh_seed if fresh_seed is not None else (0,)
        )
    return nets[key]


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
