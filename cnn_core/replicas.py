"""Data parallelism: a batch is cut into equal parts, and each part's gradient is computed in a
replica of the net of its own, side by side where there are cores.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from cnn_core.axes import Array, Indices, Labels
from cnn_core.cores import Run, beside, shared_copy
from cnn_core.data.splits import Batcher
from cnn_core.fused.fuse import fuse
from cnn_core.kernels.workspace import Workspace, small_conversions
from cnn_core.layers import Layer
from cnn_core.losses import correct_count
from cnn_core.model import Sequential
from cnn_core.regularizers import global_norm

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


Part = tuple[int, Indices, float, bool]  # its number, images, share of the batch; observed?
# Return what a batch gave, after its gradient was written; the flag is whether it is observed.
Gradients = Callable[[Indices, bool], Outcome]


class Replicas:
    """The gradient g of a batch B, the mean over its images, from S parts of equal size up to one
    image: ``g = sum over s of |B_s| / |B| g_s``.

    The sum is taken in the order of the parts, whatever process computed them, so the number of
    processes does not change a bit. The number of parts does: products have other shapes, dropout
    and augmentation draw each part from a stream of its own, and batch normalisation takes each
    part's own statistics (ghost batch normalisation, Hoffer et al. 2017), whose running means are
    averaged like the gradient. With one part the net itself works.
    """

    def __init__(
        self, plain: Sequential, fused: Sequential, batcher: Batcher, shards: int, processes: int
    ) -> None:
        self._plain, self.shards, self.processes = plain, shards, processes
        if shards == 1:
            self._replicas = [Replica(fused, batcher, 0)]
            return
        channels, height, width = plain.image_shape
        self._moving = {
            f"{layer.name}.{key}": array
            for layer in plain.layers
            if layer.moves_buffers
            for key, array in layer.buffers.items()
        }
        # what the net has learnt before a batch, for all processes to read
        self._params, self._buffers = (
            {name: shared_copy(array) for name, array in arrays.items()}
            for arrays in (plain.params, plain.buffers)
        )
        self._replicas = [
            Replica(
                fuse(replicated(plain, self._params)),
                Batcher((channels, height, width), batcher.dtype),
                part,
            )
            for part in range(shards)
        ]

    @contextmanager
    def epoch(
        self, seed: tuple[int, ...], epoch: int, inputs: Inputs, loss_of: Loss
    ) -> Iterator[Gradients]:
        """Yield what computes the gradients of the epoch's batches: it writes the net's `grads`,
        and moves its running statistics; with `observed` the outcome tells the layers' outputs.
        Where a loss is not finite, nothing is written.

        Every replica gets its random streams for the epoch (dropout). Other processes than this one
        live as long as the block.
        """
        for replica in self._replicas:
            replica.fused.reseed(seed, epoch, replica.part)

        if self.shards == 1:
            whole = self._replicas[0]
            yield lambda batch, observed: whole.gradients(batch, 1.0, inputs, loss_of, observed)
            return

        def compute(part: Part) -> Outcome:
            number, images, share, observed = part
            replica = self._replicas[number]
            _copy(self._buffers, replica.fused.buffers)
            return replica.gradients(images, share, inputs, loss_of, observed)

        with beside(compute, self.processes) as run:
            yield partial(self._gradients, run)

    def _gradients(self, run: Run[Part, Outcome], batch: Indices, observed: bool) -> Outcome:
        parts = [part for part in np.array_split(batch, self.shards) if len(part)]
        shares = [len(part) / len(batch) for part in parts]
        _copy(self._plain.params, self._params)
        _copy(self._plain.buffers, self._buffers)
        numbers = range(len(parts))
        outcomes = run([(s, parts[s], shares[s], observed) for s in numbers])
        whole = _together(outcomes, shares)
        if math.isfinite(whole.loss):
            used = [replica.fused for replica in self._replicas[: len(parts)]]
            _add_up(self._plain.grads, [net.grads for net in used])
            _average(self._moving, [net.buffers for net in used], shares)
        return whole


def replicated(plain: Sequential, params: Mapping[str, Array]) -> Sequential:
    """Return a copy of a built net on other parameters; its gradients and running statistics are in
    memory that processes forked later share, its working memory is its own.
    """
    made = copy.copy(plain)
    made.layers = []
    for layer in plain.layers:
        known: dict[int, object] = {
            id(array): shared_copy(array)
            for arrays in (layer.grads, layer.buffers)
            for array in arrays.values()
        }
        known |= {id(array): params[f"{layer.name}.{key}"] for key, array in layer.params.items()}
        known[id(layer._workspace)] = Workspace()
        made.layers.append(copy.deepcopy(layer, known))
    made.collect()
    return made


def _copy(source: Mapping[str, Array], target: Mapping[str, Array]) -> None:
    for name, array in target.items():
        array[...] = source[name]


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
