"""A picture, or a folder of them: flat, one folder a class, or with a table of labels beside it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from pipeline.inputs.input_source import Block, Hints, some
from pipeline.inputs.labels.label_files import read_labels
from pipeline.inputs.pictures.folder_listing import FolderListing, in_order, list_folder
from pipeline.inputs.pictures.picture_choice import chosen
from pipeline.inputs.pictures.picture_labels import by_table
from pipeline.inputs.pictures.pictures import read_picture, stacked

_BLOCK_BYTES = 128 << 20  # of pictures that are held together


class PictureSource:
    """Pictures in natural order of their names (2 before 10); the id is the file's path in the
    folder, with "/".

    Every file that Pillow reads is a picture, whatever its ending. What cannot be read is refused,
    or with `hints.on_damaged="skip"` an empty picture whose id is in `damaged`.
    """

    def __init__(self, path: Path, hints: Hints) -> None:
        self.folder = path if path.is_dir() else path.parent
        self.id_name: str | None = "id"
        self._skip = hints.on_damaged == "skip"
        self.pixel_names: Sequence[str] = ()
        self.separate = True
        self.damaged: Sequence[str] = ()  # as far as the folder has been read
        self._labels: tuple[str, ...] | None = None
        if path.is_dir():
            self.ids, self._labels, self.understood = self._listed(hints)
        else:
            self.ids, self.understood = (path.name,), f"one picture, {path.name}"
        if hints.need_labels and self._labels is None:
            raise InputError(
                "pictures must have labels here: one folder a class, or labels=... a table of ids "
                f"and labels, got {len(self.ids)} pictures without in {path}"
            )
        self.count: int | None = len(self.ids)

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield blocks of at most `size` pictures, fewer where they are large, in natural order."""
        held: list[NDArray[Any]] = []
        for at, name in enumerate(self.ids, 1):
            held.append(self._picture(name))
            whole = sum(picture.nbytes for picture in held) > _BLOCK_BYTES
            if len(held) == size or whole or at == len(self.ids):
                part = slice(at - len(held), at)
                labels = None if self._labels is None else self._labels[part]
                yield Block(pictures=stacked(held), ids=self.ids[part], labels=labels)
                held = []

    def _picture(self, name: str) -> NDArray[Any]:
        try:
            return read_picture(self.folder / name)
        except InputError:
            if not self._skip:
                raise
            if name not in self.damaged:
                self.damaged = (*self.damaged, name)
            return np.empty((0, 0, 0), np.uint8)

    def _listed(self, hints: Hints) -> tuple[tuple[str, ...], tuple[str, ...] | None, str]:
        """Return ids, labels and what was understood of a folder."""
        found = list_folder(self.folder, hints.labels)
        names: Sequence[str] = found.pictures
        if found.unreadable:
            names = in_order([*names, *found.unreadable])
        those = ""
        if hints.only is not None:
            names, those = chosen(names, hints.only, hints.id, str(self.folder.absolute()))
        counting = {*names}
        damaged = [name for name in found.unreadable if name in counting]
        if damaged and not self._skip:
            raise InputError(
                f"every file in a folder of pictures must be one that Pillow reads, got "
                f"{len(damaged)} others: {some(damaged)} in {self.folder} "
                "(on_damaged=skip goes on without them)"
            )
        if len(damaged) == len(names):
            raise InputError(
                f"a folder of pictures must hold at least one that Pillow reads, got none in "
                f"{self.folder}"
            )
        self.damaged = tuple(damaged)
        labels, words = self._labelled(names, found, hints)
        parts = [f"{len(names)} pictures", those, words, found.ignored_words()]
        return tuple(names), labels, "; ".join(part for part in parts if part)

    def _labelled(
        self, names: Sequence[str], found: FolderListing, hints: Hints
    ) -> tuple[tuple[str, ...] | None, str]:
        if hints.label == "none":
            return None, "no labels asked for"
        if hints.labels is not None:
            table = read_labels(hints.labels, hints.label, hints.id)
            return by_table(names, table, str(self.folder.absolute()))
        folders = classes_of(names, found, self.folder)
        if not folders:
            return None, ""
        known = set(hints.class_names)
        if known and not hints.need_labels and not known.issuperset(folders):
            strange = [folder for folder in folders if folder not in known]
            return None, f"folders are not the classes of the training data: {some(strange)}"
        words = f"labels: the names of {len(folders)} folders, {some(list(folders))}"
        return tuple(name.partition("/")[0] for name in names), words


def classes_of(names: Sequence[str], found: FolderListing, folder: Path) -> tuple[str, ...]:
    """Return the folders that are classes, in natural order; none where the pictures lie flat.

    Raises InputError for pictures beside folders of pictures, empty folders beside others, and one
    folder that holds the folders of classes.
    """
    flat = [name for name in names if "/" not in name]
    folders = tuple(dict.fromkeys(name.partition("/")[0] for name in names if "/" in name))
    if flat and folders:
        raise InputError(
            "a folder must hold pictures, or one folder of pictures a class, got both: "
            f"{len(flat)} pictures ({some(flat)}) beside folders ({some(folders)}) in {folder}"
        )
    empty = [name for name in found.empty if "/" not in name]
    if folders and empty:
        raise InputError(
            f"every folder of a class must hold a picture, got none in {some(empty)} of {folder}"
        )
    if len(folders) == 1 and all(name.count("/") > 1 for name in names):
        inner = {name.split("/")[1] for name in names}
        if len(inner) > 1:
            raise InputError(
                f"one folder a class is expected, got {folders[0]} alone, which holds folders "
                f"({some(sorted(inner))}): give {folder / folders[0]} instead of {folder}"
            )
    return folders
