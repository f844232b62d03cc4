"""What a folder holds: pictures by their first bytes, harmless companions, and the rest by name."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.inputs.input_source import some
from pipeline.inputs.labels.labels import natural
from pipeline.inputs.pictures.pictures import looks_like_picture

_COMPANIONS = {"thumbs.db", "desktop.ini", "readme", "license", "licence", "changelog", "copying"}
_NOTES = {
    *(".txt", ".csv", ".tsv", ".json", ".md", ".rst", ".xml", ".yaml", ".yml", ".html", ".log"),
    *(".pdf", ".docx", ".py", ".ipynb", ".md5", ".sha256"),
}
_DEEPEST = 24
_MOST_LINKED = 16  # places that lead to the same folder
_Places = Counter[tuple[int, int]]  # how often each folder was entered


@dataclass
class FolderListing:
    """Names of files below a folder, with "/" between folders, in natural order."""

    pictures: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)  # folders without any picture at any depth

    def ignored_words(self) -> str:
        """Return which files were left out, in a line that is empty where there are none."""
        if not self.ignored:
            return ""
        count = len(self.ignored)
        return f"{count} other file{'s'[: count > 1]} ignored: {some(self.ignored)}"


def list_folder(folder: Path, left_out: Path | None = None) -> FolderListing:
    """Return what is below a folder at any depth; `left_out` is a file that has its own use.

    A file is a picture where its first bytes are those of one, whatever its name. Raises InputError
    for folders that hold themselves and names that are not UTF-8.
    """
    found = FolderListing()
    skip = left_out.resolve() if left_out is not None else None
    _walk(str(folder), "", found, skip, Counter())
    for names in (found.pictures, found.unreadable, found.ignored, found.empty):
        names[:] = in_order(names)
    return found


def in_order(names: Sequence[str]) -> list[str]:
    """Return paths in natural order, folder by folder."""
    return sorted(names, key=lambda name: [natural(part) for part in name.split("/")])


def _walk(
    folder: str,
    prefix: str,
    found: FolderListing,
    skip: Path | None,
    seen: _Places,
) -> int:
    """Add what a folder holds; return how many pictures and unreadable files that is. `seen`: how
    often each folder was entered.
    """
    if prefix.count("/") > _DEEPEST:  # so a folder that holds a link to itself comes to an end
        raise InputError(
            f"folders of pictures may be {_DEEPEST} deep and not hold themselves, got {folder}"
        )
    place = os.stat(folder)  # noqa: PTH116
    seen[place.st_dev, place.st_ino] += 1
    if seen[place.st_dev, place.st_ino] > _MOST_LINKED:  # or links beside links, level by level
        raise InputError(
            f"links to a folder of pictures may be {_MOST_LINKED}, got more to the one at {folder}"
        )
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            _check_name(name, folder)
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                if not entry.is_dir():
                    found.ignored.append(name)
            elif entry.is_dir():
                inside = _walk(entry.path, f"{name}/", found, skip, seen)
                if not inside:
                    found.empty.append(name)
                count += inside
            else:
                count += _sort(entry, name, found, skip)
    return count


def _sort(entry: os.DirEntry[str], name: str, found: FolderListing, skip: Path | None) -> int:
    """Add a file to its list; return 1 for pictures and for what cannot be read."""
    if skip is not None and entry.name == skip.name and Path(entry.path).resolve() == skip:
        return 0
    stem, suffix = os.path.splitext(entry.name.lower())  # noqa: PTH122
    if entry.is_file() and looks_like_picture(_start(entry.path), suffix):
        found.pictures.append(name)
        return 1
    if suffix in _NOTES or entry.name.lower() in _COMPANIONS or stem in _COMPANIONS:
        found.ignored.append(name)
        return 0
    found.unreadable.append(name)
    return 1


def _start(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read(16)
    except OSError:
        return b""  # named as unreadable


def _check_name(name: str, folder: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"names of files must be UTF-8 text, got {name!r} in {folder!a}") from None
