"""The user's own labelled data from files that NumPy can read: IDX, CSV, text, npz."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnn_core.axes import Images
from cnn_core.data.checks import check_labels
from cnn_core.data.idx import read_idx_images, read_idx_labels
from cnn_core.data.npz import read_labelled_npz, read_npz
from cnn_core.data.text import Table, images_of, read_table
from cnn_core.errors import InputError, did_you_mean
from pipeline.configuration.data_settings import (
    CsvSettings,
    FileSettings,
    IdxSettings,
    NpzSettings,
    TextSettings,
)
from pipeline.data.source import MOST_CLASSES, DataSource, Labelled, labelled, required, resolve


def _paths(settings: FileSettings, names: Sequence[str]) -> list[Path]:
    return [resolve(required(settings, name), settings.root, settings.name) for name in names]


def _idx_files(settings: IdxSettings, test: bool) -> Sequence[Path]:
    return _paths(settings, ("test_images", "test_labels") if test else ("images", "labels"))


def _read_idx(settings: IdxSettings, files: Sequence[Path], test: bool) -> Labelled:
    images = read_idx_images(files[0])
    labels = read_idx_labels(files[1], settings.classes or MOST_CLASSES)
    if len(images) != len(labels):
        raise InputError(
            f"{files[1]}: must hold a label for each of the {len(images)} images of "
            f"{files[0].name}, got {len(labels)}"
        )
    return labelled(images, labels, settings.classes)


def _csv_files(settings: CsvSettings, test: bool) -> Sequence[Path]:
    return _paths(settings, ("test_file",) if test else ("file",))


def _read_csv(settings: CsvSettings, files: Sequence[Path], test: bool) -> Labelled:
    table = read_table(files[0], ",")
    if table.header is not None and len(table.header) != table.values.shape[1]:
        raise InputError(
            f"{table.place(0)}: rows must have the {len(table.header)} columns of the header, got "
            f"{table.values.shape[1]}"
        )
    return _from_table(table, _label_column(table, settings.label), settings)


def _label_column(table: Table, label: str) -> int:
    """Return the number of the label's column: a name of the header, first, last, or auto (a name
    like label, else the first).
    """
    names = [name.lower() for name in table.header or ()]
    if table.header is not None and label in table.header:
        return table.header.index(label)
    if label == "auto":
        return next(
            (
                names.index(word)
                for word in ("label", "class", "digit", "target", "y")
                if word in names
            ),
            0,
        )
    if label in ("first", "last"):
        return 0 if label == "first" else table.values.shape[1] - 1
    known = ("auto", "first", "last", *(table.header or ()))
    raise InputError(
        f"{table.path}: line 1: the header must name the label's column, got "
        f"data.label={label!r}{did_you_mean(label, known)}"
    )


def _text_files(settings: TextSettings, test: bool) -> Sequence[Path]:
    file, labels = ("test_file", "test_labels") if test else ("file", "labels")
    return _paths(settings, (file, labels) if settings.labels else (file,))


def _read_text(settings: TextSettings, files: Sequence[Path], test: bool) -> Labelled:
    table = read_table(files[0])
    if len(files) == 1:
        column = 0 if settings.label == "first" else table.values.shape[1] - 1
        return _from_table(table, column, settings)
    given = read_table(files[1])
    if given.values.shape != (len(table.values), 1):
        rule = (
            f"must hold one label a line for each of the {len(table.values)} images of "
            f"{files[0].name}"
        )
        raise InputError(
            f"{files[1]}: {rule}, got {given.values.shape[0]} lines of {given.values.shape[1]}"
        )
    labels = given.values[:, 0].astype(np.int64)
    check_labels(labels, settings.classes or MOST_CLASSES, given.place)
    return labelled(
        images_of(table, None, MOST_CLASSES, settings.shape)[0], labels, settings.classes
    )


def _from_table(table: Table, column: int, settings: CsvSettings | TextSettings) -> Labelled:
    images, labels = images_of(table, column, settings.classes or MOST_CLASSES, settings.shape)
    assert labels is not None, "a label column was given"
    return labelled(images, labels, settings.classes)


_IMAGES = ("images", "x_train", "train_images", "x", "X", "data")
_LABELS = ("labels", "y_train", "train_labels", "y", "Y", "target")


def _npz_files(settings: NpzSettings, test: bool) -> Sequence[Path]:
    for name in ("test_images", "test_labels") if test else ():
        required(settings, name)
    return _paths(settings, ("file",))


def _read_npz(settings: NpzSettings, files: Sequence[Path], test: bool) -> Labelled:
    if test:
        names = required(settings, "test_images"), required(settings, "test_labels")
    else:
        present = list(read_npz(files[0])) if "auto" in (settings.images, settings.labels) else []
        names = (
            _named(settings.images, _IMAGES, present, files[0]),
            _named(settings.labels, _LABELS, present, files[0]),
        )
    images, labels = read_labelled_npz(files[0], *names, settings.classes or MOST_CLASSES)
    return labelled(_channels_first(images), labels, settings.classes)


def _named(given: str, usual: Sequence[str], present: Sequence[str], path: Path) -> str:
    if given != "auto":
        return given
    found = next((name for name in usual if name in present), None)
    if found is None:
        raise InputError(
            f"{path}: must hold an array named {' or '.join(usual)}, or data.images= and "
            f"data.labels= say which, got {', '.join(present)}"
        )
    return found


def _channels_first(images: Images) -> Images:
    """Return (N, C, H, W) of (N, H, W, C) with 1, 3 or 4 channels last; anything else as it is."""
    if images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images


IDX: DataSource[IdxSettings] = DataSource(
    _idx_files,
    _read_idx,
    own_test=lambda settings: bool(settings.test_images),
    options=("classes",),
)
CSV: DataSource[CsvSettings] = DataSource(
    _csv_files,
    _read_csv,
    own_test=lambda settings: bool(settings.test_file),
    options=("classes", "label", "shape"),
)
TEXT: DataSource[TextSettings] = DataSource(
    _text_files,
    _read_text,
    own_test=lambda settings: bool(settings.test_file),
    options=("classes", "labels", "label", "shape"),
)
NPZ: DataSource[NpzSettings] = DataSource(
    _npz_files,
    _read_npz,
    own_test=lambda settings: bool(settings.test_images),
    options=("classes", "images", "labels", "test_images", "test_labels"),
)
