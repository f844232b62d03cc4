"""Muon's steps against a singular value decomposition, and what moves by which rule."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import svd

from cnn_core.laws.optimizer_laws import Make
from cnn_core.optimizers import Optimizer, make_optimizer
from cnn_core.optimizers.muon import Orthogonalization, inner_weights

RNG = np.random.default_rng(5)


def moved(s: float) -> float:
    """A singular value after five rounds, by the polynomial alone."""
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return s


@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (9, 2), (1, 5)])
def test_singular_vectors_stay_and_values_come_near_one(shape: tuple[int, int]) -> None:
    m = RNG.standard_normal(shape)
    U, S, V = svd(m, full_matrices=False)
    expected = U @ np.diag([moved(s / np.linalg.norm(m)) for s in S]) @ V
    found = Orthogonalization(*shape, np.dtype(np.float64), 5)(m)
    assert_allclose(found, expected, atol=1e-5)
    assert np.all(np.abs(svd(found, compute_uv=False) - 1) < 0.35)


def test_no_gradient_is_no_step() -> None:
    assert_array_equal(Orthogonalization(3, 4, np.dtype(np.float32), 3)(np.zeros((3, 4))), 0)


def test_inner_weights_are_the_matrices_before_the_last() -> None:
    params = {"conv1.W": np.ones((2, 1, 3, 3)), "conv1.b": np.ones(2), "norm1.gamma": np.ones(2)}
    params |= {"dense1.W": np.ones((4, 8)), "dense1.b": np.ones(4), "dense2.W": np.ones((3, 4))}
    assert inner_weights(params) == ["conv1.W", "dense1.W"]


def test_two_steps_of_every_kind_of_parameter() -> None:
    shapes = {"conv1.W": (6, 2, 1, 2), "conv1.b": (6,), "dense1.W": (3, 6)}
    params = {name: RNG.standard_normal(shape) for name, shape in shapes.items()}
    start = {name: p.copy() for name, p in params.items()}
    gradients = [{name: RNG.standard_normal(s) for name, s in shapes.items()} for _ in range(2)]
    settings = {"lr": 0.1, "momentum": 0.5, "adam_lr": 0.01, "weight_decay": 0.25}
    muon = make_optimizer({"name": "muon", "rounds": 5, **settings})
    for k, factor in enumerate((1.0, 0.5)):
        muon.step(params, gradients[k], factor)

    W, m = start["conv1.W"].reshape(6, 4), np.zeros((6, 4))
    for k, factor in enumerate((1.0, 0.5)):
        g = gradients[k]["conv1.W"].reshape(6, 4)
        m = 0.5 * m + g
        U, S, V = svd(g + 0.5 * m, full_matrices=False)
        step = U @ np.diag([moved(s / np.linalg.norm(S)) for s in S]) @ V
        W = W * (1 - 0.1 * factor * 0.25) - 0.1 * factor * np.sqrt(6 / 4) * step
    assert_allclose(params["conv1.W"].reshape(6, 4), W, atol=1e-6)

    adamw = make_optimizer({"name": "adamw", "lr": 0.01, "weight_decay": 0.25})
    others = {name: start[name] for name in ("conv1.b", "dense1.W")}
    for k, factor in enumerate((1.0, 0.5)):
        adamw.step(others, {name: gradients[k][name] for name in others}, factor)
    for name, p in others.items():
        assert_array_equal(params[name], p)


def make(**given: float) -> Optimizer:
    return make_optimizer({"name": "muon", **given})


def stepped(optimizer: Optimizer, params: dict[str, np.ndarray], seed: int) -> None:
    rng = np.random.default_rng(seed)
    optimizer.step(params, {k: rng.standard_normal(p.shape) for k, p in params.items()})


def test_a_state_with_inner_weights_continues_to_the_same_bits(new: Make = make) -> None:
    shapes = {"conv1.W": (4, 1, 3, 3), "conv1.b": (4,), "dense1.W": (3, 4)}
    params = {name: np.ones(shape) for name, shape in shapes.items()}
    first, second = new(), new()
    stepped(first, params, 1)
    stepped(second, {name: np.ones(shape) for name, shape in shapes.items()}, 9)
    copy, state = {name: p.copy() for name, p in params.items()}, first.state()
    second.load_state(state)
    for seed in (2, 3):
        stepped(first, params, seed)
        stepped(second, copy, seed)
    for name, p in params.items():
        assert_array_equal(copy[name], p)
    assert set(state) == {
        "step",
        "conv1.W:momentum",
        *(f"{name}:{key}" for name in ("conv1.b", "dense1.W") for key in "mv"),
    }


def test_the_state_of_another_kind_is_refused() -> None:
    adamw = make_optimizer({"name": "adamw"})
    stepped(adamw, {"conv1.W": np.ones((4, 3)), "dense1.W": np.ones((3, 4))}, 1)
    with pytest.raises(ValueError, match=r"muon: the state must hold 'momentum'.*'conv1.W'"):
        make().load_state(adamw.state())


def test_the_gradient_is_left_as_it_is() -> None:
    params = {"a.W": np.ones((2, 3)), "b.W": np.ones((2, 2))}
    g = {"a.W": np.arange(6.0).reshape(2, 3), "b.W": np.ones((2, 2))}
    make().step(params, g)
    assert_array_equal(g["a.W"], np.arange(6.0).reshape(2, 3))
