"""One epoch of one net: its batches, its steps, and what is measured after it."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from cnn_core.averaging import MovingAverage
from cnn_core.checkpoint import TrainState, Weights, copies
from cnn_core.data.splits import steps_in_epoch
from cnn_core.layers import Layer
from cnn_core.losses import balanced_weights, softmax_cross_entropy
from cnn_core.low_rank import compress
from cnn_core.optimizers import Optimizer, make_optimizer
from cnn_core.regularizers import add_penalty_gradient, clip_by_global_norm, global_norm
from cnn_core.replanning import last_step, steps_of_next
from cnn_core.replicas import Outcome
from cnn_core.schedules import make_schedule
from cnn_core.spec import ModelSpec, Spec
from cnn_core.training_data import Data, EpochInputs, data_of
from cnn_core.training_net import TrainingNet, cores_of, net_of

Metrics = dict[str, float]
Row = Mapping[str, float]  # the metrics of an epoch, to read
OUTCOMES = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


@dataclass
class _Sums:
    """Sums over an epoch's batches."""

    images: int = 0
    loss: float = 0.0
    correct: int = 0

    def add(self, batch: Outcome) -> None:
        self.images += batch.images
        self.loss += batch.loss * batch.images
        self.correct += batch.correct


def epoch_of_net(spec: Spec, state: TrainState | None) -> tuple[TrainState, Metrics]:
    """Train one net for one more epoch; the contract is `cnn_core.training.train_epoch`'s."""
    started = time.perf_counter()
    data = data_of(spec.data)
    done = 0 if state is None else state.epoch
    model = model_at(spec, done)
    net = net_of(
        model, spec.data.image_shape, spec.data.classes, spec.seed if state is None else None
    )
    optimizer = make_optimizer(spec.optimizer)
    if state is None:
        net.plain.adapt(data.sample())
        state = TrainState(0, 0, copies(net.plain.params), copies(net.plain.buffers), {})
    else:
        net.plain.load(state.params, state.buffers)
        optimizer.load_state(state.optimizer)
    average = None
    if spec.train.select == "average":
        average = MovingAverage(
            net.plain.params, net.plain.buffers, spec.train.average_decay, state.average
        )
    with np.errstate(all="ignore"):
        metrics, steps = _train(spec, data, net, optimizer, average, state)
        after = TrainState(
            epoch=state.epoch + 1,
            step=state.step + steps,
            params=copies(net.plain.params),
            buffers=copies(net.plain.buffers),
            optimizer=optimizer.state(),
            average=None if average is None else average.weights(),
            best=state.best,
        )
        if model != model_at(spec, after.epoch):
            net, after = _compressed(spec, net, after)
        elif average is not None and after.average is not None:
            net.plain.load(*after.average)
        _evaluate(spec, data, net, metrics)
    if spec.train.select == "best" and _is_best(metrics, alike(spec, state.history, after.epoch)):
        after.best = Weights(copies(after.params), copies(after.buffers))
    after.history = [*state.history, dict(metrics)]
    return after, {**metrics, "epoch_s": time.perf_counter() - started}


def model_at(spec: Spec, done: int) -> ModelSpec:
    """Return what is trained after that many epochs: the whole net until it is compressed."""
    return replace(spec.model, rank=None) if done < compressed_after(spec) else spec.model


def compressed_after(spec: Spec) -> int:
    """Return after how many epochs the net is compressed, with its last one at the latest; 0 where
    it has the spec's rank from the beginning, or none.
    """
    return 0 if spec.model.rank is None else min(spec.train.full_rank_epochs, spec.train.epochs)


def alike(spec: Spec, history: Sequence[Row], epochs: int) -> Sequence[Row]:
    """Return the epochs in `history` whose weights were of the same net as after so many `epochs`:
    once it is compressed, those since then.
    """
    start = compressed_after(spec)
    return history[start - 1 :] if start and epochs >= start else history


def _compressed(spec: Spec, net: TrainingNet, state: TrainState) -> tuple[TrainingNet, TrainState]:
    """Return the net compressed to the spec's rank, and its state: the optimizer starts afresh, and
    so do the moving average and the choice of the best epoch, which were of another net's weights.
    """
    model = spec.model
    if state.average is not None:
        net.plain.load(*state.average)
    thin = compress(net.plain, model.rank or 1)
    params, buffers = copies(thin.params), copies(thin.buffers)
    net = net_of(model, spec.data.image_shape, spec.data.classes, spec.seed)
    net.plain.load(params, buffers)
    fresh = make_optimizer(spec.optimizer).state()
    return net, replace(
        state, params=params, buffers=buffers, optimizer=fresh, average=None, best=None
    )


