"""Files passed between stages: written whole or not at all, named in one place, identified by
digest.
"""

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cnn_core.errors import InputError
from cnn_core.whole_files import naming, whole_file
from pipeline.redact import redact

_BLOCK_BYTES = 1 << 20
# What lies in a root beside the studies: MLflow's part, and folders that all studies share.
STORE, ARTIFACTS = "mlflow.db", "mlartifacts"
SHARED = ("prepared", "presets", "sheets")
_MOST_SEARCHED = 1 << 18  # larger texts are made of what was redacted before


def atomic_write_bytes(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write `content` as `whole_file` does, in a folder that is made where there is none;
    `private`: for the user's eyes alone. Raises OSError, which names `path`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, private=private) as file:
        file.write(content)


def atomic_write_text(path: Path, text: str) -> None:
    """Write the text in UTF-8 with `atomic_write_bytes`, line endings unchanged; one that holds a
    secret, such as the token of a user's own data source, is private.
    """
    private = len(text) < _MOST_SEARCHED and redact(text) != text
    atomic_write_bytes(path, text.encode(), private=private)


def check_enclosed(folder: Path, root: Path, about: str = "") -> None:
    """Check that a study's folder, where there is one, lies in `root` and holds plain files and
    folders alone, and no link out of it: one that was received must not have files elsewhere read
    or written. `about`: what it is, where it is no study's. Raises InputError, which names what is
    wrong.
    """
    about = about or f"study {folder.name!r}"
    rule = f"{about}: its folder must hold plain files, and links to such alone"
    home = _real(folder)
    if home is None or not home.is_relative_to(root.resolve()):
        raise InputError(f"{about}: its folder must be in {root}, got a link to {home}")
    folders = [folder]
    while folders:
        for entry in _entries(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif entry.is_symlink():
                target = _real(Path(entry.path))
                if target is None or not target.is_relative_to(home):
                    raise InputError(f"{rule}, got the link {entry.path} to {target}")
            elif not entry.is_file():
                raise InputError(f"{rule}, got {entry.path}")


def check_root(root: Path) -> None:
    """Check that what the studies of a root share holds no link out of it, as `check_enclosed` does
    for a study: every command may write there. MLflow's part is checked where its store is opened.
    """
    for name in SHARED:
        try:
            check_enclosed(root / name, root, name)
        except InputError as error:
            cure = "the root itself may be a link, or be elsewhere: root=FOLDER"
            raise InputError(f"{error}; {cure}") from None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        return list(found)
    return []  # gone meanwhile, or nothing that could be followed


def _real(path: Path) -> Path | None:
    """Return where a path leads, None for links in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return None


def sha256_bytes(content: bytes) -> str:
    """Return the sha256 of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def writable_folder(folder: Path, key: str) -> Path:
    """Create `folder` and verify that a file can be written in it; return it resolved. Raises
    InputError naming `key`.
    """
    folder = folder.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError as error:
        raise InputError(
            f"{key}: must be a folder that can be written to, got {folder} "
            f"({error.strerror or error})"
        ) from error
    return folder.resolve()


def writable_file(path: str, key: str) -> Path:
    """Return the path of a file that can be written or replaced, creating its folder. Raises
    InputError naming `key`.
    """
    given = Path(path).expanduser()
    if given.is_dir():
        raise InputError(f"{key}: must be the name of a file, got the folder {given}")
    return writable_folder(given.parent, key) / given.name


@dataclass(frozen=True)
class TrialPaths:
    """Names inside ``<root>/<study>/trials/<number>/``."""

    folder: Path

    @property
    def overrides(self) -> Path:
        return self.folder / "overrides.yaml"  # list of overrides, seed, number

    @property
    def history(self) -> Path:
        return self.folder / "history.csv"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.npz"  # while it runs

    @property
    def weights(self) -> Path:
        return self.folder / "weights.npz"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"


@dataclass(frozen=True)
class StudyPaths:
    """Names inside ``<root>/<study>/``."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def study_db(self) -> Path:
        return self.folder / "study.db"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"  # every run appends

    @property
    def owner(self) -> Path:
        return (
            self.folder / "owner.json"
        )  # the coordinator that holds the study: host, boot, pid, start

    @property
    def time(self) -> Path:
        return self.folder / "time.json"  # what time budgets were planned to hold

    @property
    def leaderboard(self) -> Path:
        return self.folder / "leaderboard.csv"

    @property
    def best(self) -> Path:
        return self.folder / "best.yaml"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def trials(self) -> Path:
        return self.folder / "trials"

    def trial(self, number: int) -> TrialPaths:
        return TrialPaths(self.trials / str(number))

    @property
    def final(self) -> Path:
        return self.folder / "final"

    @property
    def ensemble(self) -> Path:
        return self.folder / "ensemble"

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluation"

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"
