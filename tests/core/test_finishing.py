"""A net that is to be kept: the statistics drawn anew are a pure function of spec and state."""

from collections.abc import Callable

import numpy as np

from cnn_core.finishing import finished_weights
from cnn_core.spec import ModelSpec, Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import train_epoch

Make = Callable[..., Spec]


def test_finishing_is_a_pure_function_also_with_dropout_before_a_normalisation(
    tiny_spec: Make,
) -> None:
    spec = tiny_spec(
        model=ModelSpec(name="mlp", hidden=(8, 8), dropout=0.5, batch_norm="before"),
        train=TrainSpec(epochs=1, batch_size=50),
    )
    state, _ = train_epoch(spec, None)
    first = finished_weights(spec, state, 3)
    train_epoch(spec, state)
    again = finished_weights(spec, state, 3)
    for name, statistic in first.buffers.items():
        np.testing.assert_array_equal(again.buffers[name], statistic)
        assert (statistic != state.buffers[name]).any()
    for name, p in first.params.items():
        np.testing.assert_array_equal(p, state.params[name])


def test_no_batches_leave_the_weights_as_they_are(tiny_spec: Make) -> None:
    spec = tiny_spec(train=TrainSpec(epochs=1, batch_size=50, select="average"))
    state, _ = train_epoch(spec, None)
    assert finished_weights(spec, state, 0) is state.average
