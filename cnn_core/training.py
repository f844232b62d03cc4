"""The only training loop: pure epochs, ``train_epoch(spec, state) -> (state, metrics)``, and what
is built on them.
"""

import math
import statistics
from collections.abc import Callable, Mapping

import numpy as np

from cnn_core.architectures import build_model
from cnn_core.axes import Array, Images
from cnn_core.checkpoint import TrainState, Weights
from cnn_core.epoch import Metrics, best_of, epoch_of_net
from cnn_core.errors import InputError
from cnn_core.layers import BatchNormalization
from cnn_core.measures import metric_of
from cnn_core.optimizers import make_optimizer
from cnn_core.plugins import require
from cnn_core.repeats import joined, nets_of, parted
from cnn_core.replanning import check_replanned
from cnn_core.schedules import make_schedule
from cnn_core.spec import Spec
from cnn_core.streams import stream
from cnn_core.training_data import make_augmentation
from cnn_core.training_net import net_of

__all__ = [
    "TrainState",
    "Weights",
    "check_spec",
    "fit",
    "objective",
    "objectives",
    "predict_proba",
    "selected_weights",
    "train_epoch",
]


def train_epoch(spec: Spec, state: TrainState | None) -> tuple[TrainState, Metrics]:
    """Train one more epoch and return the new state and its metrics; `state` (None: a new net) is
    not changed. Of a spec with several nets (`cnn_core.repeats`) each trains an epoch.

    A pure function of (spec, state): equal arguments on equal machines give equal bits, in any
    process, whatever ran there before. Metrics, all of float: train_loss and train_accuracy, the
    mean over the epoch's own batches while they trained (dropout and augmentation on, label
    smoothing included, penalties not), or, with ``train.eval_size``, of that many training images
    after the epoch; valid_loss, valid_accuracy and ``valid_<measure>`` where the spec's measure is
    another, after the epoch, of the averaged weights where ``train.select=average``, absent without
    validation images; lr, of the last step; epoch_s; and
    of the last batch, for each layer that learns, ``grad_norm/<layer>`` (length of its gradient,
    penalties included, before clipping) and ``activation_norm/<layer>`` (root mean square of its
    output; of fused layers, of their last). A non-finite loss ends the epoch at once: the metrics
    above are then nan, and nothing is raised or warned of. Raises InputError for an invalid spec,
    or data that do not match it.
    """
    require(spec.plugins)
    nets = nets_of(spec)
    if len(nets) == 1:
        return epoch_of_net(spec, state)
    before = [None] * len(nets) if state is None else parted(state, len(nets))
    done = [epoch_of_net(net, own) for net, own in zip(nets, before, strict=True)]
    past = [] if state is None else state.history
    return joined([after for after, _ in done], [row for _, row in done], past)


def selected_weights(spec: Spec, state: TrainState) -> Weights:
    """Return the weights that ``train.select`` chooses: the last epoch's, their moving average, or
    those of lowest validation loss.

    Where no epoch had a finite validation loss, ``best`` falls back to the last epoch's. Of several
    nets they are the first one's.
    """
    if nets_of(spec)[0] is not spec:
        (state,) = parted(state, 1)
    if spec.train.select == "average" and state.average is not None:
        return state.average
    if spec.train.select == "best" and state.best is not None:
        return state.best
    return Weights(state.params, state.buffers)


def objectives(spec: Spec, state: TrainState) -> list[float]:
    """Return of each net the measure of the selected weights on validation images (accuracy unless
    the spec names another); raise InputError where there are none.
    """
    nets = nets_of(spec)
    return [_objective(net, part) for net, part in zip(nets, _each(state, len(nets)), strict=True)]


def objective(spec: Spec, state: TrainState) -> float:
    """Return the mean of the nets' `objectives`."""
    return statistics.fmean(objectives(spec, state))


def _each(state: TrainState, count: int) -> list[TrainState]:
    return [state] if count == 1 else parted(state, count)


def _objective(net: Spec, state: TrainState) -> float:
    best = net.train.select == "best" and state.best is not None
    row = (best_of(net, state.history) if best else None) or (state.history or [{}])[-1]
    metric = metric_of(net.measure)
    if metric not in row:
        raise InputError(
            "objective: validation images are needed (data.valid_fraction greater than 0, or "
            "folds), got none"
        )
    return row[metric]


def fit(
    spec: Spec,
    *,
    on_epoch: Callable[[TrainState, Metrics], None] | None = None,
    state: TrainState | None = None,
) -> TrainState:
    """Train until ``train.epochs`` are done, from the start or from `state`; `on_epoch` is called
    after each.
    """
    check_spec(spec)
    while state is None or state.epoch < spec.train.epochs:
        state, metrics = train_epoch(spec, state)
        if on_epoch is not None:
            on_epoch(state, metrics)
    return state


def predict_proba(
    spec: Spec,
    params: Mapping[str, Array],
    buffers: Mapping[str, Array],
    images: Images,
    batch_size: int = 100,
) -> Array:
    """Return probabilities (N, classes) float32 of uint8 images (N, C, H, W), for weights such as
    `selected_weights` returns.
    """
    net = net_of(spec.model, spec.data.image_shape, spec.data.classes)
    net.plain.load(params, buffers)
    with np.errstate(all="ignore"):
        return net.fused.predict_proba(images, batch_size)


def check_spec(spec: Spec) -> None:
    """Raise InputError for any value that training would refuse: names, ranges, a net that does not
    fit. The data are opened only where an end was moved, to count the steps before it.
    """
    make_optimizer(spec.optimizer)
    make_schedule(spec.schedule)
    make_augmentation(spec.augment)
    check_replanned(spec)
    whole, epochs = spec.train.full_rank_epochs, spec.train.epochs
    if spec.model.rank is not None and whole > epochs:
        raise InputError(
            "train.full_rank_epochs: must be at most train.epochs, so that the net is compressed "
            f"in the end, got {whole} of {epochs}"
        )
    model = build_model(
        spec.model, spec.data.image_shape, spec.data.classes, stream(spec.seed, "init")
    )
    single = [
        layer.name
        for layer in model.layers
        if isinstance(layer, BatchNormalization) and math.prod(layer.out_shape[1:]) == 1
    ]
    # one value per feature has no variance: every output would be beta
    shards = spec.train.shards
    if single and spec.train.batch_size < 2 * shards:
        parts = f" in each of train.shards={shards} parts" if shards > 1 else ""
        raise InputError(
            f"train.batch_size: must be at least 2{parts} with batch normalisation of dense layers "
            f"({single[0]}), got {spec.train.batch_size}"
        )
