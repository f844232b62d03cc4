"""The plain algorithm of report 5: images batch first, float64, im2col of the whole batch, one
matrix product, col2im back.

Every layer returns the gradient of its input, the first one too, since no layer knows its position.
Nothing is tuned and nothing slowed down: it is the baseline that a reader would write first.
"""

import numpy as np
import numpy.typing as npt

from benchmarks.peers.batches import EVALUATED, batches_in_order, initial_model, load_images

Floats = npt.NDArray[np.float64]


def im2col(x: Floats, kernel: int, stride: int = 1, pad: int = 0) -> Floats:
    n, c, h, w = x.shape
    oh, ow = (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    columns = np.zeros((n, c, kernel, kernel, oh, ow))
    for i in range(kernel):
        for j in range(kernel):
            columns[:, :, i, j] = padded[
                :, :, i : i + stride * oh : stride, j : j + stride * ow : stride
            ]
    return columns.transpose(0, 4, 5, 1, 2, 3).reshape(n * oh * ow, -1)


def col2im(
    columns: Floats, shape: tuple[int, ...], kernel: int, stride: int = 1, pad: int = 0
) -> Floats:
    n, c, h, w = shape
    oh, ow = (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1
    spread = columns.reshape(n, oh, ow, c, kernel, kernel).transpose(0, 3, 4, 5, 1, 2)
    padded = np.zeros((n, c, h + 2 * pad, w + 2 * pad))
    for i in range(kernel):
        for j in range(kernel):
            padded[:, :, i : i + stride * oh : stride, j : j + stride * ow : stride] += spread[
                :, :, i, j
            ]
    return padded[:, :, pad : pad + h, pad : pad + w]


class Conv:
    def __init__(self, W: Floats, b: Floats, pad: int) -> None:
        self.W, self.b, self.pad = W, b, pad

    def forward(self, x: Floats) -> Floats:
        n, _, h, _ = x.shape
        kernel = self.W.shape[2]
        self.shape, self.columns = x.shape, im2col(x, kernel, pad=self.pad)
        y = self.columns @ self.W.reshape(len(self.W), -1).T + self.b
        return y.reshape(n, h + 2 * self.pad - kernel + 1, -1, len(self.W)).transpose(0, 3, 1, 2)

    def backward(self, dy: Floats) -> Floats:
        dy = dy.transpose(0, 2, 3, 1).reshape(-1, len(self.W))
        self.dW = (self.columns.T @ dy).T.reshape(self.W.shape)
        self.db = dy.sum(axis=0)
        return col2im(
            dy @ self.W.reshape(len(self.W), -1), self.shape, self.W.shape[2], pad=self.pad
        )


class Pool:
    def forward(self, x: Floats) -> Floats:
        n, c, h, w = x.shape
        windows = im2col(x, 2, stride=2).reshape(-1, 4)
        self.chosen, self.shape = windows.argmax(axis=1), x.shape
        highest: Floats = windows.max(axis=1).reshape(n, h // 2, w // 2, c).transpose(0, 3, 1, 2)
        return highest

    def backward(self, dy: Floats) -> Floats:
        windows = np.zeros((dy.size, 4))
        windows[np.arange(dy.size), self.chosen] = dy.transpose(0, 2, 3, 1).ravel()
        return col2im(windows.reshape(-1, 4 * self.shape[1]), self.shape, 2, stride=2)


class Relu:
    def forward(self, x: Floats) -> Floats:
        self.on = x > 0
        return x * self.on

    def backward(self, dy: Floats) -> Floats:
        return dy * self.on


class Affine:
    def __init__(self, W: Floats, b: Floats) -> None:
        self.W, self.b = W, b

    def forward(self, x: Floats) -> Floats:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Floats) -> Floats:
        self.dW, self.db = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.W.T


class Report5:
    """The nets `contest` and `simple_convnet` in that algorithm, with Adam."""

    def __init__(self, net: str, dropout: bool = True) -> None:
        self.images, self.labels = load_images()
        self.batches = batches_in_order()
        self.drops, self.rng = net == "contest" and dropout, np.random.default_rng(3)
        params = {name: p.astype(np.float64) for name, p in initial_model(net).params.items()}
        dense = [name[:-2] for name in params if name.startswith("dense") and name.endswith(".W")]
        self.conv = Conv(params["conv1.W"], params["conv1.b"], 2 if net == "contest" else 0)
        self.relu, self.pool = Relu(), Pool()
        self.affine = [Affine(params[f"{name}.W"].T.copy(), params[f"{name}.b"]) for name in dense]
        self.relus = [Relu() for _ in self.affine[1:]]
        self.moments = [
            (np.zeros_like(p), np.zeros_like(p)) for p, _ in self._pairs(gradients=False)
        ]
        self.steps = 0

    def _pairs(self, gradients: bool = True) -> list[tuple[Floats, Floats]]:
        owners: list[Conv | Affine] = [self.conv, *self.affine]
        return [
            pair
            for o in owners
            for pair in ((o.W, o.dW if gradients else o.W), (o.b, o.db if gradients else o.b))
        ]

    def _logits(self, images: npt.NDArray[np.uint8], training: bool) -> Floats:
        h = self.pool.forward(self.relu.forward(self.conv.forward(images / 255.0)))
        self.pooled, h = h.shape, h.reshape(len(h), -1)
        self.keep = (
            (self.rng.random(h.shape) >= 0.4) / 0.6 if self.drops and training else np.ones(1)
        )
        h = self.affine[0].forward(h * self.keep)
        for relu, affine in zip(self.relus, self.affine[1:], strict=True):
            h = affine.forward(relu.forward(h))
        return h

    def step(self, index: int) -> None:
        batch = self.batches[index % len(self.batches)]
        logits = self._logits(self.images[batch], training=True)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(p)), self.labels[batch]] -= 1
        dy = p / len(p)
        for affine, relu in zip(self.affine[:0:-1], self.relus[::-1], strict=True):
            dy = relu.backward(affine.backward(dy))
        dy = self.affine[0].backward(dy) * self.keep
        self.conv.backward(self.relu.backward(self.pool.backward(dy.reshape(self.pooled))))
        self.steps += 1
        rate = 0.001 * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        for (param, gradient), (m, v) in zip(self._pairs(), self.moments, strict=True):
            m += 0.1 * (gradient - m)
            v += 0.001 * (gradient**2 - v)
            param -= rate * m / (np.sqrt(v) + 1e-8)

    def loss(self) -> float:
        labels, total = self.labels[EVALUATED], 0.0
        for at in range(0, len(labels), 500):
            logits = self._logits(self.images[EVALUATED][at : at + 500], training=False)
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            total -= log_p[np.arange(len(log_p)), labels[at : at + 500]].sum()
        return float(total / len(labels))
