"""Configurations as points: hand-worked coordinates, draws and neighbours that lie in the space."""

from collections import Counter

import numpy as np
import pytest

from pipeline.configuration import SWEEP, compose
from pipeline.search.encoding import WORD, Encoding
from pipeline.search.space import Space, searched
from pipeline.search.storage import holds
from pipeline.search.translation import Params

SPACE = Space.parse(
    {
        "rate": {"float": [1e-4, 1e-2], "log": True},
        "share": {"float": [0.0, 0.5], "step": 0.25},
        "hidden": {"choice": [256, 64, 128]},
        "norm": {"choice": [False, True]},
        "optimizer": {"group": ["adam", "sgd", "muon"]},
        "momentum": {"float": [0.0, 1.0], "when": {"optimizer": "sgd"}},
    }
)
ADAM: Params = {"rate": 1e-3, "share": 0.25, "hidden": 256, "norm": True, "optimizer": "adam"}
SGD: Params = {**ADAM, "hidden": 128, "norm": False, "optimizer": "sgd", "momentum": 0.9}


def test_coordinates_by_hand() -> None:
    encoding = Encoding(SPACE)
    assert encoding.parameter_of.tolist() == [0, 1, 2, 3, 3, 4, 4, 4, 5]
    w = WORD
    np.testing.assert_allclose(
        encoding.points([ADAM, SGD]),
        [[0.5, 0.5, 1.0, 0, w, w, 0, 0, 0.5], [0.5, 0.5, 0.5, w, 0, 0, w, 0, 0.9]],
    )


def test_two_words_are_as_far_apart_as_the_ends_of_a_range() -> None:
    first, second = Encoding(SPACE).points([ADAM, {**ADAM, "optimizer": "muon"}])
    assert np.linalg.norm(first - second) == pytest.approx(1)


def test_true_is_another_word_than_one() -> None:
    space = Space.parse({"a": {"choice": [1, True, "x"]}})
    assert Encoding(space).points([{"a": True}]).tolist() == [[0, WORD, 0]]


def check(space: Space, params: Params) -> None:
    """Hold that a configuration has exactly the active parameters, within their distributions."""
    known = space.distributions()
    for name, value in params.items():
        assert holds(known[name], value), (name, value)
    for parameter in space.parameters:
        wanted = all(params.get(n) in allowed for n, allowed in parameter.when.items())
        assert (parameter.name in params) == wanted, (parameter.name, params)


@pytest.mark.parametrize("name", ["default", "mnist", "mnist_muon", "contest"])
def test_draws_and_neighbours_lie_in_the_spaces_of_the_presets(name: str) -> None:
    space = searched(compose([f"space={name}"], SWEEP))[0]
    encoding, rng = Encoding(space), np.random.default_rng(1)
    params = encoding.draw(rng, {})
    for _ in range(300):
        check(space, params)
        changed = encoding.near(params, rng, {})
        check(space, changed)
        params = changed if rng.random() < 0.5 else encoding.draw(rng, {})


def test_a_draw_is_even_where_the_distribution_is() -> None:
    whole = Space.parse({"n": {"int": [1, 4]}, "m": {"int": [2, 8], "step": 3}})
    encoding, rng = Encoding(whole), np.random.default_rng(0)
    drawn = [encoding.draw(rng, {}) for _ in range(4000)]
    for name, values in (("n", [1, 2, 3, 4]), ("m", [2, 5, 8])):
        counted = Counter(params[name] for params in drawn)
        assert sorted(map(str, counted)) == [*map(str, values)]
        assert all(abs(count / 4000 - 1 / len(values)) < 0.04 for count in counted.values())
    rates = [Encoding(SPACE).draw(rng, {})["rate"] for _ in range(400)]
    assert abs(float(np.median(np.log10(np.array(rates, float)))) + 3) < 0.15


def test_what_is_given_stays_and_the_rest_moves() -> None:
    encoding, rng = Encoding(SPACE), np.random.default_rng(2)
    given: Params = {"hidden": 64, "optimizer": "sgd"}
    start = encoding.draw(rng, given)
    assert encoding.near(ADAM, rng, given).items() >= given.items()
    moved = [encoding.near(start, rng, given) for _ in range(40)]
    assert all(m["hidden"] == 64 and m["optimizer"] == "sgd" for m in [start, *moved])
    assert sum(m != start for m in moved) > 30
    assert {name for m in moved for name in m if m[name] != start[name]} == {
        *("rate", "share", "norm", "momentum")
    }


def test_nothing_to_move_is_left_as_it_is() -> None:
    assert Encoding(SPACE).near(ADAM, np.random.default_rng(0), ADAM) == ADAM
