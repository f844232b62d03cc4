"""What a folder holds that may be a contest's data: each file told by its content, folders of
pictures as one, and the reason of what cannot be read.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cnn_core.data.checks import open_regular
from cnn_core.data.npy import npy_header
from cnn_core.errors import InputError
from pipeline.contest_folder.names import TEMPLATE, TEST, TRAIN, folder_part
from pipeline.inputs.contents import recognise
from pipeline.inputs.input_source import some
from pipeline.inputs.pictures.pictures import looks_like_picture
from pipeline.inputs.tables.table_text import cells_of, is_number, text_lines
from pipeline.inputs.unpacking import open_unpacked

_DEPTH = 3  # folders below the contest's own in which files are looked for
_FEW_COLUMNS = 16  # of a table that holds no pixels
_LOOKED_AT = 50  # files of a folder whose first bytes tell whether it holds pictures
_NUMBERS = re.compile(r"[\d.:eE+-]+")
# Endings of what lies beside data: programs, and notes unless their name says train or test.
_PROGRAMS = (".py", ".ipynb", ".sh", ".r", ".md", ".rst", ".yaml", ".yml", ".toml", ".cfg", ".log")
_NOTES = (".html", ".htm", ".pdf", ".docx", ".json", ".xml", ".md5", ".sha256", ".url", ".db")
_COMPANIONS = ("readme", "license", "licence", "changelog", "copying", "desktop")


@dataclass(frozen=True)
class FoundFile:
    """A file, or a folder of pictures; `images`: it can hold images, not labels alone."""

    path: Path
    images: bool = False
    kind: str = ""  # as `recognise` says, or pictures
    fault: str = ""  # why it cannot be read


def found_files(folder: Path, depth: int = _DEPTH) -> Iterator[FoundFile]:
    """Yield data files, and folders that hold pictures (as one each). Raises InputError."""
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except OSError as error:
        raise InputError(f"folder must be readable, got {folder} ({error.strerror})") from None
    for path in inside:
        if path.is_dir():
            if (found := _set_of_pictures(path)) is not None:
                yield found
            elif depth:
                yield from found_files(path, depth - 1)
        elif not _beside_data(path):
            found = look_at(path)
            if found.kind != "picture":
                yield found


def look_at(path: Path) -> FoundFile:
    """Return what a file or folder is, by its content."""
    if path.is_dir():
        return FoundFile(path, images=True, kind="pictures")
    try:
        kind = recognise(path)
        return FoundFile(path, images=_can_be_images(path, kind), kind=kind)
    except (InputError, OSError) as error:
        return FoundFile(path, fault=str(error))


def _beside_data(path: Path) -> bool:
    suffix = path.suffix.lower()
    said = any(word.search(path.name) for word in (TRAIN, TEST, TEMPLATE))
    companion = path.stem.lower() in _COMPANIONS or suffix in _NOTES
    return suffix in _PROGRAMS or (companion and not said)


def _set_of_pictures(folder: Path) -> FoundFile | None:
    """Return a folder that is one set of pictures, which lie in it or in folders of classes; None
    for a folder without pictures, or of such sets; a fault where that is not certain.
    """
    with os.scandir(folder) as entries:
        inside = [entry for entry in entries if not entry.name.startswith(".")]
    folders = [Path(entry.path) for entry in inside if entry.is_dir()]
    files = (Path(entry.path) for entry in inside if not entry.is_dir())
    whole = FoundFile(folder, images=True, kind="pictures")
    if any(map(_is_picture, islice(files, _LOOKED_AT))):
        return whole
    parts = {path: part for path in folders if (part := folder_part(path.name))}
    if not parts:
        return whole if any(map(_holds_pictures, folders)) else None
    held = [path for path in folders if _holds_pictures(path)]
    named = [path for path in held if path in parts]
    classes = [path.name for path in held if path not in parts]
    if not classes or (len({parts[path] for path in named}) > 1 and not folder_part(folder.name)):
        return None
    if not named or folder_part(folder.name):  # classes of train/ may be called bus and train
        return whole
    return FoundFile(
        folder,
        fault="folders of pictures must be classes, or be called train, test and the like, got "
        f"{named[0].name} beside {some(sorted(classes))} in {folder}",
    )


def _holds_pictures(folder: Path) -> bool:
    return any(map(_is_picture, islice(_files_below(folder), _LOOKED_AT)))


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names if not name.startswith("."))


def _is_picture(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return looks_like_picture(file.read(16), path.suffix)
    except (OSError, InputError):  # a pipe, a device
        return False


def _can_be_images(path: Path, kind: str) -> bool:
    """Tell files that can hold images from those of labels. Raises InputError."""
    if kind == "table":
        lines = (line for _, line in text_lines(path) if line.strip())
        return max(map(_width, islice(lines, 5)), default=0) > _FEW_COLUMNS
    if kind == "parquet":
        import pyarrow.parquet as pq

        from pipeline.inputs.tables.parquet import named_faults

        with named_faults(path):
            fields = list(pq.read_schema(path))
        nested = any(
            not str(field.type).startswith(("int", "string", "large_s")) for field in fields
        )
        return nested or len(fields) > _FEW_COLUMNS
    if kind == "idx":
        with open_unpacked(path) as stream:
            return stream.read(4)[3] > 1
    if kind == "npy" and len(npy_header(path).shape) < 2:
        return False
    return not (re.search(r"label", path.name, re.I) or re.match(r"y[_.]", path.name))


def _width(line: str) -> int:
    """Return how many values a table's line holds; pixels may be numbers in one cell."""
    cells = max((cells_of(line, sign) for sign in ",;\t|"), key=len)
    lists = [cell.split() for cell in cells]
    if len(cells) == 1:
        numbers = [word for word in lists[0] if _NUMBERS.fullmatch(word)]
        return len(lists[0]) if 2 * len(numbers) > len(lists[0]) else 1
    return max(len(cells), *(len(words) for words in lists if all(map(is_number, words))), 0)
