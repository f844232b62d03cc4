"""A training whose net is compressed on the way: what is best, ends early, or diverges."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cnn_core.epoch import alike, best_of
from cnn_core.spec import ModelSpec, Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import fit, objective, predict_proba, selected_weights, train_epoch
from cnn_core.training_data import data_of

Make = Callable[..., Spec]


def thin(tiny_spec: Make, **train: object) -> Spec:
    spec = tiny_spec(model=ModelSpec(name="mlp", hidden=(16,), rank=2))
    return replace(spec, train=replace(TrainSpec(batch_size=20), **train))  # type: ignore[arg-type]


def test_the_best_epoch_is_one_of_the_compressed_net(tiny_spec: Make) -> None:
    spec = thin(tiny_spec, epochs=5, full_rank_epochs=3, select="best")
    state = fit(spec)
    losses = [row["valid_loss"] for row in state.history]
    chosen = min(range(2, 5), key=lambda at: losses[at])  # the third ends with the compression
    assert state.best is not None and "dense1_basis.W" in state.best.params
    assert objective(spec, state) == state.history[chosen]["valid_accuracy"]
    data, weights = data_of(spec.data), selected_weights(spec, state)
    images = np.asarray(data.valid_images[data.valid])
    found = predict_proba(spec, weights.params, weights.buffers, images).argmax(axis=1)
    right = float(np.mean(found == data.labels[data.valid]))
    assert math.isclose(right, state.history[chosen]["valid_accuracy"])


def test_epochs_of_the_whole_net_do_not_count_once_it_is_compressed(tiny_spec: Make) -> None:
    spec = thin(tiny_spec, epochs=4, full_rank_epochs=2, select="best")
    rows = [{"valid_loss": loss} for loss in (0.1, 0.9, 0.8, math.nan)]
    assert best_of(spec, rows) == {"valid_loss": 0.8}
    assert best_of(spec, rows[:1]) == {"valid_loss": 0.1}, "not yet compressed"
    assert alike(spec, rows, 4) == rows[1:]
    whole = replace(spec, model=replace(spec.model, rank=None))
    assert best_of(whole, rows) == {"valid_loss": 0.1}
    assert best_of(whole, [{"valid_loss": math.nan}, {}]) is None


def test_a_training_cut_short_ends_compressed(tiny_spec: Make) -> None:
    spec = thin(tiny_spec, epochs=6, full_rank_epochs=4)
    shorter = replace(spec, train=replace(spec.train, epochs=2))
    state, _ = train_epoch(shorter, None)
    assert "dense1.W" in state.params and "dense1_basis.W" not in state.params
    state, _ = train_epoch(shorter, state)
    assert "dense1_basis.W" in state.params


def test_a_net_that_diverged_is_compressed_without_a_word(tiny_spec: Make) -> None:
    spec = thin(tiny_spec, epochs=2, full_rank_epochs=1)
    spec = replace(spec, optimizer={"name": "sgd", "lr": 1e39})
    state, _ = train_epoch(spec, None)
    state, row = train_epoch(spec, state)
    assert math.isnan(row["train_loss"])
