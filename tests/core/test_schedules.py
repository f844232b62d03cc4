"""Schedules against their formulas at chosen steps, their laws at all steps, and clipping and
penalties by hand.
"""

import itertools
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_core.errors import InputError
from cnn_core.kernels.workspace import Workspace
from cnn_core.laws.schedule_laws import SCHEDULE_LAWS
from cnn_core.regularizers import add_penalty_gradient, clip_by_global_norm, global_norm
from cnn_core.schedules import SCHEDULES, Schedule, make_schedule
from cnn_core.spec import RegularizerSpec

# name, settings, (step, factor) of a training of 100 steps, 10 an epoch
BY_HAND: list[tuple[str, dict[str, Any], dict[int, float]]] = [
    ("constant", {}, {0: 1.0, 99: 1.0}),
    ("constant", {"warmup": 0.1}, {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0}),
    ("step", {"gamma": 0.5, "every": 3}, {0: 1.0, 29: 1.0, 30: 0.5, 59: 0.5, 60: 0.25}),
    ("exponential", {"gamma": 0.9}, {0: 1.0, 9: 1.0, 10: 0.9, 20: 0.81, 99: 0.9**9}),
    ("cosine", {}, {0: 1.0, 25: 0.5 * (1 + math.cos(math.pi / 4)), 50: 0.5}),
    ("cosine", {"final": 0.2, "warmup": 0.2}, {0: 1 / 20, 19: 20 / 20 * 1.0, 20: 1.0, 60: 0.6}),
    (
        "one_cycle",
        {"warmup": 0.3, "start": 0.1, "final": 0.01},
        {0: 0.1, 15: 0.55, 30: 1.0, 99: 0.01},
    ),
]


def test_every_schedule_has_a_row() -> None:
    assert {name for name, _, _ in BY_HAND} == set(SCHEDULES)


@pytest.mark.parametrize(("name", "settings", "expected"), BY_HAND)
def test_factors_by_hand(name: str, settings: dict[str, Any], expected: dict[int, float]) -> None:
    schedule = make_schedule({"name": name, **settings})
    assert {step: schedule(step, 100, 10) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("law", SCHEDULE_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_keeps_the_laws(
    name: str, law: Callable[[Callable[..., Schedule]], None]
) -> None:
    law(SCHEDULES[name])


@pytest.mark.parametrize("name", SCHEDULES)
@given(
    total=st.integers(1, 300), per_epoch=st.integers(1, 40), warmup=st.sampled_from([0.0, 0.1, 0.5])
)
def test_factors_stay_within_zero_and_one(
    name: str, total: int, per_epoch: int, warmup: float
) -> None:
    schedule = make_schedule({"name": name, "warmup": warmup})
    factors = [schedule(step, total, per_epoch) for step in range(total)]
    assert all(0 <= f <= 1 + 1e-12 for f in factors)
    falling = factors[round(warmup * total) :]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(falling)), (
        "after the warm-up none rises"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "cosin"}, r"schedule.name: must be one of constant, .*, got 'cosin'"),
        (
            {"name": "cosine", "gamma": 0.1},
            r"schedule.gamma: cosine takes warmup, final, got 'gamma'",
        ),
        ({"name": "cosine", "final": math.nan}, r"schedule.final: must be finite, got nan"),
        ({"name": "step", "every": 0}, r"schedule.every: must be at least 1, got 0"),
        ({"name": "step", "every": 1.5}, r"schedule.every: must be a whole number, got 1.5"),
        (
            {"name": "step", "gamma": 0},
            r"schedule.gamma: must be greater than 0 and at most 1, got 0",
        ),
        (
            {"name": "exponential", "gamma": 1.1},
            r"schedule.gamma: must be greater than 0 and at most 1, got 1.1",
        ),
        (
            {"name": "one_cycle", "warmup": 1.0},
            r"schedule.warmup: must be at least 0 and less than 1, got 1.0",
        ),
        (
            {"name": "one_cycle", "start": 0},
            r"schedule.start: must be greater than 0 and at most 1, got 0",
        ),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_schedule(settings)


def test_penalties_by_hand_spare_biases() -> None:
    params = {"a.W": np.array([1.0, -2.0, 0.0]), "a.b": np.array([5.0]), "n.gamma": np.array([7.0])}
    grads = {name: np.zeros_like(p) for name, p in params.items()}
    spec = RegularizerSpec(l1=0.1, l2=0.5)
    add_penalty_gradient(params, grads, spec, Workspace())
    np.testing.assert_allclose(grads["a.W"], [0.1 + 0.5, -0.1 - 1.0, 0.0])
    assert grads["a.b"] == grads["n.gamma"] == 0


def test_penalty_gradient_is_the_penaltys_slope() -> None:
    rng = np.random.default_rng(0)
    w, direction = rng.standard_normal((2, 5, 4))
    spec, grads = RegularizerSpec(l1=0.3, l2=0.2), {"a.W": np.zeros((5, 4))}
    add_penalty_gradient({"a.W": w}, grads, spec, Workspace())
    moved = (w + sign * 1e-6 * direction for sign in (1, -1))
    up, down = (0.3 * np.abs(x).sum() + 0.2 / 2 * np.square(x).sum() for x in moved)
    assert (up - down) / 2e-6 == pytest.approx(float((grads["a.W"] * direction).sum()), rel=1e-6)


def test_penalties_allocate_nothing_in_the_steady_state() -> None:
    params = {name: np.ones((size, 100), np.float32) for name, size in (("a.W", 200), ("b.W", 300))}
    grads, work = {name: np.zeros_like(p) for name, p in params.items()}, Workspace()
    tracemalloc.start()
    for _ in range(3):
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        add_penalty_gradient(params, grads, RegularizerSpec(l1=0.1, l2=0.1), work)
        allocated = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert allocated < 4096


def test_clipping_keeps_the_direction_and_caps_the_length() -> None:
    grads = {"a": np.array([3.0]), "b": np.array([[0.0], [4.0]])}
    assert clip_by_global_norm(grads, 10.0) == 5.0
    np.testing.assert_array_equal(grads["b"], [[0.0], [4.0]])
    assert clip_by_global_norm(grads, 2.5) == 5.0
    np.testing.assert_allclose(grads["a"], [1.5])
    np.testing.assert_allclose(grads["b"], [[0.0], [2.0]])
    assert global_norm(grads.values()) == pytest.approx(2.5)
    grads["a"][...] = math.inf
    assert clip_by_global_norm(grads, 2.5) == math.inf


def test_gradients_whose_squares_overflow_float32_are_clipped_too() -> None:
    grads = {"a": np.full(4, 3e30, np.float32), "b": np.full((1, 12), -3e30, np.float32)}
    assert clip_by_global_norm(grads, 8.0) == pytest.approx(1.2e31, rel=1e-6)
    np.testing.assert_allclose(grads["a"], np.full(4, 2.0), rtol=1e-6)
    np.testing.assert_allclose(grads["b"], np.full((1, 12), -2.0), rtol=1e-6)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_penalty_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"regularizer.l2: must be (finite|at least 0), got"):
        RegularizerSpec(l2=value)
