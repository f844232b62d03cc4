"""One's own labelled data from files that NumPy can read: IDX, CSV, text, npz."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnn_core.axes import Images
from cnn_core.data.idx import read_idx_images, read_idx_labels
from cnn_core.data.npz import read_labelled_npz, read_npz
from cnn_core.data.text import Table, images_of, read_table
from cnn_core.errors import InputError
from pipeline.configuration.hints import did_you_mean
from pipeline.data.places import resolve
from pipeline.data.settings import CsvSettings, FileSettings, IdxSettings, NpzSettings, TextSettings
from pipeline.data.source import MOST_CLASSES, Labelled, Source, labelled, required


def _paths(settings: FileSettings, names: Sequence[str]) -> list[Path]:
    return [resolve(required(settings, name), settings.root, settings.name) for name in names]


def _idx_files(settings: IdxSettings, test: bool) -> Sequence[Path]:
    return _paths(settings, ("test_images", "test_labels") if test else ("images", "labels"))


def _read_idx(settings: IdxSettings, files: Sequence[Path], test: bool) -> Labelled:
    images = read_idx_images(files[0])
    labels = read_idx_labels(files[1], settings.classes or MOST_CLASSES)
    if len(images) != len(labels):
        raise InputError(f"{files[1]}: must hold a label for each of the {len(images)} images of {files[0].name}, got {len(labels)}")
    return labelled(images, labels, settings.classes)


def _csv_files(settings: CsvSettings, test: bool) -> Sequence[Path]:
    return _paths(settings, ("test_file",) if test else ("file",))


def _read_csv(settings: CsvSettings, files: Sequence[Path], test: bool) -> Labelled:
    table = read_table(files[0], ",")
    if table.header is not None and len(table.header) != table.values.shape[1]:
        raise InputError(f"{table.place(0)}: rows must have the {len(table.header)} columns of the header, got {table.values.shape[1]}")
    return _from_table(table, _label_column(table, settings.label), settings.classes, settings.shape)


def _label_column(table: Table, label: str) -> int:
    """Return the number of the label's column: a name of the header, first, last, or auto (a name like label, else the first)."""
    names = [name.lower() for name in table.header or ()]
    if table.header is not None and label in table.header:
        return table.header.index(label)
    if label == "auto":
        return next((names.index(word) for word in ("label", "class", "digit", "target", "y") if word in names), 0)
    if label in ("first", "last"):
        return 0 if label == "first" else table.values.shape[1] - 1
    known = ("auto", "first", "last", *(table.header or ()))
    raise InputError(f"{table.path}: line 1: the header must name the label's column, got data.label={label!r}{did_you_mean(label, known)}")


def _from_table(table: Table, column: int | None, classes: int | None, shape: Sequence[int]) -> Labelled:
    square = table
    if shape:
        width = table.values.shape[1] - (column is not None)
        if len(shape) != 3 or math.prod(shape) != width:
            raise InputError(
                f"data.shape: must be [channels, height, width] with a product of {width}, the pixels of a row, got {list(shape)}"
            )
        square = _widened(table, column)
    images, labels = images_of(square, column, classes or MOST_CLASSES)
    if shape:
        images = np.ascontiguousarray(images.reshape(len(images), -1)[:, : math.prod(shape)]).reshape(-1, *shape)
    if labels is None:
        raise InputError(f"{table.path}: labels are needed")
    return labelled(images, labels, classes)


def _widened(table: Table, column: int | None) -> Table:
    """Return the table with zero columns behind it, so that its rows are square and the same checks read them; they are cut off again."""
    if column is not None and column == table.values.shape[1] - 1:
        raise InputError(f"{table.path}: data.shape must go with a label column that is not the last, got column {column + 1}")
    width = table.values.shape[1] - (column is not None)
    side = math.isqrt(width - 1) + 1
    padding = np.zeros((len(table.values), side * side - width), table.values.dtype)
    return replace(table, values=np.concatenate([table.values, padding], axis=1))


def _text_files(settings: TextSettings, test: bool) -> Sequence[Path]:
    file, labels = ("test_file", "test_labels") if test else ("file", "labels")
    return _paths(settings, (file, labels) if settings.labels else (file,))


def _read_text(settings: TextSettings, files: Sequence[Path], test: bool) -> Labelled:
    table = read_table(files[0])
    if len(files) == 1:
        column = 0 if settings.label == "first" else table.values.shape[1] - 1
        return _from_table(table, column, settings.classes, settings.shape)
    labels = read_table(files[1])
    if labels.values.shape != (len(table.values), 1):
        rule = f"must hold one label a line for each of the {len(table.values)} images of {files[0].name}"
        raise InputError(f"{files[1]}: {rule}, got {labels.values.shape[0]} lines of {labels.values.shape[1]}")
    joined = replace(table, values=np.concatenate([labels.values, table.values], axis=1))
    return _from_table(joined, 0, settings.classes, settings.shape)


_IMAGES = ("images", "x_train", "train_images", "x", "X", "data")
_LABELS = ("labels", "y_train", "train_labels", "y", "Y", "target")


def _npz_files(settings: NpzSettings, test: bool) -> Sequence[Path]:
    return _paths(settings, ("file",))


def _read_npz(settings: NpzSettings, files: Sequence[Path], test: bool) -> Labelled:
    if test:
        names = required(settings, "test_images"), required(settings, "test_labels")
    else:
        present = list(read_npz(files[0])) if "auto" in (settings.images, settings.labels) else []
        names = _named(settings.images, _IMAGES, present, files[0]), _named(settings.labels, _LABELS, present, files[0])
    images, labels = read_labelled_npz(files[0], *names, settings.classes or MOST_CLASSES)
    return labelled(_channels_first(images), labels, settings.classes)


def _named(given: str, usual: Sequence[str], present: Sequence[str], path: Path) -> str:
    if given != "auto":
        return given
    found = next((name for name in usual if name in present), None)
    if found is None:
        raise InputError(
            f"{path}: must hold an array named {' or '.join(usual)}, or data.images= and data.labels= say which, got {', '.join(present)}"
        )
    return found


def _channels_first(images: Images) -> Images:
    """Return (N, C, H, W) of (N, H, W, C) with 1 or 3 channels last; anything else as it is."""
    if images.shape[3] in (1, 3) and images.shape[1] not in (1, 3):
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images


IDX: Source[IdxSettings] = Source(_idx_files, _read_idx, own_test=lambda settings: bool(settings.test_images), options=("classes",))
CSV: Source[CsvSettings] = Source(
    _csv_files, _read_csv, own_test=lambda settings: bool(settings.test_file), options=("classes", "label", "shape")
)
TEXT: Source[TextSettings] = Source(
    _text_files, _read_text, own_test=lambda settings: bool(settings.test_file), options=("classes", "labels", "label", "shape")
)
NPZ: Source[NpzSettings] = Source(
    _npz_files,
    _read_npz,
    own_test=lambda settings: bool(settings.test_images),
    options=("classes", "images", "labels", "test_images", "test_labels"),
)
