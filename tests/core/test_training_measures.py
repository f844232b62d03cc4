"""Training by a contest's measure: it stands among an epoch's metrics and is the objective; and
with classes weighted alike.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnn_core.axes import Images, Labels
from cnn_core.data.prepared import open_prepared, write_prepared
from cnn_core.data.splits import split_of
from cnn_core.measures import MEASURES, measured
from cnn_core.spec import DataSpec, Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import fit, objective, predict_proba, selected_weights, train_epoch

Make = Callable[..., Spec]


@pytest.mark.parametrize("measure", MEASURES)
def test_the_measure_of_the_selected_weights_is_the_objective(
    measure: str, tiny_spec: Make
) -> None:
    spec = tiny_spec(measure=measure, top_k=2)
    state = fit(spec)
    valid = split_of(spec.data).valid
    prepared = open_prepared(spec.data.folder, spec.data.digest)
    probabilities = predict_proba(spec, *selected_weights(spec, state), prepared.images[valid])
    expected = measured(measure, probabilities, prepared.labels[valid], 2)
    assert objective(spec, state) == pytest.approx(expected, abs=1e-6)
    assert state.history[-1][f"valid_{measure}"] == objective(spec, state)
    assert "valid_accuracy" in state.history[-1]


def test_an_accuracy_study_has_no_other_metrics_and_the_same_bits(tiny_spec: Make) -> None:
    plain, judged = tiny_spec(), tiny_spec(measure="macro_f1")
    (one, row), (other, more) = train_epoch(plain, None), train_epoch(judged, None)
    assert set(more) - set(row) == {"valid_macro_f1"}
    for name, values in one.params.items():
        assert np.array_equal(values, other.params[name]), "a measure does not change training"


def test_weighted_classes_find_the_rare_one(
    digits: tuple[Images, Labels], tiny_spec: Make, tmp_path: Path
) -> None:
    images, labels = digits
    chosen = np.concatenate([np.flatnonzero(labels == 1), np.flatnonzero(labels == 8)[:24]])
    uneven = np.where(labels[chosen] == 8, 1, 0)
    digest = write_prepared(tmp_path / "set", images[chosen], uneven, classes=2, name="uneven")
    data = DataSpec(
        folder=str(tmp_path / "set"),
        digest=digest,
        image_shape=(1, 8, 8),
        classes=2,
        valid_fraction=0.5,
    )

    def recall(weights: str) -> float:
        spec = tiny_spec(data=data, measure="balanced_accuracy")
        train = replace(spec.train, class_weights=weights, epochs=4, batch_size=16)
        spec = replace(spec, train=train)
        return objective(spec, fit(spec))

    assert TrainSpec().class_weights == "none"
    assert recall("balanced") > recall("none")
