"""Pictures and labels in a MATLAB file, the axis that counts them brought to the front."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from pipeline.inputs.arrays.array_names import ArrayInfo, choose_arrays
from pipeline.inputs.arrays.mat_format import mat_arrays, read_mat_arrays
from pipeline.inputs.input_source import Hints


def read_mat(path: Path, hints: Hints) -> tuple[NDArray[Any], NDArray[Any] | None, str]:
    """Return the images (N, ...), the labels (N,) or one-hot (N, K) or None, and a line about them.

    Images may be stored with N last, as MATLAB does, (H, W, C, N); the labels' length decides.
    Raises InputError for another version, cells, structures and objects, and where two axes fit.
    """
    with path.open("rb") as file:
        start = file.read(128)
    if start.startswith(b"MATLAB 7.3"):
        raise InputError(
            "a MATLAB file must be of version 5 (save with -v7 or -v6), got version 7.3 (HDF5), in "
            f"{path}"
        )
    stated = mat_arrays(path)
    arrays = {name: ArrayInfo(array.shape, "i") for name, array in stated.items() if array.numbers}
    if not arrays:
        raise InputError(
            "a MATLAB file must hold an array of real numbers, no text, cells, structures or "
            f"objects, got {', '.join(sorted(stated)[:8]) or 'nothing'} in {path}"
        )
    choice = choose_arrays(arrays, hints, str(path))
    found = read_mat_arrays(path, frozenset({choice.images, choice.labels or choice.images}))
    labels = found[choice.labels] if choice.labels else None
    if labels is not None and labels.ndim == 2 and 1 in labels.shape:
        labels = labels.ravel()
    images, words = _images_first(found[choice.images], labels, hints, str(path))
    return images, labels, f"{choice.words}{words}"


def _images_first(
    images: NDArray[Any], labels: NDArray[Any] | None, hints: Hints, where: str
) -> tuple[NDArray[Any], str]:
    """Return images with N in front, and words where the axis was moved."""
    front, back = images.shape[0], images.shape[-1]
    if labels is not None:
        first, last = front == len(labels), back == len(labels)
        if not first and not last:
            raise InputError(
                f"images and labels must be as many, got images {images.shape} and {len(labels)} "
                f"labels in {where}"
            )
    else:
        first, last = _fits(images.shape[1:], hints), _fits(images.shape[:-1], hints)
    if first and last and front != 1 and back != 1:
        raise InputError(
            f"the first or the last axis of images {images.shape} may count them: give shape, or "
            f"labels whose number tells, for {where}"
        )
    if last and not first:
        return np.moveaxis(images, -1, 0), f"; pictures along the last axis of {images.shape}"
    return images, ""


def _fits(each: tuple[int, ...], hints: Hints) -> bool:
    """Return whether one picture can have this shape."""
    if hints.shape:
        channels_last = (*hints.shape[1:], hints.shape[0])
        plain = tuple(n for n in hints.shape if n != 1)
        return each in (hints.shape, channels_last, plain, (math.prod(hints.shape),))
    if len(each) == 1:
        return any(k * math.isqrt(each[0] // k) ** 2 == each[0] for k in (1, 3))
    return len(each) == 2 or each[0] in (1, 3, 4) or each[-1] in (1, 3, 4)
