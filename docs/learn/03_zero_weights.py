"""3. Why zero weights do not learn: eight hidden units that stay one and the same."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.architectures import build_model, reference
from cnn_core.data.npz import read_npz
from cnn_core.data.splits import Batcher
from cnn_core.losses import softmax_cross_entropy
from cnn_core.optimizers import SGD
from cnn_core.streams import stream

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
digits = read_npz(HERE / "digits.npz")
x, labels = Batcher((1, 8, 8))(digits["images"][:1000]), digits["labels"][:1000]

_, row = plt.subplots(1, 3, figsize=(7, 2.6), sharey=True)
for axes, (activation, init) in zip(
    row, (("sigmoid", "zeros"), ("relu", "zeros"), ("sigmoid", "xavier")), strict=True
):
    spec = reference("mlp", hidden=(8,), activation=activation, init=init)
    model = build_model(spec, (1, 8, 8), 10, stream((0,), "init"))
    weights, optimizer = [], SGD(lr=1.0)
    for _ in range(300):
        loss, dlogits = softmax_cross_entropy(model.forward(x, training=True), labels)
        model.backward(dlogits)
        optimizer.step(model.params, model.grads)
        weights.append(model.params["dense1.W"][:, 20].copy())  # of each unit, from one pixel
    different = len(np.unique(model.params["dense1.W"], axis=0))
    accuracy = np.mean(model.forward(x, training=False).argmax(axis=0) == labels)
    print(f"{activation} from {init}: {different} of 8 units distinct, accuracy {accuracy:.3f}")
    axes.plot(weights)
    axes.set(title=f"{activation}, {init}: {different} distinct", xlabel="step")
row[0].set_ylabel("a weight of each hidden unit")
plt.savefig(HERE / "03_zero_weights.png")
