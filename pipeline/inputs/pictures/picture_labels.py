"""Which row of a table, whose ids name the files, is for each picture of a folder; its label."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cnn_core.errors import InputError
from pipeline.inputs.input_source import composed, some
from pipeline.inputs.labels.label_files import LabelFile

Key = Callable[[str], str]
_WITHOUT_ROW = "pictures without a row"


def by_table(pictures: Sequence[str], table: LabelFile, folder: str) -> tuple[tuple[str, ...], str]:
    """Return the label of each picture, and what was understood, by a table whose ids are file
    names with or without ending and with or without folders, all in one way: as they are written,
    else in another form of Unicode (macOS writes é as two characters), in upper or lower case, or
    as numbers (1 is 00001.png).

    Without ids a table's labels count the pictures in natural order, which is refused: nothing
    confirms it. Raises InputError where a picture has not exactly one row, or a row no picture.
    """
    if table.ids is None:
        raise InputError(
            f"labels of a folder of pictures must be a table with a column of ids, the files' "
            f"names, got {table.understood}"
        )
    found = match(pictures, table.ids, folder)
    if found.faults:
        raise InputError(
            "every picture must have one row in the table of labels and every row a picture, got "
            f"{', '.join(found.faults)} in {folder} ({table.understood}){found.advice()}"
        )
    labels = tuple(table.labels[found.rows[name]] for name in pictures)
    return labels, table.understood + found.how


@dataclass(frozen=True)
class Match:
    """Which row of a table is for each picture, and how the ids were compared; in words, what keeps
    pictures and rows from being the same, each once.
    """

    rows: Mapping[str, int]
    how: str
    faults: tuple[str, ...]
    way: tuple[Key, Key]  # what is compared of an id, and of a picture

    def advice(self) -> str:
        """Return what helps where nothing is wrong but pictures without a row."""
        alone = len(self.faults) == 1 and bool(self.rows) and _WITHOUT_ROW in self.faults[0]
        return "; `only`, a table of the pictures that count, leaves others out" if alone else ""


def match(pictures: Sequence[str], ids: Sequence[str], folder: str, *, whole: bool = True) -> Match:
    """Return which row is for each picture that has one; `whole`: every picture must."""
    last = folder.rstrip("/").rpartition("/")[2]
    ways: list[tuple[Key, Key]] = [
        (row, picture)
        for row in (_plain, lambda name: _plain(name).removeprefix(f"{last}/"), _file)
        for picture in (_plain, _bare, _file, lambda name: _bare(_file(name)))
    ]
    strict = max(ways, key=lambda way: _common(ids, pictures, way))
    lax = [
        ("in one form of Unicode", (_composed(row), _composed(picture))) for row, picture in ways
    ]
    lax += [("in upper or lower case", (_lower(row), _lower(picture))) for row, picture in ways]
    lax.append(("as numbers", (_number, _number)))
    faults = _faults(ids, pictures, strict, whole)
    how, way = "", strict
    if faults:
        fitting = (each for each in lax if not _faults(ids, pictures, each[1], whole))
        how, way = next(fitting, ("", strict))
    rows = {way[0](name): row for row, name in enumerate(ids)}
    found = {name: rows[key] for name in pictures if (key := way[1](name)) in rows}
    if how:
        return Match(found, f"; ids match {how}", (), way)
    return Match(found, "", tuple(faults), way)


def _faults(
    ids: Sequence[str], pictures: Sequence[str], way: tuple[Key, Key], whole: bool
) -> list[str]:
    """Return in words what keeps ids and pictures from being the same, each once."""
    rows, files = _groups(map(way[0], ids)), _groups(map(way[1], pictures))
    without_row = [pictures[k[0]] for name, k in files.items() if name not in rows]
    without_picture = [ids[k[0]] for name, k in rows.items() if name not in files]
    twice = [ids[rows[name][0]] for name, k in files.items() if name in rows and len(k) > 1]
    twice += [ids[k[0]] for k in rows.values() if len(k) > 1]
    return [
        f"{len(names)} {what} ({some(names)})"
        for names, what in (
            (without_row if whole else [], _WITHOUT_ROW),
            (without_picture, "rows without a picture"),
            (twice, "ids for two pictures or rows"),
        )
        if names
    ]


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _bare(name: str) -> str:
    """Return a name without its ending."""
    return re.sub(r"(?<=[^/])\.[^./]*$", "", name)


def _file(name: str) -> str:
    return _plain(name).rpartition("/")[2]


def _number(name: str) -> str:
    """Return a file name's number, 1 of 00001.png and of 1.0; other names as they are."""
    stem = re.sub(r"\.[A-Za-z]\w*$", "", _file(name))
    whole = re.fullmatch(r"0*([0-9]+)(?:\.0*)?", stem)
    return whole[1] if whole else _plain(name)


def _composed(key: Key) -> Key:
    return lambda name: composed(key(name))


def _lower(key: Key) -> Key:
    return lambda name: composed(key(name)).casefold()


def _common(ids: Sequence[str], pictures: Sequence[str], way: tuple[Key, Key]) -> int:
    return len(set(map(way[0], ids)) & set(map(way[1], pictures)))


def _groups(names: Iterable[str]) -> dict[str, list[int]]:
    """Return where each name stands."""
    found: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        found.setdefault(name, []).append(k)
    return found
