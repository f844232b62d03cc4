"""A net as layers in order: build, forward, backward, and its parameters by name."""

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Images, Shape
from cnn_core.data.splits import Batcher
from cnn_core.errors import InputError
from cnn_core.layers.layer import Layer
from cnn_core.losses import softmax
from cnn_core.streams import stream

# Abbreviations of kinds in the layers' names.
SHORT_NAMES = {
    "convolution": "conv",
    "max_pooling": "pool",
    "average_pooling": "pool",
    "lp_pooling": "pool",
    "batch_norm": "norm",
    "moment_normalization": "frame",
}

Observer = Callable[[Layer, Array], None]


class Sequential:
    """Layers in order, with unique names (conv1, relu1, pool1, ...); the last one's outputs are
    logits, (classes, N).

    `params`, `grads` and `buffers` are flat views by name, such as ``conv1.W``: the arrays that the
    layers use, not copies. Layers that already have a name (a `name` other than the kind) keep it.
    """

    _inference: "Sequential | None" = None  # the copy that predicts, made when it is first needed

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)
        self.image_shape: Shape = ()
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        counts: Counter[str] = Counter()
        for layer in self.layers:
            short = SHORT_NAMES.get(layer.kind, layer.kind)
            counts[short] += 1
            if layer.name == layer.kind:
                layer.name = f"{short}{counts[short]}"

    def build(
        self, image_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32
    ) -> "Sequential":
        """Draw the parameters for images of that shape, (C, H, W), and return self; raise
        InputError where a layer does not fit.
        """
        self.image_shape = shape = tuple(image_shape)
        for layer in self.layers:
            shape = layer.build(shape, rng, dtype)
        self.collect()
        return self

    def collect(self) -> None:
        """Gather the flat views, and skip the input gradient where no earlier layer has parameters.

        Raises InputError where a layer without a derivative follows one with parameters.
        """
        self.params = {
            f"{layer.name}.{key}": p for layer in self.layers for key, p in layer.params.items()
        }
        self.grads = {
            f"{layer.name}.{key}": g for layer in self.layers for key, g in layer.grads.items()
        }
        self.buffers = {
            f"{layer.name}.{key}": b for layer in self.layers for key, b in layer.buffers.items()
        }
        learned_before = ""
        for layer in self.layers:
            layer.needs_input_gradient = bool(learned_before)
            if learned_before and not layer.differentiable:
                rule = "must stand before all layers that learn, since it has no derivative"
                raise InputError(
                    f'{layer.kind} "{layer.name}": {rule}, got it behind "{learned_before}"'
                )
            learned_before = layer.name if layer.params else learned_before
        self._inference = None

    def adapt(self, x: Array) -> None:
        """Let every layer take from a sample of training inputs (C, H, W, N) what it does not
        learn, in order; layers behind the last that does are not computed.
        """
        adapting = [
            k for k, layer in enumerate(self.layers) if type(layer).adapt is not Layer.adapt
        ]
        for layer in self.layers[: max(adapting, default=-1) + 1]:
            layer.adapt(x)
            x = layer.forward(x, training=False)

    def inference_copy(self) -> "Sequential":
        """Return a copy that predicts while the net is trained: parameters and statistics are
        shared, working memory is not.
        """
        made = copy.copy(self)
        made.layers = [layer.inference_copy() for layer in self.layers]
        return made

    def forward(self, x: Array, *, training: bool, observe: Observer | None = None) -> Array:
        """Return logits (classes, N) of x (C, H, W, N); `observe` sees each layer and output."""
        for layer in self.layers:
            x = layer.forward(x, training=training)
            if observe is not None:
                observe(layer, x)
        return x

    def backward(self, dlogits: Array) -> None:
        """Write all `grads` for the x of the last ``forward(training=True)``; dlogits may be
        overwritten.
        """
        dy = dlogits
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
            if layer.params and not layer.needs_input_gradient:
                return

    def load(self, params: Mapping[str, Array], buffers: Mapping[str, Array]) -> None:
        """Copy parameters and buffers in; raise ValueError unless names and shapes are exactly the
        net's.
        """
        for kind, mine, given in (
            ("parameters", self.params, params),
            ("buffers", self.buffers, buffers),
        ):
            if mine.keys() != given.keys():
                different = sorted(mine.keys() ^ given.keys())
                raise ValueError(
                    f"model: {kind} must be those of this net, the names differ in "
                    f"{', '.join(different[:6])}"
                )
            for name, array in mine.items():
                if array.shape != given[name].shape:
                    raise ValueError(
                        f"model: {name} must have shape {array.shape}, got {given[name].shape}"
                    )
        for mine, given in ((self.params, params), (self.buffers, buffers)):
            for name, array in mine.items():
                array[...] = given[name]

    def reseed(self, seed: tuple[int, ...], epoch: int, part: int = 0) -> None:
        """Give every layer its random stream for the epoch (dropout), distinguished by the layer's
        position, and by the part of the batches that this net computes.
        """
        for index, layer in enumerate(self.layers, part * len(self.layers)):
            layer.reseed(stream(seed, "dropout", epoch, index))

    def predict_proba(self, images: Images, batch_size: int = 100) -> Array:
        """Return softmax probabilities, (N, classes) float32, of uint8 images (N, C, H, W), batch
        by batch; dropout is off.

        The inference copy computes them, so a prediction between a forward and its backward changes
        neither the gradients nor the size of training's working memory.
        """
        channels, height, width = self.image_shape
        if images.ndim != 4 or images.shape[1:] != self.image_shape:
            raise ValueError(
                f"model: images must be (N, {channels}, {height}, {width}), got {images.shape}"
            )
        if images.dtype != np.uint8:  # fractions in [0, 1] would be divided by 255 once more
            raise ValueError(f"model: images must be uint8 from 0 to 255, got {images.dtype}")
        if len(images) == 0:
            return np.empty((0, prod(self.layers[-1].out_shape)), np.float32)
        dtype = next(iter(self.params.values())).dtype if self.params else np.dtype(np.float32)
        batcher = Batcher((channels, height, width), dtype)
        if self._inference is None:
            self._inference = self.inference_copy()
        forward = self._inference.forward
        starts = range(0, len(images), batch_size)
        parts = [
            softmax(forward(batcher(images[at : at + batch_size]), training=False)).T
            for at in starts
        ]
        probabilities: Array = np.concatenate(parts).astype(np.float32, copy=False)
        return probabilities

    def parameter_count(self) -> int:
        """Return the number of learned values."""
        return sum(p.size for p in self.params.values())

    def multiply_adds(self) -> int:
        """Return the multiply-adds of one image's forward pass by the direct algorithm."""
        return sum(layer.multiply_adds() for layer in self.layers)

    def summary(self) -> str:
        """Return the table of layers: filters, padding, activation shape (H x W x C), activation
        size, parameters.
        """
        return _align([list(COLUMNS), *self.summary_rows()])

    def summary_rows(self) -> list[list[str]]:
        """Return the cells of `summary`, a row a layer, in the order of `COLUMNS`."""
        return _summary_rows(self.image_shape, self.layers)


