"""Several nets trained as one trial: with other seeds (``Spec.seeds``), or each without another
fold of the training images (``Spec.folds``), or both.

An epoch of such a trial is an epoch of each of its nets, one after another; its metrics are their
means, so whatever judges trials judges the mean. The state of all is one `TrainState`, in which the
names of net number k's arrays begin with ``k/``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cnn_core.axes import Array
from cnn_core.checkpoint import TrainState, Weights
from cnn_core.data.splits import split_of, steps_in_epoch
from cnn_core.spec import Spec

Metrics = dict[str, float]
JUDGED = ("train_", "valid_")  # the beginnings of the metrics' names that are kept of each net


def nets_of(spec: Spec) -> tuple[Spec, ...]:
    """Return the spec of each net that a spec trains: itself, or one for each seed and fold.

    The first net of `seeds` is the one that the spec without them trains. Where folds differ in
    size, all nets take as many steps an epoch as the one with the fewest images.
    """
    if spec.nets == 1:
        return (spec,)
    nets = [
        _one_net(spec, repeat * (spec.folds or 1) + fold, fold)
        for repeat in range(spec.seeds)
        for fold in range(spec.folds or 1)
    ]
    steps = {epoch_steps(net) for net in nets}
    if len(steps) > 1:
        nets = [replace(n, train=replace(n.train, steps_per_epoch=min(steps))) for n in nets]
    return tuple(nets)


def _one_net(spec: Spec, number: int, fold: int) -> Spec:
    data = spec.data if spec.folds is None else replace(spec.data, fold=fold, folds=spec.folds)
    # With a zero between: a trial's own runs with fresh seeds are numbered right after its seed.
    seed = (*spec.seed, 0, number) if number else spec.seed
    return replace(spec, data=data, seed=seed, seeds=1, folds=None)


def epoch_steps(net: Spec) -> int:
    """Return the steps in an epoch of one net."""
    train = net.train
    images = 0 if train.steps_per_epoch is not None else len(split_of(net.data).train)
    return steps_in_epoch(images, train.batch_size, train.steps_per_epoch)


def judged_images(spec: Spec) -> int:
    """Return the number of different validation images behind a metric of an epoch."""
    size, folds = spec.train.eval_size, nets_of(spec)[: spec.folds or 1]
    counts = [len(split_of(net.data).valid) for net in folds]
    return sum(counts if size is None else [min(count, size) for count in counts])


def joined(
    states: Sequence[TrainState], rows: Sequence[Metrics], past: Sequence[Metrics]
) -> tuple[TrainState, Metrics]:
    """Return the state of all nets after an epoch, and its metrics: the mean of each, the sum of
    ``epoch_s``, and of losses and what else was measured on images also ``/std``, the standard
    deviation between the nets, and ``/net1``, ``/net2``, ... themselves.

    `rows` are the nets' metrics of this epoch, `past` the joint ones of the epochs before it.
    """
    row = _mean_of(rows)
    state = TrainState(
        epoch=states[0].epoch,
        step=states[0].step,
        params=_named([state.params for state in states]),
        buffers=_named([state.buffers for state in states]),
        optimizer=_named([state.optimizer for state in states]),
        average=_named_weights([state.average for state in states]),
        best=_named_weights([state.best for state in states]),
        history=[*past, row],
    )
    return state, {**row, "epoch_s": sum(one["epoch_s"] for one in rows)}


def parted(state: TrainState, count: int) -> list[TrainState]:
    """Return the states of the `count` nets in a joint one; their histories hold what was kept of
    each net.
    """
    return [
        TrainState(
            epoch=state.epoch,
            step=state.step,
            params=_of_net(state.params, k),
            buffers=_of_net(state.buffers, k),
            optimizer=_of_net(state.optimizer, k),
            average=_weights_of_net(state.average, k),
            best=_weights_of_net(state.best, k),
            history=[_row_of_net(row, k) for row in state.history],
        )
        for k in range(count)
    ]


def _mean_of(rows: Sequence[Metrics]) -> Metrics:
    """Return the joint metrics of an epoch, without its duration."""
    joint: Metrics = {}
    for name in rows[0]:
        values = [row[name] for row in rows if name in row]
        if name != "epoch_s" and len(values) == len(rows):  # the norms end with a net that diverges
            joint[name] = float(np.mean(values))
            if name.startswith(JUDGED):
                joint[f"{name}/std"] = float(np.std(values, ddof=1))
                joint |= {f"{name}/net{k}": value for k, value in enumerate(values, 1)}
    return joint


def _row_of_net(row: Metrics, k: int) -> Metrics:
    end = f"/net{k + 1}"
    return {name.removesuffix(end): value for name, value in row.items() if name.endswith(end)}


def _named(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {f"{k}/{name}": array for k, part in enumerate(parts) for name, array in part.items()}


def _of_net(arrays: Mapping[str, Array], k: int) -> dict[str, Array]:
    start = f"{k}/"
    return {name.removeprefix(start): a for name, a in arrays.items() if name.startswith(start)}


def _named_weights(parts: Sequence[Weights | None]) -> Weights | None:
    """Return the weights of all nets; None where a net has none, as before a finite loss."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Weights(_named([w.params for w in known]), _named([w.buffers for w in known]))


def _weights_of_net(weights: Weights | None, k: int) -> Weights | None:
    if weights is None:
        return None
    return Weights(_of_net(weights.params, k), _of_net(weights.buffers, k))
