"""This project's net, as `cnn_core.training` trains it."""

import numpy as np

from benchmarks.peers.batches import EVALUATED, batches_in_order, initial_model, load_images
from cnn_core.data.splits import Batcher
from cnn_core.fused.fuse import fuse
from cnn_core.losses import softmax_cross_entropy
from cnn_core.optimizers import make_optimizer
from cnn_core.spec import ModelSpec


class Ours:
    def __init__(self, net: str | ModelSpec, dropout: bool = True) -> None:
        self.images, self.labels = load_images()
        self.batches = batches_in_order()
        self.model = fuse(initial_model(net, dropout))
        self.model.reseed((0,), 0)
        self.optimizer = make_optimizer({"name": "adam", "lr": 0.001})
        self.batcher = Batcher((1, 28, 28))

    def step(self, index: int) -> None:
        batch = self.batches[index % len(self.batches)]
        logits = self.model.forward(self.batcher(self.images[batch]), training=True)
        _, dlogits = softmax_cross_entropy(logits, self.labels[batch])
        self.model.backward(dlogits)
        self.optimizer.step(self.model.params, self.model.grads)

    def loss(self) -> float:
        probabilities = self.model.predict_proba(self.images[EVALUATED])
        return float(
            -np.log(
                np.maximum(
                    probabilities[np.arange(len(probabilities)), self.labels[EVALUATED]], 1e-30
                )
            ).mean()
        )
