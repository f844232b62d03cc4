"""Pictures that occur twice are found, no others; the truth is a loop over all pairs."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_core.axes import Images, Indices
from pipeline.data import likeness
from pipeline.data.duplicates import Duplicates, find_duplicates, find_leak
from pipeline.data.likeness import TooAlikeError, near_pairs, small_copies


def groups_of(images: Images) -> Indices:
    """Return the groups of images of one class."""
    return find_duplicates(images, np.zeros(len(images), np.int64)).groups


def photographs(count: int, seed: int = 0, shape: tuple[int, int, int] = (3, 32, 32)) -> Images:
    """Smooth pictures of strong contrast, unlike each other."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, shape[0], 8, 8))
    return coarse.repeat(shape[1] // 8, axis=2).repeat(shape[2] // 8, axis=3).astype(np.uint8)


def noisy(images: Images, strength: float, seed: int = 1) -> Images:
    noise = np.random.default_rng(seed).normal(0, strength, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def by_search(size: int, pairs: set[tuple[int, int]]) -> list[int]:
    """Groups by walking from picture to picture: the first unseen one names what it reaches."""
    names = [-1] * size
    for first in range(size):
        waiting = [first] if names[first] < 0 else []
        while waiting:
            here = waiting.pop()
            names[here] = first
            waiting += [
                b for a, b in [*pairs, *((b, a) for a, b in pairs)] if a == here and names[b] < 0
            ]
    return names


@given(st.lists(st.integers(0, 5), min_size=1, max_size=25))
def test_equal_pictures_share_the_group_of_the_first(kinds: list[int]) -> None:
    images = photographs(6)[kinds]
    assert groups_of(images).tolist() == [kinds.index(kind) for kind in kinds]


def naive_pairs(images: Images, tolerance: float) -> set[tuple[int, int]]:
    """Root mean square of the difference of 2 x 2 means against the smaller contrast."""
    count, channels, height, width = images.shape
    means = images.reshape(count, channels, 16, height // 16, 16, width // 16).mean(axis=(3, 5))
    small = np.rint(means).astype(float)
    found = set()
    for i, j in itertools.combinations(range(count), 2):
        difference = np.sqrt(((small[i] - small[j]) ** 2).mean())
        if difference <= tolerance * min(small[i].std(), small[j].std()):
            found.add((i, j))
    return found


@pytest.mark.parametrize("strength", [5.0, 20.0, 40.0, 60.0])
def test_near_pairs_are_those_of_a_loop_over_all_pairs(
    strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "BLOCK", 7)  # several blocks
    monkeypatch.setattr(likeness, "WINDOW", 11)
    images = photographs(40)
    images = np.concatenate([images, noisy(images[:12], strength), noisy(images[:6], 2, seed=2)])
    paler = 128 + 0.9 * (images[12:20].astype(float) - 128)
    images = np.concatenate([images, np.rint(paler).astype(np.uint8)])
    for tolerance in (0.05, 0.1, 0.105, 0.2):
        monkeypatch.setattr(likeness, "tolerance", lambda *_, t=tolerance: t)
        expected = naive_pairs(images, tolerance)
        assert [tuple(pair) for pair in near_pairs(small_copies(images))] == sorted(expected)
        assert groups_of(images).tolist() == by_search(len(images), expected)


def test_copies_stored_again_are_found_and_nothing_else() -> None:
    images = photographs(300)
    copies = noisy(images[:7], 8.0)
    found = find_duplicates(np.concatenate([images, copies]), np.zeros(307, np.int64))
    assert (found.equal, found.near) == (0, 7)
    assert found.groups.tolist() == [*range(300), *range(7)]
    assert found.lines() == [
        "7 pictures are nearly equal to another (2.3 %); kept in one fold",
    ]


def test_an_equal_picture_follows_the_group_that_the_first_one_joins() -> None:
    images = photographs(60)
    near = noisy(images[2:3], 6.0)
    assert groups_of(np.concatenate([images, near, near])).tolist() == [*range(60), 2, 2]


def test_copies_with_fewer_levels_of_grey_are_found() -> None:
    images = photographs(200, shape=(1, 24, 40))
    again = np.concatenate([images, images[3:5] // 16 * 16 + 8])
    assert groups_of(again).tolist() == [*range(200), 3, 4]


def test_sizes_below_and_between_the_small_copies() -> None:
    for size in ((8, 8), (28, 28), (17, 50)):
        images = np.random.default_rng(0).integers(0, 256, (20, 1, *size)).astype(np.uint8)
        small = small_copies(images).reshape(20, 1, 16, 16)
        exact = [areas_by_loop(image[0].astype(float), 16) for image in images]
        assert np.abs(small[:, 0] - np.array(exact)).max() <= 0.51


def areas_by_loop(image: np.ndarray, side: int) -> np.ndarray:
    """Means of areas, by repeating every pixel `side` times along both axes."""
    fine = image.repeat(side, axis=0).repeat(side, axis=1)
    height, width = image.shape
    return fine.reshape(side, height, side, width).mean(axis=(1, 3))


def test_pictures_without_contrast_are_compared_by_digest_alone() -> None:
    board = np.indices((32, 32)).sum(axis=0) % 2 * 200
    flat = np.full((32, 32), 100)
    images = np.stack([board, flat, 200 - board, flat, flat + 1])[:, None].astype(np.uint8)
    assert groups_of(images).tolist() == [0, 1, 2, 1, 4]


def test_sets_in_which_all_look_alike_keep_only_equal_ones_together() -> None:
    images = noisy(np.repeat(photographs(1), 200, axis=0), 3.0)
    images[7] = images[3]
    with pytest.raises(TooAlikeError):
        near_pairs(small_copies(images))
    found = find_duplicates(images, np.zeros(200, np.int64))
    assert found.near is None
    assert found.groups.tolist() == [3 if i == 7 else i for i in range(200)]
    assert "pictures are so alike that nearly equal ones tell nothing of copies" in found.lines()


def test_equal_pictures_with_different_labels_are_conflicts() -> None:
    images = photographs(50)[[*range(50), 4, 4, 9]]
    labels = np.array([*range(50), 4, 5, 1])
    found = find_duplicates(images, labels)
    assert found.conflicts.tolist() == [51, 52]
    assert found.lines() == [
        "3 pictures occur twice (5.7 %), 2 of them with different labels; kept in one fold",
        "label conflict: equal pictures with different labels, such as 51 and 4, 52 and 9",
    ]


def test_a_set_without_copies_says_nothing() -> None:
    found = find_duplicates(photographs(60), np.zeros(60, np.int64))
    assert found.lines() == [] and found.groups.tolist() == list(range(60))
    assert groups_of(photographs(1)).tolist() == [0]


def leaks(pairs: Indices) -> list[tuple[int, int]]:
    return [(int(test), int(train)) for test, train in pairs]


def test_test_pictures_that_are_in_training_are_named() -> None:
    train = photographs(120)[[*range(120), 5]]
    fresh = photographs(30, seed=9)
    test = np.concatenate([fresh, train[[5, 17, 5]], noisy(train[40:42], 6.0), fresh[:2]])
    found = find_leak(train, test)
    assert leaks(found.equal) == [(30, 5), (31, 17), (32, 5)]
    assert leaks(found.near) == [(33, 40), (34, 41)]
    assert found.lines() == [
        "leak: 3 pictures of the test are also in training (8.1 %): 30 as 5, 31 as 17, 32 as 5",
        "leak: 2 pictures of the test are nearly in training (5.4 %): 33 as 40, 34 as 41",
    ]
    assert find_leak(train, fresh).lines() == []


def test_all_pictures_are_a_hundred_percent() -> None:
    twice = Duplicates(np.zeros(400, np.int64), 399, 0, np.empty(0, np.int64))
    assert twice.lines()[0].startswith("399 pictures occur twice (100 %)")


def test_pictures_that_are_nearly_equal_stay_apart_where_they_fill_a_class() -> None:
    images = np.concatenate([photographs(60), noisy(photographs(1).repeat(5, axis=0), 6.0)])
    labels = np.array([0] * 60 + [1] * 5)  # class 1 is five copies of picture 0
    found = find_duplicates(images, labels)
    assert found.near is None and found.groups.tolist() == list(range(65))
    assert find_duplicates(images, 0 * labels).groups.tolist() == [*range(60), *[0] * 5]
