"""Optimizers against steps worked by hand, a parabola each, and the promise that a state continues
to the same bits.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_core.errors import InputError
from cnn_core.laws.optimizer_laws import (
    OPTIMIZER_LAWS,
    a_state_continues_to_the_same_bits,
    the_bottom_of_a_narrow_parabola_is_reached,
)
from cnn_core.optimizers import OPTIMIZERS, Optimizer, make_optimizer

# Two steps from w = 1 with gradients 0.5 and then -0.25, worked by hand (each line is the formula
# of the docstring).
ROOT = math.sqrt


def _adam(w: float, b1: float, b2: float, lr: float, eps: float, corrected: bool) -> float:
    m = v = 0.0
    for t, g in ((1, 0.5), (2, -0.25)):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        w -= (
            lr * m_hat / (ROOT(v_hat) + eps)
            if corrected
            else lr * ROOT(1 - b2**t) / (1 - b1**t) * m / (ROOT(v) + eps)
        )
    return w


def _adadelta() -> float:
    w, h, s = 1.0, 0.0, 0.0
    for g in (0.5, -0.25):
        h = 0.9 * h + 0.1 * g * g
        d = ROOT(s + 1e-3) / ROOT(h + 1e-3) * g
        s = 0.9 * s + 0.1 * d * d
        w -= 0.5 * d
    return w


HAND: dict[str, tuple[dict[str, Any], float]] = {
    "sgd": ({"lr": 0.1}, 1 - 0.05 + 0.025),
    "momentum": ({"lr": 0.1, "momentum": 0.9}, 1 - 0.05 + (0.9 * -0.05 + 0.025)),
    "nesterov": (
        {"lr": 0.1, "momentum": 0.9},
        1 + (0.9 * -0.05 - 0.05) + (0.9 * (0.9 * -0.05 + 0.025) + 0.025),
    ),
    "adagrad": (
        {"lr": 0.1, "eps": 1e-2},
        1 - 0.1 * 0.5 / (0.5 + 1e-2) + 0.1 * 0.25 / (ROOT(0.3125) + 1e-2),
    ),
    "rmsprop": (
        {"lr": 0.1, "decay": 0.9, "eps": 1e-2},
        1 - 0.1 * 0.5 / (ROOT(0.025) + 1e-2) + 0.1 * 0.25 / (ROOT(0.9 * 0.025 + 0.00625) + 1e-2),
    ),
    "adadelta": ({"lr": 0.5, "decay": 0.9, "eps": 1e-3}, _adadelta()),
    "adam": (
        {"lr": 0.1, "beta1": 0.8, "beta2": 0.9, "eps": 1e-2},
        _adam(1, 0.8, 0.9, 0.1, 1e-2, True),
    ),
    "adamw": ({"lr": 0.1, "weight_decay": 0.0}, _adam(1, 0.9, 0.999, 0.1, 1e-8, True)),
    # what is no matrix moves as with adamw
    "muon": ({"adam_lr": 0.1}, _adam(1, 0.9, 0.999, 0.1, 1e-8, True)),
}
RATE_OF = {"muon": "adam_lr"}  # of a parameter that is no matrix
# A rate at which each walks to the bottom of a narrow parabola within 400 steps.
PARABOLA = {
    "sgd": 0.15,
    "momentum": 0.02,
    "nesterov": 0.02,
    "adagrad": 0.9,
    "rmsprop": 0.02,
    "adadelta": 30.0,
    "adam": 0.1,
    "adamw": 0.1,
    "muon": 0.1,
}


def test_every_optimizer_has_its_rows() -> None:
    assert set(HAND) == set(PARABOLA) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", HAND)
def test_two_steps_worked_by_hand(name: str) -> None:
    arguments, expected = HAND[name]
    optimizer = make_optimizer({"name": name, **arguments})
    params, grads = {"a.W": np.ones(3)}, {"a.W": np.empty(3)}
    for g in (0.5, -0.25):
        grads["a.W"][...] = g
        optimizer.step(params, grads)
    np.testing.assert_allclose(params["a.W"], expected, rtol=1e-13)


@pytest.mark.parametrize("name", ["adagrad", "rmsprop"])
def test_eps_under_the_root(name: str) -> None:
    optimizer = make_optimizer({"name": name, "lr": 0.1, "eps": 0.01, "eps_outside": False})
    params = {"a.W": np.ones(1)}
    optimizer.step(params, {"a.W": np.array([0.5])})
    h = 0.25 if name == "adagrad" else 0.025
    assert params["a.W"][0] == pytest.approx(1 - 0.05 / ROOT(h + 0.01), rel=1e-13)


def test_the_course_notes_adam_leaves_eps_uncorrected() -> None:
    optimizer = make_optimizer({"name": "adam", "lr": 0.1, "eps": 0.01, "eps_corrected": False})
    params = {"a.W": np.ones(1)}
    for g in (0.5, -0.25):
        optimizer.step(params, {"a.W": np.array([g])})
    assert params["a.W"][0] == pytest.approx(_adam(1, 0.9, 0.999, 0.1, 0.01, False), rel=1e-13)


def test_rmsprop_with_decay_one_steps_by_lr_over_eps() -> None:
    optimizer = make_optimizer({"name": "rmsprop", "lr": 0.01, "decay": 1, "eps": 1e-7})
    params = {"a.W": np.ones(1)}
    optimizer.step(params, {"a.W": np.array([2e-3])})
    assert params["a.W"][0] == pytest.approx(1 - 0.01 * 2e-3 / 1e-7)


def test_adamw_decays_weights_and_nothing_else() -> None:
    optimizer = make_optimizer({"name": "adamw", "lr": 0.1, "weight_decay": 0.5})
    params = {name: np.full(2, 2.0) for name in ("conv1.W", "conv1.b", "norm1.gamma")}
    optimizer.step(params, {name: np.zeros(2) for name in params})
    np.testing.assert_allclose(params["conv1.W"], 2 * (1 - 0.1 * 0.5))
    for spared in ("conv1.b", "norm1.gamma"):
        np.testing.assert_array_equal(params[spared], 2.0)


def maker(name: str) -> Callable[..., Optimizer]:
    def make(**given: float) -> Optimizer:
        rate = {RATE_OF.get(name, "lr"): given.pop("lr")} if "lr" in given else {}
        return make_optimizer({"name": name, **rate, **given})

    return make


@pytest.mark.parametrize("name", PARABOLA)
def test_the_bottom_of_a_narrow_parabola(name: str) -> None:
    the_bottom_of_a_narrow_parabola_is_reached(maker(name), [PARABOLA[name]])


@pytest.mark.parametrize("law", OPTIMIZER_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_keeps_the_laws(
    name: str, law: Callable[[Callable[..., Optimizer]], None]
) -> None:
    law(maker(name))


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(steps=st.integers(0, 4), seed=st.integers(0, 100))
@settings(max_examples=10)
def test_a_state_continues_to_the_same_bits(name: str, steps: int, seed: int) -> None:
    a_state_continues_to_the_same_bits(maker(name), steps, seed)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"name": "adma"}, r"optimizer.name: must be one of sgd, .*, got 'adma'"),
        (
            {"name": "adam", "momentum": 0.9},
            r"optimizer.momentum: adam takes lr, beta1, .*, got 'momentum'",
        ),
        ({"name": "sgd", "lr": 0.0}, r"optimizer.lr: must be greater than 0, got 0.0"),
        ({"name": "sgd", "lr": math.nan}, r"optimizer.lr: must be finite, got nan"),
        ({"name": "sgd", "lr": math.inf}, r"optimizer.lr: must be finite, got inf"),
        ({"name": "sgd", "lr": "0.1"}, r"optimizer.lr: must be a number, got '0.1'"),
        ({"name": "sgd", "lr": True}, r"optimizer.lr: must be a number, got True"),
        (
            {"name": "momentum", "momentum": 1.0},
            r"optimizer.momentum: must be at least 0 and less than 1, got 1.0",
        ),
        ({"name": "rmsprop", "decay": 1.01}, r"optimizer.decay: must be from 0 to 1, got 1.01"),
        ({"name": "rmsprop", "eps": 0.0}, r"optimizer.eps: must be greater than 0, got 0.0"),
        (
            {"name": "adagrad", "eps_outside": 1},
            r"eps_outside: must be true or false, got 1",
        ),
        (
            {"name": "adadelta", "decay": 1},
            r"optimizer.decay: must be at least 0 and less than 1, got 1",
        ),
        (
            {"name": "adam", "beta2": -0.1},
            r"optimizer.beta2: must be at least 0 and less than 1, got -0.1",
        ),
        (
            {"name": "adamw", "weight_decay": -1},
            r"optimizer.weight_decay: must be at least 0, got -1",
        ),
    ],
)
def test_hyperparameters_out_of_range_are_refused(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_optimizer(settings_)


def _missing_state(state: dict[str, Any]) -> None:
    del state["a.W:m"]


def _foreign_state(state: dict[str, Any]) -> None:
    state["a.W:h"] = state.pop("a.W:v")


@pytest.mark.parametrize(
    "damage", [_missing_state, _foreign_state, lambda state: state.pop("step")]
)
def test_the_state_of_another_kind_is_refused(damage: Callable[[dict[str, Any]], Any]) -> None:
    optimizer = make_optimizer({"name": "adam"})
    optimizer.step({"a.W": np.ones(2)}, {"a.W": np.ones(2)})
    state = optimizer.state()
    damage(state)
    with pytest.raises(ValueError, match="optimizer"):
        make_optimizer({"name": "adam"}).load_state(state)


def test_parameters_and_gradients_of_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match="must have the same names"):
        make_optimizer({"name": "sgd"}).step({"a.W": np.ones(2)}, {"b.W": np.ones(2)})


@pytest.mark.parametrize(
    ("p", "g"),
    [(np.ones(2), np.ones(3)), (np.ones((2, 3)).T, np.ones((3, 2))), (np.ones(2), np.ones(4)[::2])],
)
def test_gradients_of_another_shape_or_with_gaps_are_refused(p: Any, g: Any) -> None:
    with pytest.raises(ValueError, match=r"a\.W .* must be contiguous and of one shape"):
        make_optimizer({"name": "sgd"}).step({"a.W": p}, {"a.W": g})
