"""The weights kept of a trained net, with batch normalisation's statistics recomputed for them."""

import numpy as np

from cnn_core.augmentation import augment
from cnn_core.averaging import recompute_statistics
from cnn_core.axes import Array
from cnn_core.checkpoint import TrainState, Weights, copies
from cnn_core.data.pages import rows_of
from cnn_core.plugins import require
from cnn_core.spec import Spec
from cnn_core.streams import stream
from cnn_core.training import selected_weights
from cnn_core.training_data import data_of, make_augmentation
from cnn_core.training_net import net_of


def finished_weights(spec: Spec, state: TrainState, batches: int) -> Weights:
    """Return the weights that ``train.select`` chooses, their statistics recomputed over `batches`
    augmented training batches.

    Averaged weights never saw a batch, so their running statistics are only an average of others'
    (Izmailov et al. 2018). A pure function of its arguments; 0 batches return the weights as they
    are.
    """
    require(spec.plugins)
    chosen = selected_weights(spec, state)
    if batches == 0:
        return chosen
    data = data_of(spec.data)
    net = net_of(spec.model, spec.data.image_shape, spec.data.classes)
    net.plain.load(chosen.params, chosen.buffers)
    # The copy's working memory is freed with it: if it stayed, loky would take its 300 MB (its
    # layers are not fused) for a memory leak.
    model = net.plain.inference_copy()
    model.reseed(spec.seed, spec.train.epochs)  # dropout is on while statistics are computed
    augmentation = make_augmentation(spec.augment)
    rng = stream(spec.seed, "augment", spec.train.epochs)
    order = stream(spec.seed, "shuffle", spec.train.epochs).permutation(data.train)

    def draw(i: int) -> Array:
        at = i * spec.train.batch_size % len(order)
        batch = np.take(order, range(at, at + spec.train.batch_size), mode="wrap")
        images = rows_of(data.prepared.images, batch)
        return (
            augment(images, augmentation, rng)
            if augmentation.changes_images
            else net.batcher(images)
        )

    with np.errstate(all="ignore"):
        buffers = recompute_statistics(model, batches, draw)
    return Weights(copies(net.plain.params), buffers)
