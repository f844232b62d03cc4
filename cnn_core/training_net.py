"""A net for training, whose arrays a process keeps between epochs.

A worker runs many epochs of many trials; allocating the net again each time would cost more than a
short epoch. Nothing here carries information from one epoch to the next: parameters, buffers and
streams are set from the state at every start, which `tests/core/test_training.py` checks bit for
bit.
"""

import threading
from collections.abc import Iterator

import numpy as np

from cnn_core.architectures import build_model
from cnn_core.axes import Array, Images, Indices, Labels, Shape
from cnn_core.cores import beside, free_cores
from cnn_core.data.pages import rows_of
from cnn_core.data.splits import Batcher
from cnn_core.fused.fuse import fuse
from cnn_core.kernels.workspace import Workspace
from cnn_core.losses import correct_count, softmax, softmax_cross_entropy
from cnn_core.measures import measured, metric_of
from cnn_core.model import Sequential
from cnn_core.replicas import Replicas
from cnn_core.spec import ModelSpec, Spec
from cnn_core.streams import stream
from cnn_core.train_spec import TrainSpec
from cnn_core.training_data import Data

INFERENCE_BATCH = 100


def inference_batches(indices: Indices) -> list[Indices]:
    """Return the indices in batches of `INFERENCE_BATCH`; the last may be smaller."""
    return [indices[at : at + INFERENCE_BATCH] for at in range(0, len(indices), INFERENCE_BATCH)]


def cores_of(train: TrainSpec) -> int:
    """Return how many cores a training uses here; one where its batches are not cut, since parts
    of small nets cost time (docs/LOG.md, Speed: whole steps).
    """
    return min(train.shards, train.threads or free_cores())


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
