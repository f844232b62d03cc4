"""Which pictures of a set are nearly equal: the same picture stored again, recompressed, resized.

Every picture is shrunk to 16 x 16 (each small pixel the mean of the area that it covers). Two are
nearly equal where the root mean square of their difference is at most `tolerance` times the smaller
of their contrasts (standard deviations). All pairs are judged, none is missed: averaging can only
shrink a difference, so pictures whose 8 x 8 grey copies differ by more differ by more at 16 x 16,
and so do those whose projections on the copies' first principal component do. Both are compared
first, in blocks, by a product of matrices; what is left is judged in whole numbers, so that the
answer is the same on every machine.

The tolerance is the set's own: a third of the distance (in contrasts) within which a tenth of its
pictures have their nearest neighbour, from 0.05 to 0.2. Straight strokes that different hands drew
are as close to each other as a photograph is to its recompressed copy.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Images, Indices
from cnn_core.data.pages import rows_of
from cnn_core.data.resampling_weights import areas

SIDE = 16
COARSE = 8
BLOCK, WINDOW = 1024, 8192  # rows and columns of a block of distances: 32 MB
SAMPLE = 512
TENTH, THIRD = 0.1, 1 / 3
LEAST, MOST = 0.05, 0.2
FAINTEST = 2.0  # contrast, of 255: below it a small copy shows nothing but rounding
MOST_PAIRS = 30  # candidates a picture; beyond, likeness does not tell copies from others


class TooAlikeError(Exception):
    """So many pictures are alike that likeness does not mean that one was copied."""


def small_copies(images: Images, chunk: int = 2000) -> NDArray[np.uint8]:
    """Return (N, C * 256) uint8: (N, C, H, W) shrunk to 16 x 16."""
    count, channels, height, width = images.shape
    rows, columns = areas(height, SIDE).T, areas(width, SIDE).T
    small = np.empty((count, channels, SIDE, SIDE), np.uint8)
    for start in range(0, count, chunk):
        part = np.asarray(rows_of(images, slice(start, start + chunk)), np.float32)
        narrow = (part.reshape(-1, width) @ columns).reshape(-1, height, SIDE)
        low = narrow.transpose(0, 2, 1).reshape(-1, height) @ rows
        turned = np.rint(low).reshape(len(part), channels, SIDE, SIDE)
        small[start : start + chunk] = turned.transpose(0, 1, 3, 2)
    return small.reshape(count, -1)


def near_pairs(small: NDArray[np.uint8], apart: int = 0) -> Indices:
    """Return all pairs (P, 2) of nearly equal rows of `small_copies`, i < j, in order; with
    `apart`, only those of one of the first `apart` rows and one after them.

    Raises TooAlikeError beyond `MOST_PAIRS` candidates a picture.
    """
    variance = _variances(small)
    shown = np.flatnonzero(variance >= FAINTEST**2)
    if len(shown) < 2:
        return np.empty((0, 2), np.int64)
    coarse = _coarse(small, shown)
    share = tolerance(small, variance, coarse, shown) ** 2
    found, candidates = [], 0
    for pairs in _candidates(coarse, share * variance[shown]):
        pairs = np.sort(shown[pairs], axis=1)
        if apart:
            pairs = pairs[(pairs[:, 0] < apart) & (pairs[:, 1] >= apart)]
        candidates += len(pairs)
        if candidates > MOST_PAIRS * len(small):
            raise TooAlikeError
        allowed = share * variance[pairs].min(axis=1, initial=np.inf)
        found.append(pairs[_mean_squares(small, pairs) <= allowed])
    whole = np.concatenate(found)
    return whole[np.lexsort((whole[:, 1], whole[:, 0]))]


def tolerance(
    small: NDArray[np.uint8],
    variance: NDArray[np.float64],
    coarse: NDArray[np.float32],
    shown: Indices,
) -> float:
    """Return how far nearly equal pictures may lie apart, in contrasts: a pure function of the
    set, by a sample of its pictures.
    """
    chosen = np.random.default_rng(0).permutation(len(shown))[:SAMPLE]
    distances = _squares(coarse[chosen], coarse)
    distances[np.arange(len(chosen)), chosen] = np.inf
    nearest = np.stack([shown[chosen], shown[distances.argmin(axis=1)]], axis=1)
    relative = np.sqrt(_mean_squares(small, nearest) / variance[nearest[:, 0]])
    return float(np.clip(THIRD * np.quantile(relative, TENTH), LEAST, MOST))


def _candidates(
    coarse: NDArray[np.float32], allowed: NDArray[np.float64]
) -> Iterator[NDArray[np.int64]]:
    """Yield pairs of rows whose mean squared difference may be at most the row's `allowed`."""
    along = coarse @ np.linalg.eigh(coarse.T @ coarse)[1][:, -1]
    order = np.argsort(along, kind="stable")
    coarse, along = coarse[order], along[order]
    # Sums of squares, with room for the rounding of float32.
    limits = (1.001 * COARSE**2 * allowed[order] + 0.1).astype(np.float32)
    for start in range(0, len(coarse), BLOCK):
        stop = min(start + BLOCK, len(coarse))
        reach = along[stop - 1] + np.sqrt(limits[start:stop].max())
        end = int(np.searchsorted(along, reach, "right"))
        for first in range(start, end, WINDOW):
            last = min(first + WINDOW, end)
            squares = _squares(coarse[start:stop], coarse[first:last])
            row, column = np.nonzero(squares <= limits[start:stop, None])
            row, column = row + start, column + first
            later = column > row
            yield np.stack([order[row[later]], order[column[later]]], axis=1)


def _squares(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return |a_i - b_j|^2 of all rows."""
    squares: NDArray[np.float32] = a @ b.T
    squares *= -2
    squares += np.einsum("ik,ik->i", a, a)[:, None]
    squares += np.einsum("ik,ik->i", b, b)
    return squares


def _coarse(small: NDArray[np.uint8], rows: Indices, chunk: int = 5000) -> NDArray[np.float32]:
    """Return (N, 64) float32: the rows' 8 x 8 grey copies, less their mean over the set."""
    half = SIDE // COARSE
    parts = [
        small[rows[start : start + chunk]]
        .reshape(-1, small.shape[1] // SIDE**2, COARSE, half, COARSE, half)
        .mean(axis=(1, 3, 5), dtype=np.float32)
        for start in range(0, len(rows), chunk)
    ]
    coarse = np.concatenate(parts).reshape(len(rows), COARSE**2)
    return np.asarray(coarse - coarse.mean(axis=0), np.float32)


def _variances(small: NDArray[np.uint8], chunk: int = 5000) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(small), chunk):
        values = small[start : start + chunk].astype(np.int64)
        squares = values.shape[1] * (values**2).sum(axis=1) - values.sum(axis=1) ** 2
        parts.append(squares / values.shape[1] ** 2)
    return np.concatenate(parts) if parts else np.empty(0)


def _mean_squares(
    small: NDArray[np.uint8], pairs: Indices, chunk: int = 20_000
) -> NDArray[np.float64]:
    """Return the mean squared difference of each pair of rows, exactly."""
    result = np.empty(len(pairs))
    for start in range(0, len(pairs), chunk):
        one, other = pairs[start : start + chunk].T
        difference = small[one].astype(np.int32) - small[other]
        result[start : start + chunk] = (difference**2).sum(axis=1) / small.shape[1]
    return result
