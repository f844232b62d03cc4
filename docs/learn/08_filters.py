"""8. What filters become: from noise to strokes."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.data.npz import read_npz
from cnn_core.data.splits import Batcher, epoch_batches
from cnn_core.layers import Convolution, Dense, Flatten, MaxPooling, ReLU
from cnn_core.losses import accuracy, softmax_cross_entropy
from cnn_core.model import Sequential
from cnn_core.optimizers import AdamW
from cnn_core.streams import stream

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
digits, batch = read_npz(HERE / "digits.npz"), Batcher((1, 8, 8))
images, labels = digits["images"], digits["labels"]
layers = [Convolution(8, 5, padding="same"), ReLU(), MaxPooling(2), Flatten(), Dense(10)]
model = Sequential(layers).build((1, 8, 8), stream((0,), "init"))
start, optimizer = layers[0].params["W"][:, 0].copy(), AdamW(lr=0.005, weight_decay=1.0)
for chosen in epoch_batches(np.arange(1000), 50, 1000, "permutation", stream((0,), "shuffle")):
    logits = model.forward(batch(images[chosen]), training=True)
    model.backward(softmax_cross_entropy(logits, labels[chosen])[1])
    optimizer.step(model.params, model.grads)
W, right = layers[0].params["W"][:, 0], accuracy(model.predict_proba(images[1000:]), labels[1000:])
cosine = np.vdot(W, start) / np.sqrt(np.vdot(W, W) * np.vdot(start, start))
print(f"accuracy on new digits {right:.3f}; cosine of the filters and their start {cosine:.2f}")
maps = layers[1].forward(layers[0].forward(batch(images[7:8]), training=False), training=False)
_, grid = plt.subplots(3, 9, figsize=(7, 2.7))
for row, shown in zip(grid, (start, W, maps[..., 0]), strict=True):
    for axes, values in zip(row[1:], shown, strict=True):
        axes.imshow(values, "PuOr_r", vmin=-np.abs(values).max(), vmax=np.abs(values).max())
for axes, text in zip(grid.flat, ("start", *[""] * 8, "learned", *[""] * 17), strict=True):
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center")
grid[2, 0].imshow(images[7, 0], "Greys")
plt.savefig(HERE / "08_filters.png")
