"""4. The vanishing gradient: what arrives at the first of ten layers."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.architectures import build_model, reference
from cnn_core.data.npz import read_npz
from cnn_core.data.splits import Batcher
from cnn_core.losses import softmax_cross_entropy
from cnn_core.streams import stream

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
digits = read_npz(HERE / "digits.npz")
x, labels = Batcher((1, 8, 8), np.float64)(digits["images"][:500]), digits["labels"][:500]
starts = ("sigmoid", "normal"), ("sigmoid", "xavier"), ("relu", "normal"), ("relu", "he")

_, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2), width_ratios=[3, 2])
for activation, init in starts:
    spec = reference("mlp", hidden=(100,) * 9, activation=activation, init=init)
    model = build_model(spec, (1, 8, 8), 10, stream((0,), "init"), np.float64)
    y, spreads = x, []
    for layer in model.layers:
        y = layer.forward(y, training=True)
        spreads += [y.std(axis=1).mean()] if layer.kind == "dense" else []
    model.backward(softmax_cross_entropy(y, labels)[1])
    gradients = [np.sqrt(np.mean(g**2)) for name, g in model.grads.items() if name.endswith("W")]
    print(f"{activation}, {init}: gradient {gradients[0]:.0e} first, {gradients[-1]:.0e} last")
    left.text(10.4, spreads[-1], f"{activation}, {init}", va="center")
    left.semilogy(range(1, 11), spreads, ".-")
    right.semilogy(range(1, 11), gradients, ".-")
left.set(title="forward: spread of W x over images", xlabel="layer", xlim=(0.5, 15))
right.set(title="backward: gradient of W", xlabel="layer", xticks=range(2, 11, 2))
left.set_xticks(range(2, 11, 2))
plt.savefig(HERE / "04_vanishing_gradient.png")
