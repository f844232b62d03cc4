"""6. Overfitting: a hundred images learned by heart, and two remedies."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.architectures import build_model, reference
from cnn_core.data.npz import read_npz
from cnn_core.data.splits import Batcher
from cnn_core.losses import accuracy, softmax_cross_entropy
from cnn_core.optimizers import AdamW
from cnn_core.streams import stream

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
images, labels = read_npz(HERE / "digits.npz").values()
new, truth = Batcher((1, 8, 8))(images[1000:]), labels[1000:]
_, row = plt.subplots(1, 4, figsize=(7, 2.6), sharey=True)
names, counts = ("nothing", "weight decay", "dropout", "500 images"), (100, 100, 100, 500)
runs = zip(row, names, counts, (0, 1, 0, 0), (0, 0, 0.5, 0), strict=True)
for axes, name, count, decay, dropout in runs:
    spec = reference("mlp", hidden=(100, 100), dropout=dropout)
    model, losses = build_model(spec, (1, 8, 8), 10, stream((0,), "init")), []
    x, optimizer = Batcher((1, 8, 8))(images[:count]), AdamW(lr=0.005, weight_decay=decay)
    for step in range(150):
        model.reseed((0,), step)  # draws other units to drop
        model.backward(softmax_cross_entropy(model.forward(x, training=True), labels[:count])[1])
        optimizer.step(model.params, model.grads)
        seen, _ = softmax_cross_entropy(model.forward(x, training=False), labels[:count])
        logits = model.forward(new, training=False)
        losses.append((seen, softmax_cross_entropy(logits, truth)[0]))
    last, low, right = losses[-1], np.min(losses, axis=0)[1], accuracy(logits.T, truth)
    print(f"{name}: loss {last[0]:.3f}, new {last[1]:.3f} (at best {low:.3f}), right {right:.3f}")
    axes.plot(losses)
    axes.set(title=name, xlabel="step", ylabel="loss" * (axes is row[0]), ylim=(0, 1.5))
    axes.text(150, last[1] + 0.08, "new images", ha="right", color="C1")
    axes.text(150, last[0] + 0.05, "training", ha="right", color="C0")
plt.savefig(HERE / "06_overfitting.png")
