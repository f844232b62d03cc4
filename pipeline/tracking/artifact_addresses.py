"""Where the MLflow store of a root says that artifacts are: addresses that are absolute, so that
those of a copied or moved root must be rewritten before anything is written to them.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.files import ARTIFACTS, STORE
from pipeline.sqlite_files import sqlite_file

# Every column of MLflow's schema that holds the address of an artifact.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
    ("workspaces", "default_artifact_root"),
    ("workspaces", "trace_archival_location"),
)
_BELOW = "({column} = :old or substr({column}, 1, length(:old) + 1) = :old || '/')"


def is_own_store(uri: str, root: Path) -> bool:
    """Return whether the URI is that of the store that `root` itself holds."""
    file = sqlite_file(uri)
    return file is not None and file.resolve() == (root / STORE).resolve()


def strayed(root: Path) -> list[Path]:
    """Return the artifact folders of other roots to which the store of `root` leads; none where it
    is not there or cannot be read.

    An artifact folder whose root has no store of its own belongs to this one, which somebody has
    named by its URI.
    """
    file = (root / STORE).resolve()
    if not file.is_file():
        return []
    with contextlib.suppress(sqlite3.Error), _opened(file, "ro") as connection:
        rows = connection.execute("select distinct artifact_location from experiments").fetchall()
        folders = [_folder(str(row[0])) for row in rows if row[0]]
        home = file.parent / ARTIFACTS
        return [
            folder
            for folder in folders
            if folder.name == ARTIFACTS
            and folder.resolve() != home.resolve()
            and (not folder.exists() or (folder.parent / STORE).exists())
        ]
    return []


def bring_home(root: Path) -> str:
    """Rewrite the addresses in the store of `root` that lead to another root's artifacts; return
    a line for the user, "" where there were none. The other root is left as it is.

    Raises sqlite3.Error where the store cannot be written.
    """
    folders = strayed(root)
    if not folders:
        return ""
    file = (root / STORE).resolve()
    home = file.parent / ARTIFACTS
    with _opened(file, "rw") as connection, connection:
        for folder in folders:
            for old, new in ((folder.as_uri(), home.as_uri()), (str(folder), str(home))):
                _rewrite(connection, old, new)
    shown = ", ".join(map(str, folders))
    return f"MLflow: this root was copied or moved; artifacts are in {home} now, no more in {shown}"


def _rewrite(connection: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in _COLUMNS:
        known = [row[1] for row in connection.execute(f"pragma table_info({table})")]
        if column in known:  # not every version of MLflow has each of them
            connection.execute(
                f"update {table} set {column} = :new || substr({column}, length(:old) + 1) "
                f"where {_BELOW.format(column=column)}",
                {"old": old, "new": new},
            )


@contextlib.contextmanager
def _opened(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{file.as_uri()}?mode={mode}", uri=True, timeout=10.0)
    try:
        yield connection
    finally:
        connection.close()


def _folder(address: str) -> Path:
    """Return the folder of an artifact address, a file URI or a path."""
    return Path(url2pathname(urlsplit(address).path) if "://" in address else address)
