"""Nets learn, and training does what each field of the spec says: what is measured, chosen,
penalized, refused.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_core import training_data, training_net
from cnn_core.architectures import ARCHITECTURES, reference
from cnn_core.data.prepared import write_prepared
from cnn_core.errors import InputError
from cnn_core.losses import accuracy, log_loss
from cnn_core.spec import DataSpec, ModelSpec, RegularizerSpec, Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import (
    TrainState,
    check_spec,
    fit,
    objective,
    predict_proba,
    selected_weights,
    train_epoch,
)

Make = Callable[..., Spec]


@pytest.mark.parametrize("name", ["contest", "simple_convnet", "mlp", "vgg_bn"])
def test_32_images_are_overfitted(digits_data: DataSpec, name: str) -> None:
    data = replace(digits_data, train_size=32, valid_size=10)
    model = ModelSpec(name=name, filters=8, kernel=3, hidden=(32,) if name != "vgg_bn" else ())
    train = TrainSpec(epochs=1, batch_size=16, steps_per_epoch=120, eval_size=32)
    spec = Spec(data=data, model=model, optimizer={"name": "adam", "lr": 0.005}, train=train)
    _, metrics = train_epoch(spec, None)
    assert metrics["train_accuracy"] == 1.0
    assert metrics["train_loss"] < 0.05


def test_digits_are_learned(digits_data: DataSpec) -> None:
    train = TrainSpec(epochs=4, batch_size=25)
    model = ModelSpec(filters=16, kernel=3)
    spec = Spec(
        data=digits_data,
        model=model,
        optimizer={"name": "adam", "lr": 0.01},
        schedule={"name": "cosine"},
        train=train,
    )
    heard: list[int] = []
    state = fit(spec, on_epoch=lambda state, metrics: heard.append(state.epoch))
    assert heard == [1, 2, 3, 4]
    assert objective(spec, state) > 0.95
    losses = [m["train_loss"] for m in state.history]
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_net_learns_from_a_few_real_images(mnist_data: DataSpec, name: str) -> None:
    train = TrainSpec(epochs=1, batch_size=40, steps_per_epoch=40, eval_size=200)
    model = reference(name, filters=8, dropout=0.1)
    spec = Spec(data=mnist_data, model=model, optimizer={"name": "adam", "lr": 0.005}, train=train)
    _, metrics = train_epoch(spec, None)
    assert metrics["valid_accuracy"] > 0.6


def test_metrics_are_those_of_the_state(tiny_spec: Make) -> None:
    for select in ("last", "average"):
        spec = tiny_spec(train=TrainSpec(epochs=2, batch_size=32, eval_size=50, select=select))
        state, metrics = train_epoch(spec, None)
        data = training_data.data_of(spec.data)
        chosen = data.evaluation(data.valid, 50, spec.data.split_seed)
        probabilities = predict_proba(
            spec, *selected_weights(spec, state), data.valid_images[chosen]
        )
        assert len(chosen) == 50
        assert metrics["valid_accuracy"] == pytest.approx(
            accuracy(probabilities, data.labels[chosen])
        )
        assert metrics["valid_loss"] == pytest.approx(
            log_loss(probabilities, data.labels[chosen]), rel=1e-4
        )
        assert (
            metrics["valid_accuracy"]
            == objective(spec, state)
            == state.history[-1]["valid_accuracy"]
        )
        assert {"epoch_s"} == metrics.keys() - state.history[-1].keys()
        assert all(metrics[f"grad_norm/{name}"] > 0 for name in ("conv1", "norm1", "dense1"))
        assert all(metrics[f"activation_norm/{name}"] > 0 for name in ("conv1", "dense1"))


def test_the_moving_average_is_worked_out_by_hand(tiny_spec: Make) -> None:
    spec = tiny_spec(
        train=TrainSpec(epochs=3, batch_size=200, select="average", average_decay=0.25)
    )
    start = (
        training_net.TrainingNet(spec.model, (1, 8, 8), 10, spec.seed)
        .plain.params["dense1.W"]
        .copy()
    )
    first, _ = train_epoch(spec, None)
    second, _ = train_epoch(spec, first)
    assert first.average is not None and second.average is not None
    d1, d2 = 2 / 11, 3 / 12
    average = d1 * start + (1 - d1) * first.params["dense1.W"]
    np.testing.assert_allclose(first.average.params["dense1.W"], average, rtol=1e-5, atol=1e-7)
    average = min(d2, 0.25) * average + (1 - min(d2, 0.25)) * second.params["dense1.W"]
    np.testing.assert_allclose(second.average.params["dense1.W"], average, rtol=1e-5, atol=1e-7)


def test_best_is_the_epoch_of_lowest_validation_loss(
    tiny_spec: Make, digits_data: DataSpec
) -> None:
    train = TrainSpec(epochs=12, batch_size=10, select="best")
    model, few = (
        ModelSpec(name="mlp", hidden=(30,)),
        replace(digits_data, train_size=40, valid_size=100),
    )
    spec = tiny_spec(data=few, train=train, model=model, optimizer={"name": "adam", "lr": 0.1})
    states: list[TrainState] = []
    last = fit(spec, on_epoch=lambda state, _: states.append(state))
    losses = [m["valid_loss"] for m in last.history]
    lowest = int(np.argmin(losses))
    assert lowest < 11, "the learning rate is so large that the last epoch is not the best"
    np.testing.assert_array_equal(
        selected_weights(spec, last).params["dense1.W"], states[lowest].params["dense1.W"]
    )
    assert objective(spec, last) == last.history[lowest]["valid_accuracy"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("select", ["last", "average", "best"])
def test_a_diverging_net_gives_nan_and_nothing_else(tiny_spec: Make, select: str) -> None:
    model = ModelSpec(name="mlp", hidden=(20, 20))
    spec = tiny_spec(
        model=model,
        optimizer={"name": "sgd", "lr": 1e30},
        train=TrainSpec(epochs=2, batch_size=20, select=select),
    )
    state, metrics = train_epoch(spec, None)
    assert all(
        math.isnan(metrics[key])
        for key in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
    )
    assert math.isnan(objective(spec, state))
    assert state.epoch == 1 and state.step < 10
    _, metrics = train_epoch(spec, state)
    assert math.isnan(metrics["valid_loss"])


def test_rmsprop_with_decay_one_saturates_without_diverging(tiny_spec: Make) -> None:
    model = ModelSpec(name="mlp", hidden=(20, 10), activation="sigmoid", init="normal")
    spec = tiny_spec(model=model, optimizer={"name": "rmsprop", "lr": 0.01, "decay": 1.0})
    _, metrics = train_epoch(spec, None)
    assert math.isfinite(metrics["train_loss"]) and metrics["train_accuracy"] < 0.3


def test_without_validation_images_their_metrics_are_absent(
    tiny_spec: Make, digits_data: DataSpec
) -> None:
    spec = tiny_spec(data=replace(digits_data, valid_fraction=0.0, train_size=100))
    state, metrics = train_epoch(spec, None)
    assert not any(key.startswith("valid") for key in metrics)
    with pytest.raises(InputError, match="validation images are needed"):
        objective(spec, state)


def test_steps_and_learning_rates(tiny_spec: Make) -> None:
    schedule = {"name": "exponential", "gamma": 0.5}
    spec = tiny_spec(
        train=TrainSpec(epochs=3, batch_size=64),
        schedule=schedule,
        optimizer={"name": "sgd", "lr": 0.4},
    )
    state = fit(spec)
    assert state.step == 3 * 4, "200 images make four batches, the last of 8"
    assert int(state.optimizer["step"]) == state.step, "the optimizer goes on where it stood"
    assert [m["lr"] for m in state.history] == pytest.approx([0.4, 0.2, 0.1])


def test_each_epoch_has_an_order_and_changes_of_its_own(tiny_spec: Make) -> None:
    spec = tiny_spec(augment={"shift": 0.2})
    data, net = training_data.data_of(spec.data), training_net.net_of(spec.model, (1, 8, 8), 10)

    def first_batch(epoch: int, **changes: Any) -> tuple[Any, Any]:
        inputs = training_data.EpochInputs(replace(spec, **changes), data, epoch)
        x, labels = inputs(next(inputs.batches(7)), 0, net.batcher)
        return x.copy(), labels.copy()

    (x, labels), (later, others) = first_batch(0), first_batch(1)
    assert (labels != others).any() and (x != later).any()
    np.testing.assert_array_equal(first_batch(1)[0], later)
    plain, same = first_batch(0, augment={})
    np.testing.assert_array_equal(same, labels)
    assert (plain != x).any()


def test_penalties_clipping_and_smoothing_change_the_training(tiny_spec: Make) -> None:
    plain, _ = train_epoch(tiny_spec(), None)
    norm = float(np.linalg.norm(plain.params["dense1.W"]))
    for regularizer in (RegularizerSpec(l2=0.5), RegularizerSpec(l1=0.05)):
        state, _ = train_epoch(tiny_spec(regularizer=regularizer), None)
        assert float(np.linalg.norm(state.params["dense1.W"])) < norm
    clipped = tiny_spec(
        train=TrainSpec(epochs=3, batch_size=32, clip_norm=1e-3),
        optimizer={"name": "sgd", "lr": 1.0},
    )
    start = training_net.TrainingNet(clipped.model, (1, 8, 8), 10, clipped.seed).plain.params
    state, metrics = train_epoch(clipped, None)
    assert (
        0 < max(float(np.abs(state.params[name] - p).max()) for name, p in start.items()) < 7 * 1e-3
    ), "seven steps of length 0.001"
    assert metrics["grad_norm/dense1"] > 0.01, "norms are taken before clipping"
    _, smooth = train_epoch(
        tiny_spec(train=TrainSpec(epochs=3, batch_size=32, label_smoothing=0.5)), None
    )
    assert smooth["train_loss"] > 1.5, (
        "half of the target is spread: its entropy alone is about 1.6"
    )


def test_validation_reads_the_disturbed_images(
    tiny_spec: Make, digits: Any, digits_data: DataSpec, tmp_path: Path
) -> None:
    images, labels = digits
    digest = write_prepared(
        tmp_path / "black", np.zeros_like(images), labels, classes=10, name="black"
    )
    train = TrainSpec(epochs=1, batch_size=32, steps_per_epoch=60)
    clean = tiny_spec(
        train=train, model=ModelSpec(filters=8, kernel=3), optimizer={"name": "adam", "lr": 0.01}
    )
    black = replace(
        clean, data=replace(clean.data, valid_folder=str(tmp_path / "black"), valid_digest=digest)
    )
    (state, metrics), (other, dark) = train_epoch(clean, None), train_epoch(black, None)
    np.testing.assert_array_equal(state.params["conv1.W"], other.params["conv1.W"])
    assert metrics["train_loss"] == dark["train_loss"]
    assert metrics["valid_accuracy"] > 0.8 > 0.2 > dark["valid_accuracy"]
    wrong = write_prepared(
        tmp_path / "wrong", images[::-1].copy(), labels[::-1].copy(), classes=10, name="wrong"
    )
    with pytest.raises(InputError, match="in the same order"):
        train_epoch(
            replace(
                clean,
                data=replace(clean.data, valid_folder=str(tmp_path / "wrong"), valid_digest=wrong),
            ),
            None,
        )


def test_a_spec_that_breaks_a_rule_is_refused(tiny_spec: Make, digits_data: DataSpec) -> None:
    for changes, message in (
        ({"optimizer": {"name": "adam", "lr": -1}}, r"optimizer.lr"),
        ({"schedule": {"name": "cosine", "every": 1}}, r"schedule.every"),
        ({"augment": {"shfit": 0.1}}, r"augment.shfit: must be one of shift, .*, got 'shfit'"),
        ({"augment": {"shift": 2}}, r"augment.shift"),
        (
            {"model": ModelSpec(name="three_conv", kernel=3)},
            r"model three_conv does not fit images 1x8x8",
        ),
    ):
        with pytest.raises(InputError, match=message):
            check_spec(tiny_spec(**changes))
    one = TrainSpec(batch_size=1)
    check_spec(tiny_spec(train=one))  # a convolution's pixels have a variance
    with pytest.raises(
        InputError,
        match=r"train.batch_size: must be at least 2 with batch normalisation of dense layers "
        r"\(norm1\)",
    ):
        check_spec(
            tiny_spec(train=one, model=ModelSpec(name="mlp", hidden=(5,), batch_norm="after"))
        )
    with pytest.raises(InputError, match=r"images must be \(1, 9, 9\) with 10 classes"):
        train_epoch(tiny_spec(data=replace(digits_data, image_shape=(1, 9, 9))), None)
    out_of_range: dict[str, Any] = {
        "epochs": 0,
        "batch_size": 1.5,
        "sampling": "x",
        "select": "first",
        "clip_norm": 0.0,
        "label_smoothing": math.nan,
    }
    for name, value in out_of_range.items():
        with pytest.raises(InputError, match=f"train.{name}: must be"):
            TrainSpec(**{name: value})


def test_the_digest_of_a_spec_forgets_where_the_data_lie(tiny_spec: Make) -> None:
    spec = tiny_spec()
    assert replace(spec, data=replace(spec.data, folder="/elsewhere")).digest() == spec.digest()
    assert replace(spec, seed=(8,)).digest() != spec.digest()
    assert replace(spec, optimizer={"name": "adam", "lr": 0.004}).digest() != spec.digest()
