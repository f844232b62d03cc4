"""Batch normalisation."""

from math import prod
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.layers.layer import Arrays, GraphWriter, Layer, Operation, array_shape


class BatchNormalization(Layer):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, for each channel of (C, H, W, N) or each
    feature of (D, N).

    Training takes mean and (biased) variance of the batch and moves `running_mean` and
    `running_var` towards them, ``running <- momentum running + (1 - momentum) batch``; inference
    uses those. Source: Ioffe and Szegedy (2015); they correct the running variance by M / (M - 1),
    we do not. A batch of one value per channel has no variance: y is beta, and the running
    statistics stay.
    """

    kind = "batch_norm"
    operation = "scale_shift"

    def __init__(self, momentum: float = 0.9, eps: float = 1e-5) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise InputError(f"batch_norm: momentum must be at least 0 and below 1, got {momentum}")
        if not eps > 0:
            raise InputError(f"batch_norm: eps must be above 0, got {eps}")
        self.momentum = momentum
        self.eps = eps

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        channels = in_shape[0]
        self.params = {"gamma": np.ones(channels, dtype), "beta": np.zeros(channels, dtype)}
        self.grads = {name: np.zeros_like(value) for name, value in self.params.items()}
        self.buffers = {
            "running_mean": np.zeros(channels, dtype),
            "running_var": np.ones(channels, dtype),
        }
        return super().build(in_shape, rng, dtype)

    def forward(self, x: Array, *, training: bool) -> Array:
        flat = x.reshape(x.shape[0], -1)
        mean, var = self.buffers["running_mean"], self.buffers["running_var"]
        if training:
            mean, var = flat.mean(axis=1), flat.var(axis=1)
            self.move_running(mean, var, flat.shape[1])
        self.inverse = 1 / np.sqrt(var + self.eps)
        normal = self._workspace.take("normal", flat.shape, x.dtype)
        np.subtract(flat, mean[:, None], out=normal)
        normal *= self.inverse[:, None]
        y = self._workspace.take("y", flat.shape, x.dtype)
        np.multiply(normal, self.params["gamma"][:, None], out=y)
        y += self.params["beta"][:, None]
        return y.reshape(x.shape)

    def move_running(self, mean: Array, var: Array, count: int) -> None:
        """Move the running statistics towards those of a batch with `count` values per channel,
        unless that is 1.
        """
        if count == 1:
            return
        for name, value in (("running_mean", mean), ("running_var", var)):
            self.buffers[name] *= self.momentum
            self.buffers[name] += (1 - self.momentum) * value

    def backward(self, dy: Array) -> Array:
        flat = dy.reshape(dy.shape[0], -1)
        normal = self._workspace.take("normal", flat.shape, dy.dtype)
        np.sum(flat, axis=1, out=self.grads["beta"])
        self.grads["gamma"][...] = np.vecdot(flat, normal)
        # dx = gamma / sigma * (dy - mean(dy) - normal * mean(dy * normal))
        count = flat.shape[1]
        dx = self._workspace.take("dx", flat.shape, dy.dtype)
        np.multiply(normal, (-self.grads["gamma"] / count)[:, None], out=dx)
        dx += flat
        dx -= (self.grads["beta"] / count)[:, None]
        dx *= (self.params["gamma"] * self.inverse)[:, None]
        return dx.reshape(dy.shape)

    def describe(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "eps": self.eps}

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return y = s x + t with s = gamma / sqrt(var + eps) and t = beta - mean s."""
        scale = self.params["gamma"] / np.sqrt(self.buffers["running_var"] + self.eps)
        shift = self.params["beta"] - self.buffers["running_mean"] * scale
        names = {key: f"{self.name}.{key}" for key in ("scale", "shift")}
        arrays = {
            names["scale"]: scale.astype(np.float32),
            names["shift"]: shift.astype(np.float32),
        }
        return {"op": self.operation, "flat": len(self.in_shape) == 1, **names}, arrays

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        for key in ("scale", "shift"):
            array_shape(op, key, arrays, shape[:1])
        if op.get("flat") is not (len(shape) == 1):
            raise InputError(f"{op['op']}: flat must say whether the input is flat, got {shape}")
        return shape, 2 * prod(shape)

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        shape = (-1,) + (1,) * (x.ndim - 1)
        return x * arrays[op["scale"]].reshape(shape) + arrays[op["shift"]].reshape(shape)

    @classmethod
    def add_nodes(cls, writer: GraphWriter, x: str, op: Operation, arrays: Arrays) -> str:
        shape = (-1,) if op["flat"] else (-1, 1, 1)
        scale, shift = (
            writer.constant(op[key], arrays[op[key]].reshape(shape)) for key in ("scale", "shift")
        )
        return writer.add("Add", writer.add("Mul", x, scale), shift)
