"""Several nets trained as one are the nets that are trained one by one, to the bit; their metrics
are the nets' means.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnn_core import checkpoint
from cnn_core.data.splits import split_of
from cnn_core.repeats import judged_images, nets_of
from cnn_core.replanning import ending_at, planned_steps, whole_epoch
from cnn_core.spec import Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import (
    TrainState,
    fit,
    objective,
    objectives,
    selected_weights,
    train_epoch,
)
from tests.core.test_training import assert_same_bits

Make = Callable[..., Spec]
SELECTS = ("last", "average", "best")


def alone(spec: Spec, epochs: int) -> list[TrainState]:
    """The states of one net after each epoch."""
    states: list[TrainState] = []
    for _ in range(epochs):
        states.append(train_epoch(spec, states[-1] if states else None)[0])
    return states


def of_net(state: TrainState, k: int) -> dict[str, bytes]:
    """The arrays of net number `k` in a joint state."""
    parts = {"params": state.params, "buffers": state.buffers, "optimizer": state.optimizer}
    return {
        f"{part} {name.removeprefix(f'{k}/')}": array.tobytes()
        for part, arrays in parts.items()
        for name, array in arrays.items()
        if name.startswith(f"{k}/")
    }


def arrays_alone(state: TrainState) -> dict[str, bytes]:
    parts = {"params": state.params, "buffers": state.buffers, "optimizer": state.optimizer}
    return {f"{p} {name}": a.tobytes() for p, arrays in parts.items() for name, a in arrays.items()}


@pytest.mark.parametrize("select", SELECTS)
def test_each_net_is_the_one_trained_alone(tiny_spec: Make, select: str) -> None:
    train = TrainSpec(epochs=2, batch_size=50, select=select, average_decay=0.9)
    plain = tiny_spec(train=train)
    first, _ = train_epoch(replace(plain, seeds=3), None)
    second, metrics = train_epoch(replace(plain, seeds=3), first)
    nets = [plain, replace(plain, seed=(7, 1, 0, 1)), replace(plain, seed=(7, 1, 0, 2))]
    one_by_one = [alone(net, 2) for net in nets]
    for k, states in enumerate(one_by_one):
        assert of_net(first, k) == arrays_alone(states[0])
        assert of_net(second, k) == arrays_alone(states[1])
    rows = [states[1].history[1] for states in one_by_one]
    assert second.history[0]["train_loss"] == np.mean(
        [s[0].history[0]["train_loss"] for s in one_by_one]
    )
    for name in rows[0]:
        values = [row[name] for row in rows]
        assert metrics[name] == pytest.approx(statistics.fmean(values), rel=1e-12)
        if name.startswith("valid_"):
            assert metrics[f"{name}/std"] == pytest.approx(statistics.stdev(values), abs=1e-12)
            assert [metrics[f"{name}/net{k}"] for k in (1, 2, 3)] == values
    whole, values = (
        replace(plain, seeds=3),
        [objective(net, s[1]) for net, s in zip(nets, one_by_one, strict=True)],
    )
    assert objectives(whole, second) == values
    assert objective(whole, second) == pytest.approx(statistics.fmean(values), rel=1e-12)
    kept, own = selected_weights(whole, second), selected_weights(plain, one_by_one[0][1])
    assert kept.params.keys() == own.params.keys()
    assert all(np.array_equal(kept.params[name], own.params[name]) for name in own.params)


def test_each_net_has_a_best_epoch_of_its_own(tiny_spec: Make) -> None:
    train = TrainSpec(epochs=6, batch_size=20, select="best")
    plain = tiny_spec(train=train, optimizer={"name": "sgd", "lr": 0.5})
    whole = replace(plain, seeds=4)
    state, ones = fit(whole), [fit(net) for net in nets_of(whole)]
    losses = [[row["valid_loss"] for row in one.history] for one in ones]
    assert len({loss.index(min(loss)) for loss in losses}) > 1, "all have the same best epoch"
    values = [objective(net, one) for net, one in zip(nets_of(whole), ones, strict=True)]
    assert objectives(whole, state) == values
    assert state.best is not None
    for k, one in enumerate(ones):
        assert one.best is not None
        for name, array in one.best.params.items():
            assert np.array_equal(state.best.params[f"{k}/{name}"], array)


def test_folds_are_a_cross_validation(tiny_spec: Make) -> None:
    plain = tiny_spec()
    data = replace(plain.data, train_size=None, valid_size=None)
    whole = replace(plain, data=data, folds=4, train=TrainSpec(epochs=1, batch_size=8))
    nets = nets_of(whole)
    assert [net.data.fold for net in nets] == [0, 1, 2, 3]
    assert len({net.seed for net in nets}) == 4
    judged = np.concatenate([split_of(net.data).valid for net in nets])
    free = np.concatenate([split_of(data).train, split_of(data).valid])
    assert np.array_equal(np.sort(judged), np.sort(free))
    assert judged_images(whole) == len(free)
    assert judged_images(replace(whole, seeds=2)) == len(free)
    steps = {whole_epoch(net) for net in nets}
    assert len(steps) == 1 and whole_epoch(whole) == steps.pop()
    state, metrics = train_epoch(whole, None)
    for k, net in enumerate(nets):
        after, row = train_epoch(net, None)
        assert of_net(state, k) == arrays_alone(after)
        assert metrics[f"valid_accuracy/net{k + 1}"] == row["valid_accuracy"]


def test_folds_of_unlike_size_take_the_same_steps(tiny_spec: Make) -> None:
    plain = tiny_spec()
    images = len(split_of(plain.data).train) + len(split_of(plain.data).valid)
    data = replace(plain.data, train_size=None, valid_size=None)
    free = len(split_of(data).train) + len(split_of(data).valid)
    assert images < free
    folds = next(k for k in range(3, 20) if free % k)  # so that folds differ by one image
    smaller = free - math.ceil(free / folds)  # training images where the larger fold is left out
    whole = replace(plain, data=data, folds=folds, train=TrainSpec(epochs=1, batch_size=smaller))
    assert {len(split_of(net.data).train) for net in nets_of(whole)} == {smaller, smaller + 1}
    assert {whole_epoch(net) for net in nets_of(whole)} == {1}


def test_seeds_and_folds_together(tiny_spec: Make) -> None:
    nets = nets_of(tiny_spec(seeds=2, folds=3, data=replace(tiny_spec().data, train_size=None)))
    assert [net.data.fold for net in nets] == [0, 1, 2, 0, 1, 2]
    assert len({net.seed for net in nets}) == 6
    assert all(net.seeds == 1 and net.folds is None for net in nets)


def test_a_joint_checkpoint_continues_to_the_same_bits(tiny_spec: Make, tmp_path: Path) -> None:
    train = TrainSpec(epochs=3, batch_size=50, select="average")
    spec = tiny_spec(seeds=2, train=train)
    first, _ = train_epoch(spec, None)
    checkpoint.save(tmp_path / "c.npz", first, spec)
    assert_same_bits(checkpoint.load(tmp_path / "c.npz", spec), first)
    resumed = checkpoint.load(tmp_path / "c.npz", spec)
    assert_same_bits(train_epoch(spec, resumed)[0], train_epoch(spec, first)[0])


def test_a_net_that_diverges_makes_the_mean_so(tiny_spec: Make) -> None:
    spec = tiny_spec(seeds=2, optimizer={"name": "sgd", "lr": 1e30})
    _, metrics = train_epoch(spec, None)
    assert math.isnan(metrics["train_loss"]) and math.isnan(metrics["valid_accuracy"])


def test_an_end_that_is_moved_holds_for_each_net(tiny_spec: Make) -> None:
    spec = tiny_spec(seeds=2, train=TrainSpec(epochs=4, batch_size=50))
    state, _ = train_epoch(spec, None)
    moved = ending_at(spec, 1, whole_epoch(spec) + 2)
    state = fit(moved, state=state)
    assert (state.step, state.epoch) == (planned_steps(moved), moved.train.epochs)
    for k, net in enumerate(nets_of(moved)):
        own = fit(net, state=train_epoch(nets_of(spec)[k], None)[0])
        assert of_net(state, k) == arrays_alone(own)


def test_one_net_is_the_spec_itself_and_keeps_its_digest(tiny_spec: Make) -> None:
    spec = tiny_spec()
    assert nets_of(spec) == (spec,)
    assert replace(spec, seeds=1, folds=None).digest() == spec.digest()
    assert len({replace(spec, seeds=n).digest() for n in (1, 2, 3)}) == 3
    assert replace(spec, folds=3).digest() != spec.digest()
