"""Labels that are stored as an array: names, whole numbers, a column of them, or one-hot rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from pipeline.inputs.labels.labels import label_text

MOST_LABELS = 10_000_000


def label_names(values: NDArray[Any], where: str) -> tuple[str, ...]:
    """Return the labels of an array (N,), (N, 1) or one-hot (N, K), as text.

    Raises InputError for other shapes, fractions, and rows of several values that are not one-hot.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        values = _hot(values, where)
    if values.ndim != 1 or not 1 <= len(values) <= MOST_LABELS:
        raise InputError(
            "labels must be (N,), (N, 1) or one-hot (N, classes), at least one and at most "
            f"{MOST_LABELS:,}, got shape {values.shape} in {where}"
        )
    if values.dtype.kind in "US":
        return _texts(values, where)
    if values.dtype.kind not in "uifb":
        raise InputError(
            f"labels must be text or whole numbers, got values of {values.dtype} in {where}"
        )
    return tuple(map(str, _whole(values, where).tolist()))


def _whole(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Return floats as the whole numbers that they are."""
    if values.dtype.kind != "f":
        return values
    wrong = np.flatnonzero(~(np.abs(values) < 2.0**53) | (values != np.rint(values)))
    if wrong.size:
        raise InputError(
            f"labels must be text or whole numbers, got {values[wrong[0]]:g} at label "
            f"{wrong[0] + 1} of {where}"
        )
    return values.astype(np.int64)


def _hot(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Return the column that holds the 1 of each row."""
    if values.dtype.kind not in "uifb" or not values.size:
        raise InputError(
            f"labels of several columns must be one-hot numbers, got shape {values.shape} of "
            f"{values.dtype} in {where}"
        )
    right = (((values == 0) | (values == 1)).all(axis=1)) & ((values == 1).sum(axis=1) == 1)
    if not right.all():
        at = int(np.flatnonzero(~right)[0])
        raise InputError(
            "labels of several columns must be one-hot, exactly one 1 a row and else 0, got "
            f"{', '.join(map(str, values[at].tolist()[:8]))} in row {at + 1} of {where}"
        )
    return np.asarray(np.argmax(values, axis=1), np.int64)


def _texts(values: NDArray[Any], where: str) -> tuple[str, ...]:
    if values.dtype.kind == "U":
        points = np.frombuffer(values.tobytes(), f"{values.dtype.byteorder}u4")
        if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():
            raise InputError(f"labels must be Unicode text, got no characters in {where}")
    try:
        raw = values.tolist()
        texts = [value.decode() if isinstance(value, bytes) else value for value in raw]
    except UnicodeDecodeError:
        raise InputError(
            f"labels of bytes must be UTF-8 text, got other bytes in {where}"
        ) from None
    names = tuple(label_text(text) for text in texts)
    if "" in names:
        raise InputError(
            f"a label must not be empty, got none at label {names.index('') + 1} of {where}"
        )
    return names
