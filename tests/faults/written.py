"""What a disk must hold after a command whose writes failed, and after the same command again."""

import ast
import csv
import errno
import hashlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.faults.failing_writes import Watched
from tests.faults.harness import Case

STUDY = "case"
TEMPORARY = re.compile(r"\.tmp$|^\.(writing|reading|bundle)\.|^evaluate-|\.old(\.|$)")
CAUSES = (
    os.strerror(errno.EIO), os.strerror(errno.ENOSPC), "disk I/O error", "disk is full",
    "unable to open database file", "readonly database",
)  # fmt: skip
# Times and durations, which no run repeats.
VARYING = re.compile(r"_s$|^ms(_per|$)|seconds|time|duration|outside|created|hours|minutes")


@dataclass(frozen=True)
class Disk:
    """The watched folder, with the user's root, and what lies beside it."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def notes(self) -> Path:
        """Not watched: the acknowledged trials."""
        return self.folder.parent / "notes"

    @property
    def case(self) -> Case:
        return Case(self.root, self.notes)

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.root.mkdir(parents=True)
        self.temporary.mkdir()
        images = np.random.default_rng(1).integers(0, 256, (5, 8, 8)).astype(np.uint8)
        images[0, 0, 0] = 255  # the range that training had
        np.save(self.folder / "input.npy", images)
        self.forget()

    def enter(self) -> None:
        """Have this process work there."""
        os.chdir(self.root)
        os.environ |= {"TMPDIR": str(self.temporary), "TOY": str(self.notes)}
        tempfile.tempdir = None

    def forget(self) -> None:
        """Begin with no acknowledged trial."""
        shutil.rmtree(self.notes, ignore_errors=True)
        self.notes.mkdir()

    def files(self) -> Iterator[Path]:
        """Yield the files under final names."""
        for path in sorted(self.folder.rglob("*")):
            below = path.relative_to(self.folder)
            if path.is_file() and not any(TEMPORARY.search(part) for part in below.parts):
                yield path


@dataclass(frozen=True)
class Acknowledged:
    """The trials whose end was acknowledged, number -> state and values."""

    disk: Disk
    trials: dict[int, str]

    def lost(self) -> list[str]:
        """Return what is wrong with what the study says of them."""
        counts = self.disk.case.tellings() if self.trials else {}
        problems = [f"trial {n} was told {count} times" for n, count in counts.items() if count > 1]
        stored = {trial["number"]: trial for trial in trials_of(self.disk)}
        for number, said in self.trials.items():
            state, _, value = said.partition(" ")
            trial = stored.get(number, {})
            kept = trial.get("state") == state
            if not kept or (state == "COMPLETE" and repr(trial["value"]) != value.split(",")[0]):
                problems.append(f"trial {number} was acknowledged as {said}, stored: {trial}")
        return problems


def acknowledged(disk: Disk) -> Acknowledged:
    return Acknowledged(disk, disk.case.told())


def trials_of(disk: Disk) -> list[dict[str, Any]]:
    """Return the study's trials; none where there is no study yet."""
    if not (disk.root / STUDY / "study.db").exists():
        return []
    try:
        recover(disk.root / STUDY / "study.db")
        return disk.case.trials()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise


def recover(database: Path) -> None:
    """Let SQLite roll back what a transaction that was cut off has left."""
    connection = sqlite3.connect(database)
    connection.execute("select count(*) from sqlite_master").fetchall()
    connection.close()


def partial_files(disk: Disk) -> list[str]:
    """Return what is wrong with files under final names."""
    problems = []
    for path in disk.files():
        try:
            if path.name in _CHECKS:
                _CHECKS[path.name](path)
            elif path.suffix in _CHECKS:
                _CHECKS[path.suffix](path)
        except Exception as error:
            problems.append(f"partial: {path.relative_to(disk.folder)}: {error!r}")
    return problems


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def _table(path: Path) -> None:
    text = path.read_text()
    assert not text or text.endswith("\n"), "no last newline"
    lengths = {len(row) for row in csv.reader(text.splitlines())}
    assert len(lengths) < 2, f"rows of {lengths} cells"


def _picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()


def _journal(path: Path) -> None:
    """A last line that is torn is cut off by the next writer."""
    for line in path.read_text().split("\n")[:-1]:
        json.loads(line)


