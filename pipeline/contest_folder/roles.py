"""Which files of a folder are a contest's training data, its labels, its test data and its sample
submission: by their names and by what they hold; refused where that is not certain.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.contest_folder.array_parts import ArrayParts, array_parts
from pipeline.contest_folder.found_files import FoundFile, found_files, look_at
from pipeline.contest_folder.listed_pictures import ListedPictures, listed_pictures
from pipeline.contest_folder.names import TEMPLATE, part_said

_LABELS = re.compile(r"label|idx1|^y[_.]", re.IGNORECASE)
KEYS = ("training", "labels", "test", "template")


@dataclass(frozen=True)
class ContestFiles:
    """What a contest's files are for; None where there is no such file."""

    training: Path | None = None
    labels: Path | None = None  # of the training data, where those are in a file of their own
    test: Path | None = None
    template: Path | None = None
    parts: ArrayParts | None = None  # where one archive holds training and test arrays
    listed: ListedPictures | None = None  # where one folder holds training and test pictures
    unused: tuple[Path, ...] = field(default=())
    faults: tuple[str, ...] = field(default=())  # why files without a role cannot be read

    def lines(self, folder: Path) -> Iterator[str]:
        """Yield a line for each role and one for the files that have none."""
        words = ("training data", "labels", "test data", "sample submission")
        for key, word in zip(KEYS, words, strict=True):
            path = getattr(self, key)
            where = "none" if path is None else _relative(path, folder)
            if path is not None or key != "labels":
                yield f"{word}: {where}"
        for one in (self.parts, self.listed):
            if one is not None:
                yield one.line()
        if self.unused:
            shown = ", ".join(_relative(path, folder) for path in self.unused[:5])
            more = ", ..." if len(self.unused) > 5 else ""
            yield f"{len(self.unused)} files not used: {shown}{more}"
        for fault in self.faults[:5]:
            yield f"cannot be read: {fault}"


def roles_of(
    folder: Path,
    given: ContestFiles,
    without: Sequence[str] = (),
    ids: tuple[str, str] = ("auto", "auto"),
) -> ContestFiles:
    """Return the roles of a folder's files, with what is `given` as given, and none of those that
    the user goes `without`; `ids` are the id columns of training and test. Raises InputError, with
    the choices and the key that decides, where two files could have one role, and with the reason
    where a file that is needed cannot be read.
    """
    sets = [path for path in (given.training, given.test) if path and look_at(path).images]
    entries = [entry for entry in found_files(folder) if not _overlaps(entry, sets)]
    found: dict[str, Path | None] = {key: getattr(given, key) for key in KEYS}
    taken = {path for path in found.values() if path is not None}
    left = [entry for entry in entries if entry.path not in taken and not entry.fault]
    images = [entry.path for entry in left if entry.images and not _is_template(entry.path)]
    for key, candidates in (
        ("template", [entry.path for entry in left if _is_template(entry.path)]),
        ("test", [path for path in images if _named(path, folder) == "test"]),
        ("training", [path for path in images if _named(path, folder) != "test"]),
    ):
        if found[key] is None and key not in without:
            found[key] = _one(key, candidates, folder)
    training = found["training"]
    if training is None:
        raise _missing("training", entries, folder)
    taken = {path for path in found.values() if path is not None}
    if found["labels"] is None and "labels" not in without:
        found["labels"] = _labels_of([one for one in left if one.path not in taken], folder)
    parts, listed = None, _listed(found, left, folder, without, ids)
    if found["test"] in (None, training) and "test" not in without:
        parts = array_parts(look_at(training))
    if (parts or listed) and "test" not in without:
        found["test"] = training
    roles = replace(ContestFiles(**found), parts=parts, listed=listed)  # type: ignore[arg-type]
    _check_needed(roles, entries, folder, without)
    used = {*found.values(), listed and listed.test}
    left_over = [entry for entry in entries if entry.path not in used]
    return replace(
        roles,
        unused=tuple(entry.path for entry in left_over if not entry.fault),
        faults=tuple(entry.fault for entry in left_over if entry.fault),
    )


def _listed(
    found: Mapping[str, Path | None],
    left: Sequence[FoundFile],
    folder: Path,
    without: Sequence[str],
    ids: tuple[str, str],
) -> ListedPictures | None:
    """Return how tables divide the pictures of one folder into training and test, None where the
    test's are elsewhere. Raises InputError where a table named test does not name pictures.
    """
    training, labels, test = found["training"], found["labels"], found["test"]
    if training is None or not training.is_dir() or labels is None:
        return None
    tables = [test] if test not in (None, training) else _tables_of_test(left, folder)
    table = _one("test", tables, folder) or found["template"]
    if table is None or look_at(table).images:
        return None
    try:
        return listed_pictures(training, labels, table, ids)
    except InputError as error:
        if not tables or "test" in without:
            return None
        raise InputError(
            f"{error}; test=PATH says where the test data are, test=none that there are none"
        ) from None


