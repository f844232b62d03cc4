"""Laws of an optimizer: it finds a minimum, and its state is all that it remembers."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.testing import assert_array_equal

from cnn_core.laws.hold import hold
from cnn_core.optimizers import Optimizer
from cnn_core.optimizers.optimizer import BLOCK

Make = Callable[..., Optimizer]  # takes settings by name
RATES = (0.001, 0.003, 0.01, 0.02, 0.1, 0.15, 0.9, 3.0, 30.0)
BOTTOM = 1e-3


def the_bottom_of_a_narrow_parabola_is_reached(make: Make, rates: Sequence[float] = RATES) -> None:
    """One of the rates walks to the bottom within 400 steps, the factor falling to 0."""
    curvature, ends = np.array([10.0, 0.5]), []
    for rate in rates:
        optimizer, w = make(lr=rate), {"a.b": np.array([1.0, -2.0])}
        with np.errstate(all="ignore"):
            for step in range(400):
                optimizer.step(w, {"a.b": curvature * w["a.b"]}, factor=1 - step / 400)
            ends.append(0.5 * float(curvature @ w["a.b"] ** 2))
    hold(min(ends) < BOTTOM, f"a rate must end below {BOTTOM:g}, got {min(ends):.3g} at best")


def a_large_array_moves_as_its_elements_do(make: Make) -> None:
    """Blocks of an array are moved as arrays of their own are."""
    rng = np.random.default_rng(1)
    start, gradient = rng.standard_normal((2, 3, BLOCK // 2 + 7))
    whole, parts = {"a.W": start.copy()}, {f"a{i}.W": row.copy() for i, row in enumerate(start)}
    one, many = make(), make()
    for _ in range(2):
        one.step(whole, {"a.W": gradient})
        many.step(parts, {f"a{i}.W": row.copy() for i, row in enumerate(gradient)})
    assert_array_equal(whole["a.W"], np.stack(list(parts.values())))


def a_state_continues_to_the_same_bits(make: Make, steps: int = 3, seed: int = 0) -> None:
    """Loaded into another optimizer, even a used one, a state goes on as the first one does."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"a.W": (3, 2), "a.b": (2,)}

    def drawn() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        return {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}

    params, gradients = drawn(), [drawn() for _ in range(steps + 3)]
    optimizer, other = make(lr=0.1), make(lr=0.1)
    for g in gradients[:steps]:
        optimizer.step(params, g)
    state, copy = optimizer.state(), {k: p.copy() for k, p in params.items()}
    other.step({k: np.ones(s, np.float32) for k, s in shapes.items()}, gradients[0])
    other.load_state(state)
    frozen = {k: v.copy() for k, v in state.items()}
    for g in gradients[steps:]:
        optimizer.step(params, g)
        other.step(copy, g)
    for k, p in params.items():
        assert_array_equal(copy[k], p, err_msg="all that a step depends on must be in the state")
    for k, v in frozen.items():
        assert_array_equal(state[k], v, err_msg="the state that was handed out must be a copy")


def float32_parameters_stay_so(make: Make) -> None:
    """Parameters and states have the type that the net has, and stay finite at a zero gradient."""
    params = {"a.W": np.ones((3, 2), np.float32)}
    optimizer = make()
    optimizer.step(params, {"a.W": np.zeros((3, 2), np.float32)})
    state = {key: array for key, array in optimizer.state().items() if key != "step"}
    for key, array in {**params, **state}.items():
        hold(array.dtype == np.float32, f"{key} must stay float32, got {array.dtype}")
        hold(np.isfinite(array).all(), f"{key} must stay finite where the gradient is 0")


def gradients_are_left_as_they_are(make: Make) -> None:
    """A step reads gradients and changes none."""
    g = np.arange(4.0)
    make().step({"a.W": np.ones(4)}, {"a.W": g})
    assert_array_equal(g, np.arange(4.0))


OPTIMIZER_LAWS = (
    the_bottom_of_a_narrow_parabola_is_reached,
    a_large_array_moves_as_its_elements_do,
    a_state_continues_to_the_same_bits,
    float32_parameters_stay_so,
    gradients_are_left_as_they_are,
)
