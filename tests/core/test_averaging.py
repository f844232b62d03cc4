"""Batch normalisation's statistics drawn anew are the plain means over the batches."""

import numpy as np
import pytest

from cnn_core.architectures import build_model, reference
from cnn_core.averaging import decay_at, recompute_statistics
from cnn_core.streams import stream


def test_recomputed_statistics_are_plain_means() -> None:
    model = build_model(
        reference("contest", filters=3, batch_norm="before", dropout=0.0),
        (1, 6, 6),
        4,
        stream((0,), "init"),
        np.float64,
    )
    inputs = np.random.default_rng(0).random((5, 1, 6, 6, 8))
    model.buffers["norm1.running_mean"][...] = 1e6
    buffers = recompute_statistics(model, 5, lambda i: inputs[i])
    outputs = [model.layers[0].forward(x, training=True).reshape(3, -1).copy() for x in inputs]
    np.testing.assert_allclose(
        buffers["norm1.running_mean"], np.mean([y.mean(axis=1) for y in outputs], axis=0)
    )
    np.testing.assert_allclose(
        buffers["norm1.running_var"], np.mean([y.var(axis=1) for y in outputs], axis=0)
    )
    assert model.layers[1].momentum == 0.9  # type: ignore[attr-defined]
    assert buffers["norm1.running_mean"] is not model.buffers["norm1.running_mean"]


def test_the_decay_warms_up() -> None:
    assert decay_at(1, 0.999) == pytest.approx(2 / 11)
    assert decay_at(10**6, 0.999) == 0.999
