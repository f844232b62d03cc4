"""2. A convolution forward and backward by hand, and the layer that does the same."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.layers import Convolution
from cnn_core.streams import stream

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
x, W, b = np.array([[1, 2, 0], [0, 1, 3], [2, 0, 1.0]]), np.array([[1, -1], [2, 0.0]]), 1.0
dy = np.array([[1, 0], [-1, 2.0]])  # what the rest of the net says: dL/dy
y, dW, dx = np.full((2, 2), b), np.zeros((2, 2)), np.zeros((3, 3))
for r, q in np.ndindex(2, 2):
    y[r, q] += (W * x[r : r + 2, q : q + 2]).sum()
    dW += dy[r, q] * x[r : r + 2, q : q + 2]  # the window, times what its output is worth
    dx[r : r + 2, q : q + 2] += dy[r, q] * W  # what was read from a pixel flows back to it
print(f"y = {y.tolist()}, dW = {dW.tolist()}, db = {dy.sum()}\ndx = {dx.tolist()}")

layer = Convolution(filters=1, kernel=2)
layer.build((1, 3, 3), stream((0,), "init"), np.float64)
layer.params["W"][...], layer.params["b"][...] = W, b
assert np.allclose(layer.forward(x[None, :, :, None], training=True)[0, :, :, 0], y)
assert np.allclose(layer.backward(dy[None, :, :, None])[0, :, :, 0], dx)
print("cnn_core's layer says the same:", np.allclose(layer.grads["W"], dW))

_, row = plt.subplots(1, 6, figsize=(7, 1.65), width_ratios=[3, 2, 2, 2, 2, 3])
names = "input x", "weights W", "output y", "dL/dy", "dL/dW", "dL/dx"
for k, (axes, name, values) in enumerate(zip(row, names, (x, W, y, dy, dW, dx), strict=True)):
    axes.imshow(values, "PuOr_r", vmin=-12, vmax=12)
    axes.set(title=name, xticks=[], yticks=[], frame_on=False)
    if k not in (1, 4):  # the lower right window, and the output that it gives
        side = 1.93 if k in (0, 5) else 0.93
        axes.add_patch(plt.Rectangle((0.53, 0.53), side, side, fill=False, linewidth=2))
    for (r, q), value in np.ndenumerate(values):
        axes.text(q, r, f"{value:.0f}", ha="center", va="center")
plt.savefig(HERE / "02_by_hand.png")