def _database(path: Path) -> None:
    recover(path)
    connection = sqlite3.connect(path)
    assert connection.execute("pragma quick_check").fetchall() == [("ok",)]
    connection.close()


_CHECKS: dict[str, Callable[[Path], object]] = {
    "owner.json": lambda path: None,  # written in place, under its lock; torn: names nobody
    ".json": lambda path: json.loads(path.read_text()),
    ".yaml": lambda path: yaml.safe_load(path.read_text()),
    ".npz": _archive,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".csv": _table,
    ".png": _picture,
    ".jsonl": _journal,
    ".py": lambda path: ast.parse(path.read_text()),
    ".db": _database,
    ".onnx": lambda path: __import__("onnx").checker.check_model(str(path)),
}


def leftovers(disk: Disk) -> list[str]:
    """Return what a process that lived on has left under temporary names."""
    found = [path for path in disk.folder.rglob("*") if TEMPORARY.search(path.name)]
    found += [path for path in disk.temporary.iterdir() if path not in found]
    return [f"left: {path.relative_to(disk.folder)}" for path in found]


def wrong_words(disk: Disk, ended: Watched, said: str) -> list[str]:
    """Return what is wrong with what a command said that ended with an error: there must be one
    line, with the cause and the file.
    """
    lines = said.strip().splitlines()
    if "Traceback" in said:
        return [f"traceback:\n{said[-1800:]}"]
    if ended.code == 0:
        return []
    errors = [line for line in lines if line.startswith("error: ")]
    # A log that could not be written to its end is a warning of its own.
    others = [line for line in lines if line not in errors and "log.txt" not in line]
    one = len(errors) == 1 and not others
    problems = [] if one else [f"{len(lines)} lines for one: {said[-800:]}"]
    line = errors[0] if errors else said
    if not any(cause in line for cause in CAUSES):
        problems.append(f"no cause in: {said[-400:]}")
    if not any(
        part in line for operation in ended.failed for part in names_of(disk, operation.path)
    ):
        problems.append(f"no file in: {said[-400:]}")
    return problems


def names_of(disk: Disk, path: str) -> list[str]:
    """Return by which words a line may name a file: its own name, that of the database it is of, or
    the folder that could not be written to.
    """
    folders = (disk.folder / path).parents
    places = [str(place) for place in folders if place.is_relative_to(disk.root)]
    name = Path(steady(path)).name
    return [name, *places, *(["study's database"] if name.startswith("study.db") else [])]


def steady(path: str) -> str:
    """Return a path without what is random in it, temporary names as the final ones."""
    parts = Path(path).parts
    return "/".join(re.sub(r"^\.(.+?)\.([0-9a-z_]{8})?(\.tmp)?$", r"\1", part) for part in parts)


def difference(found: dict[str, Any], whole: dict[str, Any]) -> str:
    """Return, for a message, what differs between two results."""
    keys = [key for key in {**found, **whole} if found.get(key) != whole.get(key)]
    return "; ".join(
        f"{key} is {str(found.get(key))[:300]}, not {str(whole.get(key))[:300]}" for key in keys[:3]
    )


# What is read otherwise, or tells of a run what another run does not.
_TOLD = ("study.db", "owner.json", "events.jsonl", "log.txt")


def results(disk: Disk) -> dict[str, Any]:
    """Return all that must be the same to the bit in every run."""
    found: dict[str, Any] = {"trials": trials_of(disk)}
    for path in disk.files():
        if path.is_relative_to(disk.root) and not path.name.startswith(_TOLD):
            found[str(path.relative_to(disk.root))] = _content(path)
    return found


def _content(path: Path) -> Any:
    """Return a file's content but for times and durations."""
    match path.suffix:
        case ".json":
            return _steady(json.loads(path.read_text()))
        case ".csv":
            header, *rows = csv.reader(path.read_text().splitlines())
            kept = [n for n, name in enumerate(header) if not VARYING.search(name)]
            lines = [tuple(row[n] for n in kept if n < len(row)) for row in rows]
            # The test split was opened once more: an opening counts even if nothing comes of it.
            return list(dict.fromkeys(lines)) if path.name == "openings.csv" else lines
        case ".npz" if path.name == "out_of_fold.npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: a.tobytes() for name, a in arrays.items() if not VARYING.search(name)}
        case _:
            return hashlib.sha256(path.read_bytes()).hexdigest()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if not VARYING.search(key)}
    return [_steady(item) for item in value] if isinstance(value, list) else value
