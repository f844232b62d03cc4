"""Layer fusion: the same net, with the same parameters, in fewer passes over memory.

Runs of layers that are fused, each shown equal to the plain ones up to rounding by
tests/core/test_fusion.py:

- convolution [- ReLU] [- max pooling] in either order [- flatten] [- dropout]  ->
  `ConvolutionBlock`
- convolution - batch normalisation [- ReLU] [- max pooling] in either order  ->  `NormalizedBlock`,
  where the windows cover the image; `FirstNormalizedBlock`, where moreover no layer before it has
  parameters

Everything else stays as it is.
"""

from collections.abc import Sequence
from itertools import pairwise

from cnn_core.fused.block import ConvolutionBlock
from cnn_core.fused.normalized import FirstNormalizedBlock, NormalizedBlock, can_use_moments
from cnn_core.layers import (
    BatchNormalization,
    Convolution,
    Dropout,
    Flatten,
    Layer,
    MaxPooling,
    ReLU,
)
from cnn_core.model import Sequential


class FusedSequential(Sequential):
    """A Sequential of fused layers; parameters, gradients, buffers and random streams are the
    original's.
    """

    def __init__(self, original: Sequential, layers: Sequence[Layer]) -> None:
        self.original = original
        self.layers = list(layers)
        self.image_shape = original.image_shape
        self.params, self.grads, self.buffers = original.params, original.grads, original.buffers

    def reseed(self, seed: tuple[int, ...], epoch: int, part: int = 0) -> None:
        self.original.reseed(seed, epoch, part)

    def inference_copy(self) -> Sequential:
        return fuse(self.original.inference_copy())

    def summary(self) -> str:
        return self.original.summary()


def fuse(model: Sequential) -> FusedSequential:
    """Return the built model with runs of its layers fused; arrays are shared, so loading into one
    loads into both.
    """
    fused: list[Layer] = []
    rest = list(model.layers)
    while rest:
        layers, used = _join(rest)
        fused += layers
        rest = rest[used:]
    for before, after in pairwise(fused):
        if isinstance(before, ConvolutionBlock) and isinstance(after, ConvolutionBlock):
            before.y_by_rows = after.dx_by_rows = True
    return FusedSequential(model, fused)


def _join(layers: Sequence[Layer]) -> tuple[list[Layer], int]:
    """Return what replaces the first layers, and how many it replaces."""
    first = layers[0]
    if not isinstance(first, Convolution):
        return [first], 1
    norm = layers[1] if len(layers) > 1 and isinstance(layers[1], BatchNormalization) else None
    used, relu, pooling = 1 + (norm is not None), False, None
    while used < len(layers):
        layer = layers[used]
        if isinstance(layer, ReLU) and not relu:
            relu = True
        elif (
            isinstance(layer, MaxPooling)
            and pooling is None
            and _tiles(layer, wholly=norm is not None)
        ):
            pooling = layer
        else:
            break
        used += 1
    if norm is not None:
        block_type = FirstNormalizedBlock if can_use_moments(first) else NormalizedBlock
        return [block_type(first, norm, pooling, relu)], used
    if not relu and pooling is None:
        return [first], 1
    flatten = [layer for layer in layers[used : used + 1] if isinstance(layer, Flatten)]
    after = layers[used + len(flatten) :][:1]
    dropout = (
        after[0]
        if relu and after and isinstance(after[0], Dropout) and after[0].threshold
        else None
    )
    block = ConvolutionBlock(
        first, pooling, relu, dropout if isinstance(dropout, Dropout) else None
    )
    return [block, *flatten], used + len(flatten) + (dropout is not None)


def _tiles(pooling: MaxPooling, wholly: bool) -> bool:
    """Tell whether the windows lie side by side without padding, and, if `wholly`, leave no pixel
    out.
    """
    (height, width), (rows, columns) = pooling.window.size, pooling.size
    return (
        pooling.stride == pooling.size
        and not any(pooling.window.padding)
        and not (wholly and (height % rows or width % columns))
    )
