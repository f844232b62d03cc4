"""A net's operations at inference, in NumPy alone: what a bundle's manifest lists, computed."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.bundle.reading import Array, Operation, moment_normalization

_BLOCK_BYTES = 512 << 10  # columns of a convolution computed at once stay in a core's cache


class Net:
    """One net: a list of operations over named arrays. Inside, the batch is the last axis."""

    def __init__(self, operations: Sequence[Operation], arrays: Mapping[str, Array]) -> None:
        self.operations = operations
        self.arrays = arrays
        self._steps = joined_relu(operations)

    def logits(self, x: Array) -> Array:
        """Return (classes, N) from (C, H, W, N)."""
        for operation in self._steps:
            x = self.apply(x, operation)
        return x

    def apply(self, x: Array, operation: Operation) -> Array:
        """Return what one operation makes of x."""
        return OPERATIONS[operation["op"]](x, operation, self.arrays)


def joined_relu(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations with each ReLU right behind a convolution made part of it, so that it
    meets the block while in cache.
    """
    steps: list[Operation] = []
    for operation in operations:
        if operation["op"] == "relu" and steps and steps[-1]["op"] == "convolution":
            steps[-1] = {**steps[-1], "relu": True}
        else:
            steps.append(operation)
    return steps


def softmax(logits: Array) -> Array:
    """Return exp(z) / sum exp(z) over the first axis, without overflow."""
    powers: Array = np.exp(logits - logits.max(axis=0))
    powers /= powers.sum(axis=0)
    return powers


def convolution(x: Array, op: Operation, arrays: Mapping[str, Array]) -> Array:
    """Correlate with W (F, C, KH, KW), add b, cut at 0 where the operation says ``relu``; by blocks
    of output rows lowered to columns.
    """
    W, b = arrays[op["W"]], arrays[op["b"]]
    filters, channels, kh, kw = W.shape
    (sy, sx), n = op["stride"], x.shape[3]
    padded = _padded(x, op["padding"], 0.0)
    oh, ow = (padded.shape[1] - kh) // sy + 1, (padded.shape[2] - kw) // sx + 1
    y = np.empty((filters, oh * ow * n), np.float32)
    rows = min(oh, max(1, _BLOCK_BYTES // ((channels * kh * kw + filters) * ow * n * 4)))
    kernels = W.reshape(filters, -1)
    buffer = np.empty(channels * kh * kw * rows * ow * n, np.float32)
    for first in range(0, oh, rows):
        count = min(rows, oh - first)
        columns = buffer[: channels * kh * kw * count * ow * n].reshape(
            channels, kh, kw, count, ow, n
        )
        for i in range(kh):
            for j in range(kw):
                above = i + first * sy
                columns[:, i, j] = padded[
                    :, above : above + (count - 1) * sy + 1 : sy, j : j + (ow - 1) * sx + 1 : sx
                ]
        part = y[:, first * ow * n : (first + count) * ow * n]
        np.matmul(kernels, columns.reshape(channels * kh * kw, -1), out=part)
        part += b[:, None]
        if op.get("relu"):
            np.maximum(part, np.float32(0), out=part)
    return y.reshape(filters, oh, ow, n)


def _padded(x: Array, padding: Sequence[int], border: float) -> Array:
    """Return x (C, H, W, N) with `padding` (top, bottom, left, right) of `border` around it; x
    itself where there is none.
    """
    if not any(padding):
        return x
    top, bottom, left, right = padding
    padded = np.full(
        (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3]),
        border,
        np.float32,
    )
    padded[:, top : top + x.shape[1], left : left + x.shape[2]] = x
    return padded


def dense(x: Array, op: Operation, arrays: Mapping[str, Array]) -> Array:
    """W x + b."""
    y: Array = arrays[op["W"]] @ x
    y += arrays[op["b"]][:, None]
    return y


def scale_shift(x: Array, op: Operation, arrays: Mapping[str, Array]) -> Array:
    """Batch normalisation at inference: one factor and one offset a channel."""
    shape = (-1,) + (1,) * (x.ndim - 1)
    return x * arrays[op["scale"]].reshape(shape) + arrays[op["shift"]].reshape(shape)


def pooling(x: Array, op: Operation, arrays: Mapping[str, Array]) -> Array:
    """Maximum, mean or power mean of each window."""
    (kh, kw), (sy, sx) = op["size"], op["stride"]
    x = _padded(x, op["padding"], -np.inf if op["kind"] == "max" else 0.0)
    oh, ow = (x.shape[1] - kh) // sy + 1, (x.shape[2] - kw) // sx + 1
    views = [
        x[:, i : i + oh * sy : sy, j : j + ow * sx : sx][:, :oh, :ow]
        for i in range(kh)
        for j in range(kw)
    ]
    if op["kind"] == "max":
        y = views[0].copy()
        for view in views[1:]:
            np.maximum(y, view, out=y)
        return y
    if op["kind"] == "average":
        mean: Array = np.stack(views).mean(axis=0)
        return mean
    stacked = np.abs(np.stack(views))
    largest = np.maximum(stacked.max(axis=0), np.finfo(np.float32).tiny)
    result: Array = (
        np.mean((stacked / largest) ** np.float32(op["p"]), axis=0) ** np.float32(1 / op["p"])
        * largest
    )
    return result


OPERATIONS: dict[str, Callable[[Array, Operation, Mapping[str, Array]], Array]] = {
    "convolution": convolution,
    "dense": dense,
    "scale_shift": scale_shift,
    "pooling": pooling,
    "moment_normalization": lambda x, op, arrays: moment_normalization(x, op),
    "global_average_pooling": lambda x, op, arrays: x.mean(axis=(1, 2)),
    "flatten": lambda x, op, arrays: x.reshape(-1, x.shape[-1]),
    "relu": lambda x, op, arrays: np.maximum(x, np.float32(0)),
    "leaky_relu": lambda x, op, arrays: np.maximum(x, x * np.float32(op["slope"])),
    "sigmoid": lambda x, op, arrays: np.float32(0.5) * (1 + np.tanh(x * np.float32(0.5))),
    "tanh": lambda x, op, arrays: np.tanh(x),
}
