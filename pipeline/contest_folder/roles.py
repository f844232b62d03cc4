"""Which files of a folder are a contest's training data, its labels, its test data and its sample
submission: by their names and by what they hold; refused where that is not certain.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.inputs.tables.table_text import sample_of

_DEPTH = 3  # folders below the contest's own in which tables are looked for
_FEW_COLUMNS = 16  # of a table that holds no pixels
_TEMPLATE = re.compile(r"sample|submi", re.IGNORECASE)
_TRAIN = re.compile(r"train", re.IGNORECASE)
_TEST = re.compile(r"test|t10k|eval|unlabel", re.IGNORECASE)
_LABELS = re.compile(r"label|idx1", re.IGNORECASE)
# Endings of files that may hold images or labels; what they hold, their content says later.
_TABLES = (".csv", ".tsv", ".txt", ".data", ".parquet")
_ARRAYS = (".npz", ".npy", ".mat", ".idx")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
KEYS = ("training", "labels", "test", "template")


@dataclass(frozen=True)
class ContestFiles:
    """What a contest's files are for; None where there is no such file."""

    training: Path | None = None
    labels: Path | None = None  # of the training data, where those are in a file of their own
    test: Path | None = None
    template: Path | None = None
    unused: tuple[Path, ...] = field(default=())

    def lines(self, folder: Path) -> Iterator[str]:
        """Yield a line for each role and one for the files that have none."""
        words = ("training data", "labels", "test data", "sample submission")
        for key, word in zip(KEYS, words, strict=True):
            path = getattr(self, key)
            where = "none" if path is None else _relative(path, folder)
            if path is not None or key != "labels":
                yield f"{word}: {where}"
        if self.unused:
            shown = ", ".join(_relative(path, folder) for path in self.unused[:5])
            more = ", ..." if len(self.unused) > 5 else ""
            yield f"{len(self.unused)} files not used: {shown}{more}"


def roles_of(folder: Path, given: ContestFiles) -> ContestFiles:
    """Return the roles of a folder's files, with what is `given` as given. Raises InputError, with
    the choices and the key that decides, where two files could have one role.
    """
    entries = list(_entries(folder, _DEPTH))
    left = [path for path in entries if path not in {getattr(given, key) for key in KEYS}]
    found: dict[str, Path | None] = {key: getattr(given, key) for key in KEYS}
    for key, candidates in (
        ("template", [path for path in left if _is_template(path)]),
        ("test", [path for path in left if _images(path) and _named(path, folder) == "test"]),
        ("training", [path for path in left if _images(path) and _named(path, folder) != "test"]),
    ):
        candidates = [path for path in candidates if not _is_template(path) or key == "template"]
        if found[key] is None:
            found[key] = _one(key, candidates, folder)
    if found["training"] is None:
        raise InputError(
            "a contest's folder must hold training data (a table of pixels, a folder of pictures, "
            f"arrays), got none in {folder}; training=PATH says where they are"
        )
    used = {path for path in found.values() if path is not None}
    if found["labels"] is None:
        found["labels"] = _labels_of([path for path in left if path not in used], folder)
    unused = tuple(path for path in entries if path not in found.values())
    return ContestFiles(unused=unused, **found)


def _labels_of(left: Sequence[Path], folder: Path) -> Path | None:
    """Return the table of labels beside the training data, None where they hold their own."""
    candidates = [
        path
        for path in left
        if not _images(path)
        and not _is_template(path)
        and _named(path, folder) != "test"
        and path.suffix.lower() not in (".txt",)
    ]
    named = [path for path in candidates if _LABELS.search(path.name) or _TRAIN.search(path.name)]
    return _one("labels", named or candidates, folder)


def _one(key: str, candidates: Sequence[Path], folder: Path) -> Path | None:
    """Return the one candidate; of several, the one whose name says the role. Raises InputError."""
    if len(candidates) > 1:
        word = {"training": _TRAIN, "test": _TEST}.get(key)
        named = [path for path in candidates if word and word.search(path.name)]
        candidates = named if len(named) == 1 else candidates
    if len(candidates) > 1:
        shown = ", ".join(_relative(path, folder) for path in candidates[:6])
        raise InputError(
            f"a contest's folder must hold one {key} file or folder, got {len(candidates)} "
            f"({shown}) in {folder}; say which by {key}=PATH"
        )
    return candidates[0] if candidates else None


def _entries(folder: Path, depth: int) -> Iterator[Path]:
    """Yield data files, and folders that hold pictures (as one entry each)."""
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except OSError as error:
        raise InputError(f"folder must be readable, got {folder} ({error.strerror})") from None
    for path in inside:
        if path.is_dir():
            if _holds_pictures(path):
                yield path
            elif depth:
                yield from _entries(path, depth - 1)
        elif _stem_suffix(path) in (*_TABLES, *_ARRAYS) or "idx" in path.name:
            yield path


def _holds_pictures(folder: Path) -> bool:
    """Tell whether a folder is a set of pictures: some in it, or in one folder a class; a folder of
    such sets, one of them named train or test, is none itself.
    """
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if any(path.suffix.lower() in _PICTURES for path in inside):
        return True
    folders = [path for path in inside if path.is_dir()]
    if any(_TRAIN.search(path.name) or _TEST.search(path.name) for path in folders):
        return False
    return any(
        file.suffix.lower() in _PICTURES for path in folders for file in _some(path.rglob("*"))
    )


def _some(paths: Iterable[Path], most: int = 50) -> Iterator[Path]:
    for path, _ in zip(paths, range(most), strict=False):
        yield path


def _named(path: Path, folder: Path) -> str:
    """Return "train", "test" or nothing: what the name says, or that of a folder above it."""
    for part in reversed(path.relative_to(folder).parts):
        if _TRAIN.search(part):
            return "train"
        if _TEST.search(part):
            return "test"
    return ""


def _images(path: Path) -> bool:
    """Tell whether an entry can hold images: not a table of few columns, not a file of labels."""
    if path.is_dir():
        return True
    if _stem_suffix(path) in _TABLES and _stem_suffix(path) != ".parquet":
        return _columns(path) > _FEW_COLUMNS
    return not (_LABELS.search(path.name) or re.match(r"y[_.]", path.name))


def _is_template(path: Path) -> bool:
    return not path.is_dir() and bool(_TEMPLATE.search(path.name))


def _columns(path: Path) -> int:
    """Return how many columns a table has, 0 where it is none."""
    try:
        return len(sample_of(path, 1)[1][0])
    except (OSError, InputError):
        return 0


def _stem_suffix(path: Path) -> str:
    """Return the ending, of a compressed file the one before .gz."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _relative(path: Path, folder: Path) -> str:
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return f"{shown}/" if path.is_dir() else str(shown)