def _train(
    spec: Spec,
    data: Data,
    net: TrainingNet,
    optimizer: Optimizer,
    average: MovingAverage | None,
    state: TrainState,
) -> tuple[Metrics, int]:
    """Run the epoch's steps on the net's live arrays; return the metrics of its batches, and how
    many steps were taken.
    """
    train, params, grads = spec.train, net.plain.params, net.plain.grads
    steps = steps_in_epoch(len(data.train), train.batch_size, train.steps_per_epoch)
    schedule, end = make_schedule(spec.schedule), last_step(train, state.epoch, steps)
    whole, steps = steps, steps_of_next(train, state, steps)
    weights = None
    if train.class_weights == "balanced":
        weights = balanced_weights(data.labels[data.train], spec.data.classes)
    loss_of = partial(softmax_cross_entropy, smoothing=train.label_smoothing, weights=weights)
    penalized = spec.regularizer.l1 > 0 or spec.regularizer.l2 > 0
    inputs = EpochInputs(spec, data, state.epoch)
    sums, metrics, done = _Sums(), Metrics(), 0
    with net.replicas(train).epoch(spec.seed, state.epoch, inputs, loss_of) as gradients:
        for batch in inputs.batches(steps):
            last = done == steps - 1
            outcome = gradients(batch, last)
            if not math.isfinite(outcome.loss):
                return dict.fromkeys(OUTCOMES, math.nan) | {"lr": optimizer.lr}, done
            sums.add(outcome)
            if penalized:
                add_penalty_gradient(params, grads, spec.regularizer, net.work)
            if last:
                metrics |= _last_norms(net.plain.layers, outcome)
            if train.clip_norm is not None:
                clip_by_global_norm(grads, train.clip_norm)
            factor = schedule(state.step + done, end, whole)
            optimizer.step(params, grads, factor)
            done += 1
            if average is not None:
                average.update(state.step + done)
    row = {
        "train_loss": sums.loss / sums.images,
        "train_accuracy": sums.correct / sums.images,
        "lr": optimizer.lr * factor,
    }
    return row | metrics, done


def _last_norms(layers: Sequence[Layer], last: Outcome) -> Metrics:
    """Return the metrics of the last batch's outputs and gradients."""
    outputs = {f"activation_norm/{name}": norm for name, norm in last.activation_norms.items()}
    return outputs | {
        f"grad_norm/{layer.name}": global_norm(layer.grads.values())
        for layer in layers
        if layer.params
    }


def _evaluate(spec: Spec, data: Data, net: TrainingNet, metrics: Metrics) -> None:
    """Add the metrics measured after the epoch, with the weights that the net holds now."""
    if math.isnan(metrics["train_loss"]):
        return
    size, seed = spec.train.eval_size, spec.data.split_seed
    if size is not None:
        chosen = data.evaluation(data.train, size, seed)
        metrics["train_loss"], metrics["train_accuracy"] = net.evaluate(
            data.prepared.images, data.labels, chosen, cores_of(spec.train)
        )
    if len(data.valid):
        chosen = data.evaluation(data.valid, size, seed)
        found = net.validate(spec, data, chosen)
        finite = math.isfinite(found["valid_loss"])
        metrics |= found if finite else dict.fromkeys(found, math.nan)


def best_of(spec: Spec, history: Sequence[Row]) -> Row | None:
    """Return the epoch of lowest validation loss, the first of equals, of the net that a training
    so far ended with; None where no loss is finite.
    """
    rows = alike(spec, history, len(history))
    finite = [row for row in rows if math.isfinite(row.get("valid_loss", math.nan))]
    return min(finite, key=lambda row: row["valid_loss"], default=None)


def _is_best(metrics: Row, history: Sequence[Row]) -> bool:
    loss = metrics.get("valid_loss", math.nan)
    return all(not loss >= past.get("valid_loss", math.nan) for past in history) and math.isfinite(
        loss
    )
