"""Which array of several is the images and which the labels: by the usual names, else by shape."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cnn_core.errors import InputError, did_you_mean
from pipeline.inputs.input_source import Hints

_PART = r"(?:(?P<{0}>train|training|test|testing|val|valid|validation)_?)?"
_NAME = re.compile(
    _PART.format("before")
    + r"(?P<base>[a-z]+?)"
    + r"(?:_?(?P<after>train|training|test|testing|val|valid|validation))?"
)
_PARTS = {"training": "train", "testing": "test", "validation": "val", "valid": "val"}
_IMAGES = {
    *("images", "image", "imgs", "img", "x", "data", "pixels", "inputs", "input", "features"),
    *("pictures", "picture", "dataset"),
}
_LABELS = {"labels", "label", "y", "targets", "target", "classes", "class", "lbl", "digits"}
_IDS = {
    *("id", "ids", "index", "indices", "name", "names", "filename", "filenames", "file", "files"),
    *("imageid", "imageids", "imagename", "imagenames", "path", "paths", "key", "keys"),
}


class ArrayInfo(NamedTuple):
    """What is known of an array before its values are read."""

    shape: tuple[int, ...]
    kind: str  # NumPy's letter of its type

    @property
    def numbers(self) -> bool:
        return self.kind in "uifb"


class ChosenArrays(NamedTuple):
    """The names of the arrays, and a line about them."""

    images: str
    labels: str | None
    ids: str | None
    words: str


def choose_arrays(arrays: Mapping[str, ArrayInfo], hints: Hints, where: str) -> ChosenArrays:
    """Return which array holds the images and which the labels, None where there are none.

    Raises InputError, naming the arrays and the keys `images_key` and `labels_key`, where that is
    not certain.
    """
    images = _told(hints.images_key, arrays, "images_key", where) or _images(arrays, hints, where)
    labels = None
    if hints.label != "none" and hints.labels is None:
        labels = _told(hints.labels_key, arrays, "labels_key", where)
        labels = labels or _labels(arrays, images, where)
    ids = None if hints.id == "none" else _ids(arrays, images, labels, where)
    others = [name for name in sorted(arrays) if name not in (images, labels, ids)]
    words = f"images: array {images!r}" + (f"; labels: array {labels!r}" if labels else "")
    words += f"; ids: array {ids!r}" if ids else ""
    words += f"; not used: {', '.join(others[:8])}" if others else ""
    return ChosenArrays(images, labels, ids, words)


def _told(key: str, arrays: Mapping[str, ArrayInfo], name: str, where: str) -> str | None:
    if key == "auto":
        return None
    if key not in arrays:
        raise InputError(
            f"{name}={key} must be one of {_list(arrays)} in {where}{did_you_mean(key, arrays)}"
        )
    return key


def _split(name: str) -> tuple[str, str]:
    """Return a name's base and the part of the data it belongs to, such as "x" and "train"."""
    found = _NAME.fullmatch(name.lower().replace("-", "_").replace("/", "_"))
    if not found:
        return name.lower(), ""
    part = found["before"] or found["after"] or ""
    return found["base"], _PARTS.get(part, part)


def _images(arrays: Mapping[str, ArrayInfo], hints: Hints, where: str) -> str:
    many = [name for name, info in arrays.items() if info.numbers and len(info.shape) >= 2]
    named = [name for name in many if _split(name)[0] in _IMAGES]
    likely = named or [
        name for name in many if _split(name)[0] not in _LABELS and _large(arrays[name])
    ]
    if len(likely) > 1 and hints.need_labels and not hints.class_names:  # training
        likely = [name for name in likely if _split(name)[1] == "train"] or likely
    if len(likely) == 1:
        return likely[0]
    raise InputError(
        "an archive must hold one array of images; give images_key (and labels_key), one of "
        f"{_list(arrays)} in {where}"
    )


def _large(info: ArrayInfo) -> bool:
    """Return whether an array can be images: several values each, beyond a column of labels."""
    return len(info.shape) > 2 or (len(info.shape) == 2 and min(info.shape) > 1)


def _labels(arrays: Mapping[str, ArrayInfo], images: str, where: str) -> str | None:
    part = _split(images)[1]
    rest = [name for name in arrays if name != images]
    named = [name for name in rest if _split(name) in {(base, part) for base in _LABELS}]
    if not named:
        counts = set(arrays[images].shape[:1] + arrays[images].shape[-1:])
        named = [name for name in rest if _a_column(name, arrays[name], counts)]
    if len(named) > 1:
        raise InputError(
            "an archive must hold one array of labels; give labels_key, one of "
            f"{_list(named)} in {where}"
        )
    return named[0] if named else None


def _ids(
    arrays: Mapping[str, ArrayInfo], images: str, labels: str | None, where: str
) -> str | None:
    """Return the array that is named as ids are, one for each image; None where there is none."""
    part, count = _split(images)[1], arrays[images].shape[:1]
    named = [
        name
        for name, info in arrays.items()
        if name not in (images, labels)
        and info.kind in "uiUS"
        and info.shape[:1] == count
        and (len(info.shape) == 1 or info.shape[1:] == (1,))
        and _split(name.lower().replace("image_", "image"))[0] in _IDS
        and _split(name)[1] in ("", part)
    ]
    if len(named) > 1:
        raise InputError(
            f"an archive must hold one array of ids, got {_list(named)} in {where}; id=none goes "
            "on without them"
        )
    return named[0] if named else None


def _a_column(name: str, info: ArrayInfo, counts: set[int]) -> bool:
    column = len(info.shape) == 1 or (len(info.shape) == 2 and min(info.shape) == 1)
    return (
        column
        and info.kind in "uiUSb"
        and max(info.shape) in counts
        and _split(name)[0] not in _IDS
        and _split(name)[1] == ""
    )


def _list(names: Mapping[str, ArrayInfo] | Sequence[str]) -> str:
    return ", ".join(sorted(names)[:12])
