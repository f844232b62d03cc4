"""What the course notes show holds here too, trained briefly on small digits; and what the specs of
the sources' presets ask for does what it says.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cnn_core.architectures import build_model, reference
from cnn_core.checkpoint import TrainState
from cnn_core.errors import InputError
from cnn_core.layers import AveragePooling, LpPooling
from cnn_core.low_rank import compress, largest_rank
from cnn_core.spec import DataSpec, ModelSpec, RegularizerSpec, Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import check_spec, fit, train_epoch

Metrics = dict[str, float]
Train = Callable[..., Metrics]
SIGMOID = ModelSpec(name="mlp", hidden=(40, 20), activation="sigmoid", init="normal")
RELU = ModelSpec(name="mlp", hidden=(40, 20))
SGD = {"name": "sgd", "lr": 0.1}


@pytest.fixture(scope="module")
def train(digits_data: DataSpec) -> Train:
    """A function that trains a net for some iterations of 100 and returns its last metrics."""

    def one(
        model: ModelSpec,
        iterations: int,
        optimizer: dict[str, object] = SGD,
        train_size: int | None = None,
        **regularizer: float,
    ) -> Metrics:
        steps = TrainSpec(
            epochs=iterations // 50,
            batch_size=100,
            steps_per_epoch=50,
            sampling="replacement",
            eval_size=1000,
        )
        spec = Spec(
            data=replace(digits_data, train_size=train_size),
            model=model,
            optimizer=optimizer,
            regularizer=RegularizerSpec(**regularizer),
            train=steps,
            seed=(2024,),
        )
        return fit(spec).history[-1]

    return one


def test_small_weights_make_sigmoids_gradient_vanish(train: Train) -> None:
    vanished, learns = train(SIGMOID, 300), train(RELU, 300)
    assert vanished["valid_accuracy"] < 0.2 < 0.9 < learns["valid_accuracy"]
    assert vanished["grad_norm/dense1"] < vanished["grad_norm/dense3"] / 100
    assert learns["grad_norm/dense1"] > learns["grad_norm/dense3"] / 10


def test_xavier_rescues_sigmoid_and_he_does_too(train: Train) -> None:
    stuck = train(SIGMOID, 1000)
    for init in ("xavier", "he"):
        found = train(replace(SIGMOID, init=init), 1000)
        assert found["valid_accuracy"] > stuck["valid_accuracy"] + 0.3


def test_relu_trains_from_where_sigmoid_does_not(train: Train) -> None:
    # Three layers of 8x8 images: a spread of 0.05 is as small for 64 inputs as 0.01 for 784.
    sigmoid = train(replace(SIGMOID, init_std=0.05), 1000)
    relu = train(replace(SIGMOID, init_std=0.05, activation="relu"), 1000)
    assert sigmoid["valid_accuracy"] < 0.3 < 0.8 < relu["valid_accuracy"]


def test_adaptive_optimizers_leave_the_plateau_that_holds_sgd(train: Train) -> None:
    course = {"lr": 0.01, "eps": 1e-7}
    assert train(SIGMOID, 400, {"name": "sgd", "lr": 0.01})["valid_accuracy"] < 0.2
    for chosen in (
        {"name": "rmsprop", "decay": 0.99, **course},
        {"name": "adam", "eps_corrected": False, **course},
    ):
        assert train(SIGMOID, 400, chosen)["valid_accuracy"] > 0.7
    saturated = train(SIGMOID, 300, {"name": "rmsprop", "decay": 1.0, **course})
    assert saturated["valid_accuracy"] < 0.2


def test_penalties_reduce_the_gap_and_cost_accuracy(train: Train) -> None:
    deep, slow = ModelSpec(name="mlp", hidden=(50,) * 3), {"name": "sgd", "lr": 0.01}

    def gap(metrics: Metrics) -> float:
        return metrics["train_accuracy"] - metrics["valid_accuracy"]

    nothing = train(deep, 1000, slow, 100)
    strong = train(deep, 1000, slow, 100, l2=0.1)
    assert nothing["train_accuracy"] > 0.97
    assert gap(strong) < gap(nothing)
    assert strong["valid_accuracy"] <= nothing["valid_accuracy"] + 0.02
    suppressed = train(replace(deep, dropout=0.8), 1000, slow, 100)
    assert suppressed["train_accuracy"] < nothing["train_accuracy"] - 0.1, (
        "too much dropout suppresses too much"
    )


def compressing(digits: DataSpec, epochs: int = 3, rank: int | None = 3, **changes: object) -> Spec:
    return Spec(
        data=replace(digits, train_size=200, valid_size=100),
        model=ModelSpec(name="mlp", hidden=(20,), rank=rank),
        optimizer={"name": "adam", "lr": 0.01},
        train=TrainSpec(epochs=epochs, batch_size=50, full_rank_epochs=2, **changes),
        seed=(1,),
    )


def test_a_net_is_whole_until_it_is_compressed(digits_data: DataSpec) -> None:
    """The epochs before are the whole net's to the bit, the state after is what compress makes."""
    spec = compressing(digits_data)
    whole = compressing(digits_data, rank=None)
    states: list[TrainState] = []
    plain: TrainState | None = None
    for _ in range(2):
        states.append(train_epoch(spec, states[-1] if states else None)[0])
        plain, metrics = train_epoch(whole, plain)
    assert plain is not None
    first, second = states
    assert set(first.params) == set(plain.params)
    assert second.history[0] == plain.history[0]
    assert second.history[1]["train_loss"] == metrics["train_loss"]
    net = build_model(whole.model, (1, 8, 8), 10, np.random.default_rng(0))
    net.load(plain.params, plain.buffers)
    thin = compress(net, 3)
    assert {k: v.tobytes() for k, v in second.params.items()} == {
        k: v.tobytes() for k, v in thin.params.items()
    }
    third, after = train_epoch(spec, second)
    assert after["train_loss"] < second.history[1]["valid_loss"]
    assert third.params["dense1_basis.W"].shape == (3, 64)


