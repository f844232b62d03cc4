"""The first convolution with its batch normalisation: statistics from the images' own moments,
everything else as without normalisation.
"""

import numpy as np

from cnn_core.axes import Array
from cnn_core.fused.normalized import NormalizedBlock
from cnn_core.kernels.direct import DirectCorrelation
from cnn_core.kernels.winograd import choose_correlation
from cnn_core.layers.convolution import Convolution

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
        return self.run(x, *self._folded(self.mean, var), self._pool_mask(x.shape[3]))

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
