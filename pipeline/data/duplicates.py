"""Pictures that occur more than once: within a set, where copies must not be trained on and judged
on at once, and in both training and test, where the result is too good.

Equal pictures are found by the digest of their pixels, nearly equal ones by `near_pairs`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cnn_core.axes import Images, Indices, Labels
from cnn_core.data.pages import rows_of
from pipeline.data.likeness import TooAlikeError, near_pairs, small_copies

EXAMPLES = 5
_AT_ONCE = 1024  # pictures read together


@dataclass(frozen=True)
class Duplicates:
    """What `find_duplicates` found.

    groups: (N,) int64, for each picture the index of the first picture of its group, its own where
    it occurs once. equal and near: pictures that are equal, or only nearly equal, to an earlier
    one. conflicts: pictures whose label differs from that of the first picture that they equal.
    near is None where so many pictures are alike that only equal ones were grouped.
    """

    groups: Indices
    equal: int
    near: int | None
    conflicts: Indices

    def lines(self, kept: str = "kept in one fold") -> list[str]:
        """Return what is to be said, a line each; nothing where no picture occurs twice."""
        count, said = len(self.groups), []
        if self.equal:
            differing = f", {len(self.conflicts)} of them with different labels"
            said.append(
                f"{_pictures(self.equal, 'occurs', 'occur')} twice "
                f"({_share(self.equal, count)}){differing if len(self.conflicts) else ''}; {kept}"
            )
        if self.near:
            said.append(
                f"{_pictures(self.near, 'is', 'are')} nearly equal to another "
                f"({_share(self.near, count)}); {kept}"
            )
        if len(self.conflicts):
            pairs = ((int(i), int(self.groups[i])) for i in self.conflicts[:EXAMPLES])
            named = ", ".join(f"{i} and {first}" for i, first in pairs)
            said.append(f"label conflict: equal pictures with different labels, such as {named}")
        if self.near is None:
            said.append("pictures are so alike that nearly equal ones tell nothing of copies")
        return said


def find_duplicates(images: Images, labels: Labels) -> Duplicates:
    """Return the groups of equal and nearly equal pictures of (N, C, H, W) uint8; connected pairs
    share a group. Memory: about 1 kB a picture.
    """
    first = _first_equal(images)
    different = np.flatnonzero(first == np.arange(len(images)))
    near: int | None = None
    groups = first
    try:
        pairs = different[near_pairs(small_copies(images)[different])]
        connected = _connected(first, pairs)
        if np.array_equal(connected, first) or not fills_a_class(connected, labels):
            groups, near = connected, len(different) - len(np.unique(connected))
    except TooAlikeError:
        pass
    conflicts = np.flatnonzero(labels != labels[first])
    return Duplicates(groups, len(images) - len(different), near, conflicts)


def fills_a_class(groups: Indices, labels: Labels) -> bool:
    """Tell whether a group holds more than a quarter of a class: kept together, it could leave one
    side of a split without the class.
    """
    _, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    pairs, counts = np.unique(np.stack([groups, numbers]), axis=1, return_counts=True)
    return bool((counts > np.maximum(sizes[pairs[1]] / 4, 1)).any())


@dataclass(frozen=True)
class Leak:
    """Test pictures that are equal, or only nearly equal, to a training picture: (K, 2) indices
    (test, training), one training picture each.
    """

    test: int
    equal: Indices
    near: Indices

    def lines(self) -> list[str]:
        """Return what is to be said, a line each; nothing where nothing leaks."""
        said = []
        for pairs, what in ((self.equal, "also in training"), (self.near, "nearly in training")):
            if len(pairs):
                named = ", ".join(f"{test} as {train}" for test, train in pairs[:EXAMPLES].tolist())
                said.append(
                    f"leak: {_pictures(len(pairs), 'of the test is', 'of the test are')} {what} "
                    f"({_share(len(pairs), self.test)}): {named}"
                )
        return said


def find_leak(train: Images, test: Images) -> Leak:
    """Return which test pictures are in training too; both (N, C, H, W) uint8 of one shape."""
    seen: dict[bytes, int] = {}
    for index, digest in enumerate(_digests(train)):
        seen.setdefault(digest, index)
    matched = [(index, seen.get(digest, -1)) for index, digest in enumerate(_digests(test))]
    equal = np.array([pair for pair in matched if pair[1] >= 0], np.int64).reshape(-1, 2)
    trained = np.array(sorted(seen.values()), np.int64)
    new = np.array([index for index, found in matched if found < 0], np.int64)
    try:
        both = np.concatenate([small_copies(train)[trained], small_copies(test)[new]])
        pairs = near_pairs(both, apart=len(trained))
        first = np.unique(pairs[:, 1], return_index=True)[1]
        one, other = pairs[first].T
        near = np.stack([new[other - len(trained)], trained[one]], axis=1)
    except TooAlikeError:
        near = np.empty((0, 2), np.int64)
    return Leak(len(test), equal, near)


def _digests(images: Images) -> Iterator[bytes]:
    for start in range(0, len(images), _AT_ONCE):
        for image in rows_of(images, slice(start, start + _AT_ONCE)):
            yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _first_equal(images: Images) -> Indices:
    """Return for each picture the index of the first that equals it."""
    seen: dict[bytes, int] = {}
    found = [seen.setdefault(digest, index) for index, digest in enumerate(_digests(images))]
    return np.array(found, np.int64)


def _connected(groups: Indices, pairs: Indices) -> Indices:
    """Return the groups with those of each pair joined: each is named by its least index."""
    groups = groups.copy()
    one, other = pairs.T
    while True:
        before = groups.copy()
        least = np.minimum(groups[one], groups[other])
        np.minimum.at(groups, one, least)
        np.minimum.at(groups, other, least)
        groups = groups[groups]
        if np.array_equal(groups, before):
            return groups


def _pictures(count: int, one: str, several: str) -> str:
    return f"{count:,} picture {one}" if count == 1 else f"{count:,} pictures {several}"


def _share(count: int, whole: int) -> str:
    percent = 100 * count / whole
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