COLUMNS = ("layer", "filters", "padding", "activation shape", "activation size", "parameters")


def _summary_rows(image_shape: Shape, layers: Sequence[Layer]) -> list[list[str]]:
    """Return a row a layer and the total; a layer without parameters that keeps the shape (ReLU,
    dropout) is named in the row of the one before it.
    """
    rows: list[list[str]] = [["input", "", "", *_shape_and_size(image_shape), "0"]]
    shape = tuple(image_shape)
    for layer in layers:
        count = sum(p.size for p in layer.params.values())
        if count == 0 and layer.out_shape == shape:
            rows[-1][0] += f" + {_title(layer, layer.describe())}"
        else:
            about = layer.describe()
            rows.append(
                [
                    _title(layer, about),
                    _filters(about),
                    _padding(about),
                    *_shape_and_size(layer.out_shape),
                    f"{count:,}",
                ]
            )
        shape = layer.out_shape
    rows[-1][0] += " + softmax"
    total = sum(p.size for layer in layers for p in layer.params.values())
    rows.append(["total", "", "", "", "", f"{total:,}"])
    return rows


def _title(layer: Layer, about: dict[str, Any]) -> str:
    size = about.get("kernel") or about.get("size")
    if size:
        return f"{layer.name} {size[0]}x{size[1]}"
    if "frame" not in about:
        return layer.name
    return f"{layer.name} ({about['frame']}{' beside the image' if about['beside'] else ''})"


def _filters(about: dict[str, Any]) -> str:
    return str(about.get("filters", ""))


def _padding(about: dict[str, Any]) -> str:
    padding = about.get("padding", "")
    return "x".join(map(str, padding)) if isinstance(padding, tuple) else str(padding)


def _shape_and_size(shape: Shape) -> tuple[str, str]:
    """Write (C, H, W) as HxWxC, and the number of values."""
    text = f"{shape[1]}x{shape[2]}x{shape[0]}" if len(shape) == 3 else "x".join(map(str, shape))
    return text, f"{prod(shape):,}"


def _align(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = [
            row[i].ljust(widths[i]) if i < 3 else row[i].rjust(widths[i])
            for i in range(len(COLUMNS))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
