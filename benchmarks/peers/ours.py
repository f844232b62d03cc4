"""This project's net, as `cnn_core.training` trains it."""

from contextlib import ExitStack

import numpy as np

from benchmarks.peers.batches import EVALUATED, batches_in_order, initial_model, load_images
from cnn_core.axes import Array, Indices, Labels
from cnn_core.data.splits import Batcher
from cnn_core.fused.fuse import fuse
from cnn_core.losses import softmax_cross_entropy
from cnn_core.optimizers import make_optimizer
from cnn_core.replicas import Replicas
from cnn_core.spec import ModelSpec


class Ours:
    """With several cores, each batch is cut into as many parts."""

    def __init__(self, net: str | ModelSpec, dropout: bool = True, threads: int = 1) -> None:
        self.images, self.labels = load_images()
        self.order = batches_in_order()
        self.model = fuse(initial_model(net, dropout))
        batcher = Batcher((1, 28, 28))
        replicas = Replicas(self.model.original, self.model, batcher, threads, threads)
        # one epoch for the life of this process: what it begins ends with it
        self.epoch = ExitStack()
        self.gradients = self.epoch.enter_context(
            replicas.epoch((0,), 0, self.inputs, softmax_cross_entropy)
        )
        self.optimizer = make_optimizer({"name": "adam", "lr": 0.001})

    def inputs(self, batch: Indices, part: int, batcher: Batcher) -> tuple[Array, Labels]:
        return batcher(self.images[batch]), self.labels[batch]

    def step(self, index: int) -> None:
        batch = self.order[index % len(self.order)]
        self.gradients(batch, False)
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
