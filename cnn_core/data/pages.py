"""Reading rows of a large mapped array: from the file itself, since every page of a map that a
process has touched counts as its memory.
"""

import os
from typing import Any

import numpy as np

from cnn_core.axes import Images, Indices

MAPPED_BYTES = 256 << 20  # smaller arrays are read through their map: it may stay in memory whole


def rows_of(images: Images, indices: Indices | slice) -> Images:
    """Return ``images[indices]``, of an array larger than 256 MB that is mapped from a file by
    reading those rows alone.
    """
    mapped = _map_of(images) if images.nbytes > MAPPED_BYTES else None
    if mapped is None or not hasattr(os, "preadv"):
        return images[indices]
    wanted = np.arange(len(images))[indices]
    rows = np.empty((len(wanted), *images.shape[1:]), images.dtype)
    file = os.open(mapped.filename, os.O_RDONLY)
    try:
        size = images[0].nbytes
        for row, index in zip(rows, wanted.tolist(), strict=True):
            if os.preadv(file, [row.data], mapped.offset + index * size) < size:
                raise OSError(f"{mapped.filename}: ends before image {index}")
    finally:
        os.close(file)
    return rows


def _map_of(array: Any) -> Any:
    """Return the map of a file whose rows the array is, None where it is in memory, or a part."""
    whole = array
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    fits = array is not None and array.filename and array.shape == whole.shape
    return array if fits and whole.flags.c_contiguous else None
