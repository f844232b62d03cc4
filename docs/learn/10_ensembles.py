"""10. Ensembles: nets that err on the same images, and nets that do not."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.architectures import build_model, reference
from cnn_core.data.npz import read_npz
from cnn_core.data.splits import Batcher, epoch_batches
from cnn_core.losses import accuracy, softmax_cross_entropy
from cnn_core.optimizers import Adam
from cnn_core.streams import stream

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
(images, labels), batch = read_npz(HERE / "digits.npz").values(), Batcher((1, 8, 8))
mlp, tanh = reference("mlp", hidden=(30,)), reference("mlp", hidden=(60, 30), activation="tanh")
flat, deep = (reference(name, filters=8, kernel=3) for name in ("contest", "simple_convnet"))
_, (left, right) = plt.subplots(1, 2, figsize=(7, 3))
for at, specs in enumerate(([mlp] * 8, [mlp, tanh, flat, deep] * 2)):
    members, name = [], ("one kind, 8 seeds", "four kinds, 2 seeds")[at]
    for seed, spec in enumerate(specs):
        model = build_model(spec, (1, 8, 8), 10, stream((seed,), "init"))
        optimizer, order = Adam(lr=0.005), stream((seed,), "shuffle")
        for chosen in epoch_batches(np.arange(1000), 50, 300, "permutation", order):
            logits = model.forward(batch(images[chosen]), training=True)
            model.backward(softmax_cross_entropy(logits, labels[chosen])[1])
            optimizer.step(model.params, model.grads)
        members.append(model.predict_proba(images[1000:]))
    wrong = np.argmax(members, axis=2) != labels[1000:]
    errors = [1 - accuracy(np.mean(members[:k], axis=0), labels[1000:]) for k in range(1, 9)]
    print(f"{name}: mean {wrong.mean():.3f}, best {wrong.mean(1).min():.3f}, all {errors[-1]:.3f}")
    left.plot(range(1, 9), errors, ".-")
    left.text(8, (0.07, 0.045)[at], name, ha="right")
    right.bar(np.arange(1, 9) + 0.4 * at - 0.2, np.bincount(wrong.sum(axis=0))[1:], 0.4)
left.set(title="share of errors, new digits", xlabel="members of the ensemble", ylim=(0, 0.08))
right.set(title="images that k of the 8 get wrong", xlabel="k", ylabel="images")
plt.savefig(HERE / "10_ensembles.png")
