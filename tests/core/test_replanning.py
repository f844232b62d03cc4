"""A training whose end is moved while it goes on: a function of its spec, and a schedule that ends
where it should.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cnn_core.errors import InputError
from cnn_core.replanning import ending_at, planned_steps
from cnn_core.spec import Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import TrainState, check_spec, fit, train_epoch

Make = Callable[..., Spec]
STEPS = 7  # 200 images in batches of 32


def spec_of(make: Make, **train: object) -> Spec:
    return make(
        schedule={"name": "cosine"},
        train=TrainSpec(epochs=4, batch_size=32, **train),  # type: ignore[arg-type]
    )


def factor(step: int, last: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / last))


@pytest.mark.parametrize(
    ("done", "last", "epochs"), [(0, 17, 3), (1, 17, 3), (2, 30, 5), (3, 1, 4)]
)
def test_the_spec_of_a_moved_end_trains_to_the_bits_of_what_happened(
    tiny_spec: Make, done: int, last: int, epochs: int
) -> None:
    first = spec_of(tiny_spec)
    moved = ending_at(first, done, last)
    assert moved.train.epochs == epochs
    state: TrainState | None = None
    for _ in range(done):  # before anybody knew
        state, _ = train_epoch(first, state)
    state = fit(moved, state=state)
    again = fit(moved)
    assert state.step == again.step == planned_steps(moved) == max(last, done * STEPS + 1)
    for name, value in state.params.items():
        np.testing.assert_array_equal(value, again.params[name])
    assert state.history == again.history
    lr = again.history[-1]["lr"] / 0.003
    assert lr == pytest.approx(factor(state.step - 1, state.step)), "the schedule ends at its end"
    if done:
        assert again.history[done - 1]["lr"] / 0.003 == pytest.approx(
            factor(done * STEPS - 1, 4 * STEPS)
        ), "what is done followed the first plan"


def test_an_end_is_moved_more_than_once(tiny_spec: Make) -> None:
    once = ending_at(spec_of(tiny_spec), 1, 20)
    twice = ending_at(once, 2, 16)
    assert twice.train.replanned == (0, 28, 1, 20, 2, 16)
    assert ending_at(twice, 2, 18).train.replanned == (0, 28, 1, 20, 2, 18)
    assert [row["lr"] / 0.003 for row in fit(twice).history] == pytest.approx(
        [factor(6, 28), factor(13, 20), factor(15, 16)]
    )


def test_whole_epochs_from_the_start_are_plain_epochs(tiny_spec: Make) -> None:
    first = spec_of(tiny_spec)
    shorter = ending_at(first, 0, 2 * STEPS)
    assert shorter == replace(first, train=replace(first.train, epochs=2))
    assert ending_at(first, 0, 4 * STEPS).digest() == first.digest()


def test_an_end_before_the_last_epoch_is_refused(tiny_spec: Make) -> None:
    wrong = spec_of(tiny_spec, replanned=(1, 9))
    for refusing in (fit, check_spec):
        with pytest.raises(InputError, match=r"a step for each of train.epochs=4, got \[1, 9"):
            refusing(wrong)
    check_spec(spec_of(tiny_spec, replanned=(1, 22)))


@pytest.mark.parametrize("wrong", [(3,), (3, 0), (4, 10, 3, 8), (-1, 4)])
def test_entries_that_make_no_sense_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"train.replanned: must be"):
        TrainSpec(replanned=wrong)
