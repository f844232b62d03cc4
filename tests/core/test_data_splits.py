"""Splits are disjoint, stratified, exact and depend on nothing but labels and spec; batches follow
their order.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cnn_core.axes import Images, Indices, Labels
from cnn_core.data.splits import (
    Batcher,
    epoch_batches,
    quotas,
    reserved,
    split,
    split_of,
    steps_in_epoch,
)
from cnn_core.errors import InputError
from cnn_core.spec import DataSpec
from cnn_core.streams import stream

SPEC = DataSpec(folder="", digest="", image_shape=(1, 8, 8), classes=10, valid_fraction=0.2)


@st.composite
def labelled(draw: st.DrawFn) -> Labels:
    count, classes, seed = (
        draw(st.integers(20, 200)),
        draw(st.integers(2, 10)),
        draw(st.integers(0, 99)),
    )
    return np.random.default_rng(seed).integers(0, classes, count)


@given(labelled(), st.floats(0.05, 0.6), st.integers(0, 5), st.integers(0, 10))
def test_disjoint_whole_and_stratified(
    labels: Labels, fraction: float, seed: int, reserve: int
) -> None:
    spec = replace(SPEC, valid_fraction=fraction, split_seed=seed, reserve=reserve)
    chosen, kept = split(labels, spec), reserved(labels, spec)
    assert sorted([*chosen.train, *chosen.valid, *kept]) == list(range(len(labels)))
    assert len(kept) == reserve and len(chosen.valid) == round(fraction * (len(labels) - reserve))
    free = np.setdiff1d(np.arange(len(labels)), kept)
    for c in range(10):
        expected = fraction * np.count_nonzero(labels[free] == c)
        assert abs(np.count_nonzero(labels[chosen.valid] == c) - expected) < 1.5
    assert (np.diff(chosen.train) > 0).all() and (np.diff(chosen.valid) > 0).all()


@given(labelled(), st.integers(2, 6))
def test_folds_cover_everything_once(labels: Labels, folds: int) -> None:
    parts = [split(labels, replace(SPEC, fold=k, folds=folds, reserve=3)) for k in range(folds)]
    times = Counter(int(i) for part in parts for i in part.valid)
    assert set(times.values()) == {1} and len(times) == len(labels) - 3
    sizes = [len(part.valid) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for c in range(10):
        counts = [np.count_nonzero(labels[part.valid] == c) for part in parts]
        assert max(counts) - min(counts) <= 1
    assert all(not np.intersect1d(part.train, part.valid).size for part in parts)


def test_limits_keep_a_stratified_part(digits: tuple[Images, Labels]) -> None:
    labels = digits[1]
    whole = split(labels, SPEC)
    part = split(labels, replace(SPEC, train_size=300, valid_size=50))
    assert (len(part.train), len(part.valid)) == (300, 50)
    assert np.isin(part.train, whole.train).all() and np.isin(part.valid, whole.valid).all()
    assert set(Counter(labels[part.train]).values()) <= set(range(28, 33))


def test_only_the_split_seed_matters(digits: tuple[Images, Labels]) -> None:
    labels = digits[1]
    np.testing.assert_array_equal(
        split(labels, SPEC).valid, split(labels, replace(SPEC, digest="other")).valid
    )
    assert (split(labels, replace(SPEC, split_seed=1)).valid != split(labels, SPEC).valid).any()
    # The same reserve under folds and under a share: the frozen images are the same for search and
    # final training.
    np.testing.assert_array_equal(
        reserved(labels, replace(SPEC, reserve=50)),
        reserved(labels, replace(SPEC, reserve=50, fold=1, folds=3)),
    )


@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.data())
def test_quotas_sum_up_and_stay_near(counts: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, sum(counts)))
    shares = quotas(counts, size)
    assert sum(shares) == size
    assert all(
        0 <= s <= n and abs(s - size * n / sum(counts)) < 1
        for s, n in zip(shares, counts, strict=True)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 1}, "data.fold: fold and folds must be given together, got fold=1, folds=None"),
        ({"fold": 3, "folds": 3}, "0 <= fold < folds and folds from 2 to 40, got fold=3, folds=3"),
        ({"fold": 0, "folds": 1}, "got fold=0, folds=1"),
        (
            {"train_size": 33},
            "data.train_size: must be from 1 to 32, the images of that split, got 33",
        ),
        ({"valid_size": 9}, "data.valid_size: must be from 1 to 8, .* got 9"),
        ({"reserve": 40}, "data.reserve: must be from 0 to 39, fewer than the images, got 40"),
        ({"valid_fraction": 0.99}, "must leave at least one training image of 40, got 0.99"),
        (
            {"valid_fraction": 0.0, "valid_size": 1},
            "data.valid_size: must be null where no image validates, got 1",
        ),
    ],
)
def test_splits_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    labels = np.arange(40) % 4
    with pytest.raises(InputError, match=message):
        split(labels, replace(SPEC, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_fraction": 1.0},
        {"valid_fraction": float("nan")},
        {"split_seed": -1},
        {"train_size": 0},
    ],
)
def test_values_out_of_range_are_refused_when_made(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"data.{next(iter(changes))}: must be"):
        replace(SPEC, **changes)


def test_a_split_is_remembered(digits_data: DataSpec) -> None:
    assert split_of(digits_data) is split_of(digits_data)
    assert len(split_of(digits_data).valid) == round(0.2 * 1797)


def test_a_permutation_takes_every_image_once_before_any_again() -> None:
    train = np.arange(100, 110)
    batches = list(epoch_batches(train, 4, 6, "permutation", stream((0,), "shuffle")))
    assert [len(b) for b in batches] == [4, 4, 2, 4, 4, 2]
    for part in (batches[:3], batches[3:]):
        assert sorted(np.concatenate(part)) == list(train)
    assert (
        steps_in_epoch(10, 4, None) == 3
        and steps_in_epoch(10, 4, 7) == 7
        and steps_in_epoch(3, 100, None) == 1
    )


def test_replacement_draws_from_all_images_every_time() -> None:
    train = np.arange(10)
    batches = np.concatenate(
        list(epoch_batches(train, 50, 40, "replacement", stream((0,), "shuffle")))
    )
    counts = np.bincount(batches, minlength=10)
    assert len(batches) == 2000 and (np.abs(counts - 200) < 5 * np.sqrt(180)).all()


def test_the_nets_input_is_batch_last_and_scaled() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 2)).astype(np.uint8)
    for dtype in (np.float32, np.float64):
        x = Batcher((3, 4, 2), dtype)(images)
        assert x.shape == (3, 4, 2, 5) and x.dtype == dtype
        np.testing.assert_allclose(x, images.transpose(1, 2, 3, 0) / 255, rtol=1e-6)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Labels, Indices]:
    labels = draw(labelled())
    groups = np.arange(len(labels))
    for copy, first in draw(
        st.lists(st.tuples(st.integers(1, 199), st.integers(0, 198)), max_size=30)
    ):
        if first < copy < len(labels):
            groups[groups == groups[copy]] = min(groups[copy], groups[first])
            groups[groups == groups[first]] = groups[[copy, first]].min()
    return labels, groups


def check_whole_groups(groups: Indices, parts: list[Indices]) -> None:
    for group in set(groups.tolist()):
        members = {i for i, name in enumerate(groups.tolist()) if name == group}
        assert sum(bool(members & set(part.tolist())) for part in parts) <= 1
        assert any(members <= set(part.tolist()) for part in parts)


@given(grouped(), st.integers(0, 8), st.integers(2, 5))
def test_a_group_is_on_one_side_of_every_split(
    made: tuple[Labels, Indices], reserve: int, folds: int
) -> None:
    labels, groups = made
    spec = replace(SPEC, reserve=reserve)
    assume(len(set(groups.tolist())) >= reserve + 10)
    kept = reserved(labels, spec, groups)
    share = split(labels, spec, groups)
    check_whole_groups(groups, [share.train, share.valid, kept])
    dealt = [split(labels, replace(spec, fold=k, folds=folds), groups).valid for k in range(folds)]
    check_whole_groups(groups, [*dealt, kept])
    assert sorted(np.concatenate([*dealt, kept])) == list(range(len(labels)))


@given(labelled(), st.integers(0, 10))
def test_groups_of_one_leave_the_split_as_it_is(labels: Labels, reserve: int) -> None:
    alone = np.arange(len(labels))
    for spec in (
        replace(SPEC, reserve=reserve),
        replace(SPEC, fold=1, folds=3),
        replace(SPEC, train_size=7, valid_size=2),
    ):
        plain, with_groups = split(labels, spec), split(labels, spec, alone)
        np.testing.assert_array_equal(plain.train, with_groups.train)
        np.testing.assert_array_equal(plain.valid, with_groups.valid)
        np.testing.assert_array_equal(reserved(labels, spec), reserved(labels, spec, alone))


def test_copies_follow_their_first_picture_and_sizes_count_groups() -> None:
    labels = np.zeros(12, np.int64)
    groups = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0])
    alone = split(labels[:10], replace(SPEC, fold=0, folds=5))
    together = split(labels, replace(SPEC, fold=0, folds=5), groups)
    copies = [10, 11]
    assert together.valid.tolist() == [*alone.valid, *(copies if 0 in alone.valid else [])]
    assert together.train.tolist() == [*alone.train, *(copies if 0 in alone.train else [])]