@pytest.mark.parametrize("select", ["average", "best"])
def test_compression_starts_what_selects_weights_afresh(digits_data: DataSpec, select: str) -> None:
    state = fit(compressing(digits_data, select=select, average_decay=0.5))
    for kept in (state.average, state.best):
        assert kept is None or kept.params.keys() == state.params.keys()


def test_a_net_that_is_never_compressed_is_refused(digits_data: DataSpec) -> None:
    with pytest.raises(InputError, match=r"train\.full_rank_epochs: must be at most"):
        check_spec(compressing(digits_data, epochs=1))


def test_the_largest_rank_is_the_last_that_saves() -> None:
    net = build_model(ModelSpec(name="mlp", hidden=(24,)), (1, 8, 8), 10, np.random.default_rng(0))
    most = largest_rank(net)  # 24 * 64 / (24 + 64) = 17.5
    assert most == 17
    assert compress(net, most).multiply_adds() < net.multiply_adds()
    assert compress(net, most + 1).multiply_adds() == net.multiply_adds()


def test_same_padding_keeps_the_map_and_valid_does_not() -> None:
    def first(padding: str | None) -> tuple[int, ...]:
        spec = reference("three_conv", padding=padding)
        return build_model(spec, (1, 28, 28), 10, np.random.default_rng(0)).layers[0].out_shape

    assert first(None) == first("valid") == (32, 26, 26)
    assert first("same") == (32, 28, 28)


def test_a_power_of_one_pools_by_the_average_and_none_by_the_maximum() -> None:
    def pooling(p: float | None) -> object:
        spec = reference("contest", pool_p=p)
        net = build_model(spec, (1, 28, 28), 10, np.random.default_rng(0))
        return next(layer for layer in net.layers if "pooling" in layer.kind)

    mean = pooling(1.0)
    assert isinstance(mean, LpPooling) and mean.p == 1
    average = AveragePooling(2)
    x = np.abs(np.random.default_rng(0).standard_normal((32, 28, 28, 2)).astype(np.float32))
    average.build((32, 28, 28), np.random.default_rng(0))
    np.testing.assert_allclose(
        mean.forward(x, training=False), average.forward(x, training=False), rtol=1e-5
    )
    assert type(pooling(None)).__name__ == "MaxPooling"


def test_raw_pixels_are_255_times_as_large() -> None:
    x = np.random.default_rng(0).random((1, 28, 28, 3)).astype(np.float32)
    nets = [
        build_model(reference("contest", input_scale=s), (1, 28, 28), 10, np.random.default_rng(0))
        for s in (1.0, 255.0)
    ]
    small, large = (net.forward(x, training=False) for net in nets)
    np.testing.assert_allclose(large, 255 * small, rtol=1e-3, atol=1e-2)  # no bias yet


def test_settings_at_their_defaults_leave_digests_alone() -> None:
    data = DataSpec(folder="", digest="d", image_shape=(1, 8, 8), classes=10, train_size=60)
    model = ModelSpec(name="mlp", hidden=(20,))
    plain = Spec(data=data, model=model, optimizer={"name": "adam", "lr": 0.01})
    # as it was before there were any of them
    known = "bcf6328b026b4d7f78d2d07d1ab72f2204993f823ca02d975412041241f2898c"
    assert plain.digest() == known
    changed = [("rank", 3), ("pool_p", 2.0), ("padding", "same"), ("input_scale", 255.0)]
    found = {replace(plain, model=replace(model, **{key: v})).digest() for key, v in changed}
    found.add(replace(plain, data=replace(data, train_choice="first")).digest())
    found.add(replace(plain, train=replace(plain.train, full_rank_epochs=1)).digest())
    assert len(found - {known}) == 6