def _tables_of_test(left: Sequence[FoundFile], folder: Path) -> list[Path]:
    return [
        entry.path
        for entry in left
        if not entry.images
        and _named(entry.path, folder) == "test"
        and not _is_template(entry.path)
        and not _LABELS.search(entry.path.name)
    ]


def _overlaps(entry: FoundFile, sets: Sequence[Path]) -> bool:
    """Tell whether images, or what may be images, lie below or above one of these sets."""
    return (entry.images or entry.path.is_dir()) and any(
        one != entry.path and (one in entry.path.parents or entry.path in one.parents)
        for one in sets
    )


def _check_needed(
    roles: ContestFiles, entries: Sequence[FoundFile], folder: Path, without: Sequence[str]
) -> None:
    """Raise InputError where a role is missing and a file whose name says it has not got it."""
    for key in ("test", "labels", "template"):
        if getattr(roles, key) is None and key not in without:
            named = [entry for entry in entries if _says(key, entry, roles, folder)]
            if named:
                raise _missing(key, named, folder)


def _says(key: str, entry: FoundFile, roles: ContestFiles, folder: Path) -> bool:
    """Tell whether a file that has no role, and cannot have this one, says it by its name."""
    path = entry.path
    if path in (roles.training, roles.labels, roles.test, roles.template):
        return False
    template, labels = _is_template(path), bool(_LABELS.search(path.name))
    if key == "template":
        return template and bool(entry.fault)
    if key == "test":
        return _named(path, folder) == "test" and not template and not labels
    if not entry.fault or template or _named(path, folder) == "test":
        return False
    training = roles.training  # class folders label their pictures themselves
    return (
        training is not None and training.is_dir() and not any(map(Path.is_dir, training.iterdir()))
    )


def _missing(key: str, entries: Sequence[FoundFile], folder: Path) -> InputError:
    """Return the refusal of a folder without a role that it must have, with what its files are."""
    what = {
        "training": "training data (a table of pixels, a folder of pictures, arrays)",
        "test": "test data, as the name of a file says",
        "labels": "the labels of its pictures, as the name of a file says",
        "template": "a sample submission, as the name of a file says",
    }[key]
    reasons = [
        entry.fault or f"a table of few columns holds no pixels: {entry.path}"
        for entry in entries
        if not entry.images and (entry.fault or key == "test" or part_said(entry.path) == "train")
    ]
    more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    got = f" that can be read ({'; '.join(reasons[:5])}{more})" if reasons else ""
    none = "" if key == "training" else f", {key}=none that there are none"
    return InputError(
        f"a contest's folder must hold {what}, got none{got} in {folder}; "
        f"{key}=PATH says where they are{none}"
    )


def _labels_of(left: Sequence[FoundFile], folder: Path) -> Path | None:
    """Return the table of labels beside the training data, None where they hold their own."""
    candidates = [
        entry.path
        for entry in left
        if not entry.images
        and not _is_template(entry.path)
        and _named(entry.path, folder) != "test"
        and (entry.path.suffix.lower() != ".txt" or _LABELS.search(entry.path.name))
    ]
    named = [path for path in candidates if _LABELS.search(path.name) or part_said(path) == "train"]
    return _one("labels", named or candidates, folder)


def _one(key: str, candidates: Sequence[Path], folder: Path) -> Path | None:
    """Return the one candidate; of several, the one whose name says the role. Raises InputError."""
    if len(candidates) > 1:
        word = {"training": "train", "test": "test"}.get(key)
        named = [path for path in candidates if part_said(path) == word]
        candidates = named if len(named) == 1 else candidates
    if len(candidates) > 1:
        shown = ", ".join(_relative(path, folder) for path in candidates[:6])
        raise InputError(
            f"a contest's folder must hold one {key} file or folder, got {len(candidates)} "
            f"({shown}) in {folder}; say which by {key}=PATH"
        )
    return candidates[0] if candidates else None


def _named(path: Path, folder: Path) -> str:
    """Return "train", "test" or nothing: what the name says, or that of a folder above it."""
    places = [path, *path.parents][: len(path.relative_to(folder).parts)]
    return next((said for place in places if (said := part_said(place)) in ("train", "test")), "")


def _is_template(path: Path) -> bool:
    return not path.is_dir() and bool(TEMPLATE.search(path.name))


def _relative(path: Path, folder: Path) -> str:
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return f"{shown}/" if path.is_dir() else str(shown)
