"""7. Pooling and shifts: what nets make of digits that have moved."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.data.npz import read_npz
from cnn_core.data.splits import Batcher, epoch_batches
from cnn_core.layers import Convolution, Dense, Flatten, MaxPooling, ReLU
from cnn_core.losses import accuracy, softmax_cross_entropy
from cnn_core.model import Sequential
from cnn_core.optimizers import Adam
from cnn_core.streams import stream

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
digits, batch = read_npz(HERE / "digits.npz"), Batcher((1, 12, 12))
images = np.pad(digits["images"], ((0, 0), (0, 0), (2, 2), (2, 2)))  # room to move
labels, new = digits["labels"], slice(1000, None)
nets = {"1x1": (1, 0), "2x2": (2, 0), "6x6": (6, 0), "2x2, moved in training": (2, 1)}
for name, (window, most) in nets.items():
    layers = Convolution(16, 3, padding="same"), ReLU(), MaxPooling(window), Flatten(), Dense(10)
    model = Sequential(layers).build((1, 12, 12), stream((0,), "init"))
    optimizer, rng = Adam(lr=0.005), stream((0,), "augment")
    for chosen in epoch_batches(np.arange(1000), 100, 200, "permutation", stream((0,), "shuffle")):
        x = batch(np.roll(images[chosen], rng.integers(-most, most + 1, 2), (2, 3)))
        logits = model.forward(x, training=True)
        model.backward(softmax_cross_entropy(logits, labels[chosen])[1])
        optimizer.step(model.params, model.grads)
    right = np.zeros(3)
    for pixels, sign, axis in np.ndindex(3, 2, 2):  # down, up, right, left
        moved = np.roll(images[new], (1 - 2 * sign) * pixels, axis + 2)
        right[pixels] += accuracy(model.predict_proba(moved), labels[new]) / 4
    print(f"pooling {name}: accuracy {right.round(3).tolist()} moved by 0, 1 and 2 pixels")
    plt.plot(right, ".-", markersize=10)
    plt.text(1.02, right[1] + 0.015, name)
plt.gca().set(xlabel="pixels that a digit has moved", ylabel="accuracy", xticks=[0, 1, 2])
plt.savefig(HERE / "07_pooling.png")
