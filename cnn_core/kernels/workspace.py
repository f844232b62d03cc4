"""Arrays that are allocated once and reused by every batch, the size of the cache that blocks
should fit into, and conversions in pieces that do.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape

DEFAULT_CACHE_BYTES = 1 << 20
CONVERTED = 2048  # values at once: 8 kB of float32 (docs/LOG.md, Speed: pooling and rows)


def cache_bytes() -> int:
    """Return the size of one core's second-level cache; 1 MiB where the system does not tell."""
    try:
        size = os.sysconf("SC_LEVEL2_CACHE_SIZE") if hasattr(os, "sysconf") else 0
    except (ValueError, OSError):
        size = 0
    if size <= 0:
        listed = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
        text = listed.read_text().strip() if listed.exists() else ""
        size = int(text[:-1]) * 1024 if text.endswith("K") and text[:-1].isdigit() else 0
    return size if size > 0 else DEFAULT_CACHE_BYTES


class Workspace:
    """Named arrays of one layer. A batch of another size (the last, smaller one) gets the front of
    the same memory.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Array] = {}
        self._views: dict[str, Array] = {}

    def take(
        self, name: str, shape: Shape, dtype: DTypeLike = np.float32, *, zeroed: bool = False
    ) -> Array:
        """Return the array `name` of that shape and dtype; what it holds is left from its last use.

        With `zeroed` it is filled with zeros whenever its shape changes, so a border that nobody
        writes stays zero.
        """
        view = self._views.get(name)
        if view is not None and view.shape == shape and view.dtype == dtype:
            return view
        memory = self._memory.get(name)
        if memory is None or memory.size < prod(shape) or memory.dtype != dtype:
            memory = self._memory[name] = np.empty(prod(shape), dtype)
        view = self._views[name] = memory[: prod(shape)].reshape(shape)
        if zeroed:
            view.fill(0)
        return view

    def nbytes(self) -> int:
        """Return the bytes held."""
        return sum(memory.nbytes for memory in self._memory.values())


@contextmanager
def small_conversions() -> Iterator[None]:
    """Let NumPy convert types, as in a product with a mask, in pieces that stay in the first-level
    cache, while the block runs in this thread: such a product takes a third less time than with
    NumPy's usual pieces of 8,192 values.
    """
    before = np.setbufsize(CONVERTED)
    try:
        yield
    finally:
        np.setbufsize(before)
