"""Data parallelism: a batch is cut into equal parts, and each part's gradient is computed in a
replica of the net of its own, side by side where there are cores.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cnn_core.axes import Array, Indices, Labels
from cnn_core.data.splits import Batcher
from cnn_core.fused.fuse import fuse
from cnn_core.kernels.workspace import Workspace, small_conversions
from cnn_core.layers import Layer
from cnn_core.losses import correct_count
from cnn_core.model import Sequential
from cnn_core.regularizers import global_norm
from cnn_core.threads import Crew

# Return the inputs (C, H, W, N) and labels of a part's images, given its number and its batcher.
Inputs = Callable[[Indices, int, Batcher], tuple[Array, Labels]]
Loss = Callable[[Array, Labels], tuple[float, Array]]


@dataclass
class Outcome:
    """What a batch, or a part of one, gave beside its gradient."""

    images: int = 0
    loss: float = 0.0  # the mean over the images
    correct: int = 0
    # of each layer that learns, where it was asked for: length and number of its outputs' values
    outputs: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    @property
    def activation_norms(self) -> dict[str, float]:
        """The root mean square of each observed layer's output, by the layer's name."""
        return {
            name: math.hypot(*(norm for norm, _ in found))
            / math.sqrt(sum(size for _, size in found))
            for name, found in self.outputs.items()
        }


class Replica:
    """A fused net that computes the gradient of one part of every batch."""

    def __init__(self, fused: Sequential, batcher: Batcher, part: int) -> None:
        self.fused, self.batcher, self.part = fused, batcher, part

    def gradients(
        self, images: Indices, share: float, inputs: Inputs, loss_of: Loss, observed: bool
    ) -> Outcome:
        """Write `share` times the gradient of the images' mean loss; nothing where the loss is not
        finite.
        """
        x, labels = inputs(images, self.part, self.batcher)
        with small_conversions():
            return self._gradients(x, labels, share, loss_of, observed)

    def _gradients(
        self, x: Array, labels: Labels, share: float, loss_of: Loss, observed: bool
    ) -> Outcome:
        outcome = Outcome(len(labels))

        def observe(layer: Layer, output: Array) -> None:
            if layer.params:
                outcome.outputs[layer.name] = [(global_norm([output]), output.size)]

        logits = self.fused.forward(x, training=True, observe=observe if observed else None)
        outcome.loss, dlogits = loss_of(logits, labels)
        outcome.correct = correct_count(logits, labels)
        if math.isfinite(outcome.loss):
            if share != 1:
                dlogits *= share
            self.fused.backward(dlogits)
        return outcome


class Replicas:
    """The gradient g of a batch B, the mean over its images, from S parts of equal size up to one
    image: ``g = sum over s of |B_s| / |B| g_s``.

    The sum is taken in the order of the parts, whatever thread computed them, so the number of
    threads does not change a bit. The number of parts does: products have other shapes, dropout and
    augmentation draw each part from a stream of its own, and batch normalisation takes each part's
    own statistics (ghost batch normalisation, Hoffer et al. 2017), whose running means are averaged
    like the gradient. All replicas share the net's parameters; with one part the net itself works.
    """

    def __init__(
        self, plain: Sequential, fused: Sequential, batcher: Batcher, shards: int, threads: int
    ) -> None:
        self._plain, self.shards, self.threads = plain, shards, threads
        self._crew = Crew(threads)
        if shards == 1:
            self._replicas = [Replica(fused, batcher, 0)]
            return
        channels, height, width = plain.image_shape
        self._replicas = [
            Replica(fuse(replicated(plain)), Batcher((channels, height, width), batcher.dtype), s)
            for s in range(shards)
        ]

    def reseed(self, seed: tuple[int, ...], epoch: int) -> None:
        """Give every replica its random streams for the epoch (dropout)."""
        for replica in self._replicas:
            replica.fused.reseed(seed, epoch, replica.part)

    def gradients(
        self, batch: Indices, inputs: Inputs, loss_of: Loss, observed: bool = False
    ) -> Outcome:
        """Write the net's `grads`, and move its running statistics; with `observed` the outcome
        tells the layers' outputs. Where a loss is not finite, nothing is written.
        """
        if len(self._replicas) == 1:
            return self._replicas[0].gradients(batch, 1.0, inputs, loss_of, observed)
        parts = [part for part in np.array_split(batch, len(self._replicas)) if len(part)]
        shares = [len(part) / len(batch) for part in parts]

        def compute(_: int, s: int) -> Outcome:
            replica = self._replicas[s]
            _copy(self._plain.buffers, replica.fused.buffers)
            return replica.gradients(parts[s], shares[s], inputs, loss_of, observed)

        outcomes = self._crew.run(compute, range(len(parts)))
        whole = _together(outcomes, shares)
        if math.isfinite(whole.loss):
            used = [replica.fused for replica in self._replicas[: len(parts)]]
            _add_up(self._plain.grads, [net.grads for net in used])
            _average(self._plain.buffers, [net.buffers for net in used], shares)
        return whole


def replicated(plain: Sequential) -> Sequential:
    """Return a copy of a built net that shares its parameters and nothing else: gradients, running
    statistics and working memory are its own.
    """
    made = copy.copy(plain)
    made.layers = []
    for layer in plain.layers:
        known: dict[int, object] = {id(p): p for p in layer.params.values()}
        known[id(layer._workspace)] = Workspace()
        made.layers.append(copy.deepcopy(layer, known))
    made.collect()
    return made


def _copy(source: Mapping[str, Array], target: Mapping[str, Array]) -> None:
    for name, array in source.items():
        target[name][...] = array


def _add_up(total: Mapping[str, Array], parts: Sequence[Mapping[str, Array]]) -> None:
    for name, array in total.items():
        np.copyto(array, parts[0][name])
        for part in parts[1:]:
            array += part[name]


def _average(
    mean: Mapping[str, Array], parts: Sequence[Mapping[str, Array]], shares: Sequence[float]
) -> None:
    for name, array in mean.items():
        array.fill(0)
        for part, share in zip(parts, shares, strict=True):
            array += share * part[name]


def _together(outcomes: Sequence[Outcome], shares: Sequence[float]) -> Outcome:
    whole = Outcome(
        images=sum(outcome.images for outcome in outcomes),
        loss=sum(share * part.loss for share, part in zip(shares, outcomes, strict=True)),
        correct=sum(outcome.correct for outcome in outcomes),
    )
    for outcome in outcomes:
        for name, found in outcome.outputs.items():
            whole.outputs.setdefault(name, []).extend(found)
    return whole
