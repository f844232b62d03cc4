"""An array of pictures in a file, read block by block: as a stream where the file holds one picture
after the other, so that memory does not grow with the file.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError


class StoredArray(Protocol):
    """An array (N, ...) in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """Yield parts (n, ...) of at most `size` pictures, in order."""
        ...


@dataclass(frozen=True)
class StreamedArray:
    """Values in C order behind a header; `opened` gives a stream that stands at the first."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    where: str
    opened: Callable[[], AbstractContextManager[IO[bytes]]]

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """Yield parts of the array. Raises InputError where the file does not end with it."""
        each = math.prod(self.shape[1:]) * self.dtype.itemsize
        with self.opened() as stream:
            for start in range(0, self.shape[0], size):
                count = min(size, self.shape[0] - start)
                content = stream.read(count * each)
                if len(content) < count * each:
                    raise InputError(
                        f"a file must hold what its header says, {self.shape[0]} pictures, got its "
                        f"end {count * each - len(content)} bytes early in {self.where}"
                    )
                yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])
            if stream.read(1):
                raise InputError(
                    f"a file must end where its header says, after {self.shape[0]} pictures, got "
                    f"more bytes in {self.where}"
                )


@dataclass(frozen=True)
class HeldArray:
    """Values that are in memory, or mapped into it."""

    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (N, ...)."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the values."""
        return self.values.dtype

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """Yield parts of the array."""
        for start in range(0, len(self.values), size):
            yield np.asarray(self.values[start : start + size])
