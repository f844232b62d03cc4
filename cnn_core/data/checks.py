"""Checks that all readers share: sizes that a file can hold, labels, pixels, labelled sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnn_core.axes import Images, Labels
from cnn_core.errors import InputError

# A compressed file may state this much whatever its own size; beyond it, at most MAX_RATIO times
# its size (MNIST's ratio is 5).
ALWAYS_ALLOWED_BYTES = 64 << 20
MAX_RATIO = 100
MAX_BYTES = 4 << 30


def check_plausible_size(path: Path, stated_bytes: int, where: str) -> None:
    """Refuse a file that states more bytes than it can reasonably hold; nothing of that size has
    been allocated yet.
    """
    limit = min(MAX_BYTES, max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * path.stat().st_size))
    if stated_bytes > limit:
        raise InputError(
            f"{path}: {where}: a file of {path.stat().st_size:,} bytes may hold at most {limit:,}, "
            f"it states {stated_bytes:,}"
        )


def check_labels(labels: Labels, classes: int, place: Callable[[int], str]) -> None:
    """Refuse labels outside 0 .. classes - 1, naming the first; `place` turns its index into file
    and offset or line.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        first = int(wrong[0])
        raise InputError(
            f"{place(first)}: labels must be from 0 to {classes - 1}, got {int(labels[first])}"
        )


def check_labelled(images: Images, labels: Labels, classes: int, where: str) -> None:
    """Refuse images and labels that are not a labelled set: (N, C, H, W) uint8 and (N,) int64 in
    range, N at least 1.
    """
    if images.ndim != 4 or images.dtype != np.uint8 or min(images.shape) < 1:
        raise InputError(
            f"{where}: images must be (N, C, H, W) uint8 with no empty axis, got {images.shape} "
            f"{images.dtype}"
        )
    if labels.shape != (len(images),) or labels.dtype != np.int64:
        raise InputError(
            f"{where}: labels must be ({len(images)},) int64, one an image, got {labels.shape} "
            f"{labels.dtype}"
        )
    check_labels(labels, classes, lambda i: f"{where}: image {i}")
