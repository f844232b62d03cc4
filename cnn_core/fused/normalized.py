"""Convolution, batch normalisation, ReLU and max pooling in two passes over rows; the first
convolution of a net takes its statistics from the images' own moments.
"""

import numpy as np

from cnn_core.axes import Array
from cnn_core.fused.block import ConvolutionBlock, chained_max, route
from cnn_core.kernels.correlation import UseBlock
from cnn_core.kernels.direct import DirectCorrelation
from cnn_core.kernels.winograd import choose_correlation
from cnn_core.layers.convolution import Convolution
from cnn_core.layers.normalization import BatchNormalization
from cnn_core.layers.pooling import MaxPooling


class NormalizedBlock(ConvolutionBlock):
    """y = relu(max pool(gamma (v - mean) / sqrt(var + eps) + beta)), v = W * x + b.

    Forward takes the sums for mean and variance from each row of the convolution while it is in
    cache. The kernels of a negative gamma are used with the opposite sign (u = sign(gamma) v), so
    that the normalisation, a u + c with a >= 0, never decreases: pooling then comes first, in the
    same pass, and scale, shift and ReLU work on pooled rows. The bias cancels out and its gradient
    is zero.

    Backward needs two sums of the masked gradient g, of g and of g u, for which the pooled u
    suffice; then row by row du = a (g + p u + q), which goes straight into the gradient of the
    kernels; the factor a is left to small arrays there.

    Inference folds the normalisation into kernels and bias. The variance is E[u^2] - E[u]^2 with
    row sums in the arrays' own type added up in float64: its relative error is about 1e-7 (1 +
    mean^2 / var).
    """

    def __init__(
        self,
        convolution: Convolution,
        norm: BatchNormalization,
        pooling: MaxPooling | None,
        relu: bool,
    ) -> None:
        super().__init__(convolution, pooling, relu, None)
        self.norm = norm

    def forward(self, x: Array, *, training: bool) -> Array:
        if not training:
            running = self.norm.buffers
            return self.run(
                x, *self._folded(running["running_mean"] - self._bias(), running["running_var"])
            )
        self.sign = np.where(self.norm.params["gamma"] < 0, -1, 1).astype(x.dtype)
        u, pooled = self._u(x), self._pooled(x)
        sums = np.zeros((2, len(self.sign)))

        def use(first: int, block: Array) -> None:
            flat = block.reshape(*block.shape[:3], -1)
            for total, other in zip(sums, (self._ones(flat), flat), strict=True):
                total += np.vecdot(flat, other).sum(axis=(0, 1), dtype=np.float64)
            if self.pooling:
                routing = self._routing(x.shape[3])
                for index, windows in self._windows(first, block):
                    chained_max(windows, pooled[index], routing[index])
                    routing[index, 0, 0].fill(True)
                    route(routing[index])

        W = self.params["W"] * self.sign[:, None, None, None]
        self.correlation.forward(x, W, u, use)
        self._take_statistics(sums, u.size // len(self.sign))
        return self._scale_and_shift(x, pooled)

    def _folded(self, mean: Array, var: Array) -> tuple[Array, Array]:
        """Return kernels and bias that normalise as they convolve, given mean and variance of W *
        x.
        """
        scale = self.norm.params["gamma"] / np.sqrt(var + self.norm.eps)
        W, shift = self.params["W"], self.norm.params["beta"] - mean * scale
        return W * scale.astype(W.dtype)[:, None, None, None], shift.astype(W.dtype)

    def _take_statistics(self, sums: Array, count: int) -> None:
        """Turn the sums of u and u^2 into mean, inverse deviation, and the scale and shift of the
        normalisation.
        """
        dtype = self.sign.dtype
        mean = sums[0] / count
        var = np.maximum(sums[1] / count - mean**2, 0)
        self.count, self.mean, self.inverse = count, mean, 1 / np.sqrt(var + self.norm.eps)
        self.scale = np.abs(self.norm.params["gamma"]) * self.inverse
        self.shift = self.norm.params["beta"] - self.scale * mean
        self.norm.move_running(
            (self.sign * mean + self._bias()).astype(dtype), var.astype(dtype), count
        )

    def _scale_and_shift(self, x: Array, pooled: Array) -> Array:
        y = self._y(x)
        scale, shift = (v.astype(x.dtype)[:, None] for v in (self.scale, self.shift))
        zeros, scaled = self._zeros(x), self._row(x)
        for row in range(self.out_shape[1]):
            out = y[:, row].reshape(len(self.sign), -1)
            np.multiply(pooled[row], scale, out=scaled)
            np.add(scaled, shift, out=scaled if self.relu else out)
            if self.relu:
                np.maximum(scaled, zeros, out=out)
        return y

    def backward(self, dy: Array) -> Array:
        u, pooled, filters = self._u(dy), self._pooled(dy), len(self.sign)
        y = self._y(dy)
        sums = np.zeros((2, filters))
        for row in range(self.out_shape[1]):
            gradient = dy[:, row].reshape(filters, -1)
            if self.relu:
                self._mask(gradient, y[:, row].reshape(filters, -1))
            sums[0] += np.vecdot(gradient, self._ones(gradient))
            sums[1] += np.vecdot(gradient, pooled[row])
        along = self.inverse * (sums[1] - self.mean * sums[0])  # sum of g times the normalised u
        self.norm.grads["beta"][...] = sums[0]
        self.norm.grads["gamma"][...] = self.sign * along
        p = -self.inverse * along / self.count
        q = -sums[0] / self.count - p * self.mean
        dx = self._dx(dy)
        self.correlation.gradients(
            dx if self.needs_input_gradient else None,
            self.grads["W"],
            self._fill(dy, u, *(v.astype(dy.dtype)[:, None] for v in (p, q))),
            self.scale.astype(dy.dtype),
        )
        self.grads["W"] *= self.sign[:, None, None, None]
        if "b" in self.grads:
            self.grads["b"].fill(0)
        return dx

    def _fill(self, dy: Array, u: Array, p: Array, q: Array) -> UseBlock:
        """Return the function that writes blocks of du / a = g + p u + q; it uses u up."""
        filters = len(p)

        def fill(first: int, block: Array) -> None:
            if self.pooling is not None:
                routing = self._routing(dy.shape[3])
                for row, windows in self._windows(first, block):
                    np.multiply(dy[:, row].reshape(filters, -1), routing[row], out=windows)
            for row, phases in enumerate(block, first):
                flat, out = (a.reshape(*a.shape[:2], -1) for a in (u[row], phases))
                flat *= p
                flat += q
                g = out if self.pooling is not None else dy[:, row].reshape(out.shape)
                np.add(flat, g, out=out)

        return fill

    def _mask(self, gradient: Array, y: Array) -> None:
        """Set the gradient to zero where ReLU made y zero."""
        positive = np.greater(y, 0, out=self._workspace.take("positive", y.shape, np.bool_))
        np.multiply(gradient, positive, out=gradient)

    def _bias(self) -> Array | float:
        return self.params.get("b", 0.0)

    def _u(self, like: Array) -> Array:
        """Return the array of the convolution's rows, as one block."""
        shape = self.correlation.block_shape(self.correlation.rows, like.shape[3])
        return self._workspace.take("u", shape, like.dtype)

    def _pooled(self, like: Array) -> Array:
        """Return the pooled rows of u, (PH, F, PW * N): u itself where nothing is pooled."""
        filters, rows, width = self.out_shape
        if self.pooling is None:
            return self._u(like).reshape(rows, filters, -1)
        return self._workspace.take("pooled", (rows, filters, width * like.shape[3]), like.dtype)


VALUES_PER_FILTER = 4  # moments of longer columns would cost more than they save


def can_use_moments(convolution: Convolution) -> bool:
    """Tell whether `FirstNormalizedBlock` applies and saves time: no input gradient is needed, the
    direct algorithm is used, and columns are short, as with few input channels.
    """
    W = convolution.params["W"]
    direct = isinstance(choose_correlation(convolution.window, W.shape, W.dtype), DirectCorrelation)
    return (
        not convolution.needs_input_gradient and direct and W[0].size <= VALUES_PER_FILTER * len(W)
    )


class FirstNormalizedBlock(NormalizedBlock):
    """What `NormalizedBlock` computes, where no layer before it has parameters, without keeping the
    convolution's outputs v = W x_col.

    With S, the sum of all columns x_col, and G, the sum of x_col x_col^T (K x K, small), over n
    pixels:

        mean = W S / n,    var = diag(W G W^T) / n - mean^2

    so the normalisation folds into kernels and bias before they are used, s = gamma / sqrt(var +
    eps), as in inference: one pass gives y = relu(max pool(s W * x + c)). Backward through that
    gives D, the gradient of the folded kernels, and d, that of c; then

        dbeta = d,    dgamma = (diag(D W^T) - mean d) / sigma,
        dW = s (D - d S^T / n - dgamma (W G - mean S^T) / (n sigma))

    which is the usual gradient, its sums over pixels being taken by G. Relative errors of the
    variance in float32 are about 1e-7 times (|W| G |W|^T) / (n var).
    """

    correlation: DirectCorrelation

    def forward(self, x: Array, *, training: bool) -> Array:
        if not training:
            return super().forward(x, training=False)
        self.S, self.G = self.correlation.moments(x)
        self.count = self.correlation.rows * self.correlation.width * x.shape[3]
        W = self.correlation.flat(self.params["W"].astype(np.float64))
        self.mean = W @ self.S / self.count
        var = np.maximum(np.vecdot(W @ self.G, W) / self.count - self.mean**2, 0)
        self.inverse = 1 / np.sqrt(var + self.norm.eps)
        self.norm.move_running(
            (self.mean + self._bias()).astype(x.dtype), var.astype(x.dtype), self.count
        )
        return self.run(x, *self._folded(self.mean, var), self._routing(x.shape[3]))

    def backward(self, dy: Array) -> Array:
        dx, d = self._backpropagate(dy)
        W, D = (
            self.correlation.flat(a.astype(np.float64)) for a in (self.params["W"], self.grads["W"])
        )
        dgamma = self.inverse * (np.vecdot(D, W) - self.mean * d)
        self.norm.grads["beta"][...] = d
        self.norm.grads["gamma"][...] = dgamma
        centred = W @ self.G - np.outer(self.mean, self.S)
        D -= (np.outer(d, self.S) + (dgamma * self.inverse)[:, None] * centred) / self.count
        D *= (self.norm.params["gamma"] * self.inverse)[:, None]
        self.grads["W"][...] = self.correlation.unflat(D)
        if "b" in self.grads:
            self.grads["b"].fill(0)
        return dx
