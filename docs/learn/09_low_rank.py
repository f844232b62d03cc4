"""9. Low rank: a trained layer as the product of two thin ones."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.architectures import build_model, reference
from cnn_core.data.npz import read_npz
from cnn_core.data.splits import Batcher, epoch_batches
from cnn_core.losses import accuracy, softmax_cross_entropy
from cnn_core.low_rank import compress
from cnn_core.optimizers import AdamW
from cnn_core.streams import stream

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
digits, batch = read_npz(HERE / "digits.npz"), Batcher((1, 8, 8))
images, labels = digits["images"], digits["labels"]
_, (left, right) = plt.subplots(1, 2, figsize=(7, 3))
for decay, name in (0.0, "no decay"), (0.5, "weight decay 0.5"):
    model = build_model(reference("mlp", hidden=(100, 100)), (1, 8, 8), 10, stream((0,), "init"))
    optimizer, order = AdamW(lr=0.005, weight_decay=decay), stream((0,), "shuffle")
    for chosen in epoch_batches(np.arange(1000), 50, 800, "permutation", order):
        logits = model.forward(batch(images[chosen]), training=True)
        model.backward(softmax_cross_entropy(logits, labels[chosen])[1])
        optimizer.step(model.params, model.grads)
    nets = [compress(model, rank) for rank in (2, 4, 6, 8, 12, 16, 24)] + [model]
    rates = [accuracy(net.predict_proba(images[1000:]), labels[1000:]) for net in nets]
    cost = [net.multiply_adds() / model.multiply_adds() for net in nets]
    print(f"{name}: accuracy {rates[-1]:.3f}; of rank 8 {rates[3]:.3f}, {cost[3]:.0%} of the work")
    values = np.linalg.svd(model.params["dense2.W"], compute_uv=False)
    left.semilogy(range(1, 101), values)
    left.text(35, values[35] * 1.3, name)
    right.plot(cost, rates, ".-")
left.set(title="singular values of the second layer", xlabel="number", ylim=(1e-2, 10))
right.set(title="accuracy on new digits", xlabel="share of the multiply-adds", ylim=(0, 1))
plt.savefig(HERE / "09_low_rank.png")
