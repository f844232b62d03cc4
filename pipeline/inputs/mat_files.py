"""MATLAB's files, version 5, read by SciPy: arrays of numbers, the pictures' axis brought to the
front.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.checks import check_plausible_size
from cnn_core.errors import InputError
from pipeline.inputs.array_names import ArrayInfo, choose_arrays
from pipeline.inputs.input_source import Hints

_BYTES = {
    **{"double": 8, "single": 4, "logical": 1, "char": 4},
    **{f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_KINDS = {"double": "f", "single": "f", "logical": "b", "char": "U"}


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
    stated = _stated(path)
    arrays = {name: info for name, info in stated.items() if info.kind in "uifbU"}
    if not arrays:
        raise InputError(
            "a MATLAB file must hold an array of numbers, no cells, structures or objects, got "
            f"{', '.join(sorted(stated)[:8]) or 'nothing'} in {path}"
        )
    choice = choose_arrays(arrays, hints, str(path))
    names = [choice.images, *([choice.labels] if choice.labels else [])]
    found = _load(path, names)
    labels = found[choice.labels] if choice.labels else None
    if labels is not None and labels.ndim == 2 and 1 in labels.shape:
        labels = labels.ravel()
    images, words = _images_first(found[choice.images], labels, hints, str(path))
    return images, labels, f"{choice.words}{words}"


def _stated(path: Path) -> dict[str, ArrayInfo]:
    """Return what the file says of its arrays, unread, if it can hold that much."""
    from scipy.io import whosmat

    try:
        listed = whosmat(path)
    except Exception as error:  # SciPy's reader raises anything on damaged bytes
        raise _damaged(error, path) from None
    sizes = [math.prod(shape) * _BYTES.get(kind, 0) for _, shape, kind in listed]
    check_plausible_size(path, sum(sizes), "its arrays together")
    return {
        name: ArrayInfo(tuple(shape), _KINDS.get(kind, kind[0] if kind in _BYTES else "O"))
        for name, shape, kind in listed
    }


def _load(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=names)
        return {name: np.asarray(found[name]) for name in names}
    except Exception as error:
        raise _damaged(error, path) from None


def _damaged(error: Exception, path: Path) -> InputError:
    reason = str(error).partition("\n")[0][:120] or type(error).__name__
    return InputError(f"a MATLAB file must be whole and of version 5, got {reason} in {path}")


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
