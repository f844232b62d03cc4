"""Where runs are kept: one MLflow store for all studies of a root, or a server."""

import contextlib
import errno
import hashlib
import logging
import os
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_core.errors import InputError
from pipeline.files import ARTIFACTS, STORE, check_enclosed
from pipeline.redact import redact
from pipeline.slots.file_lock import lock_file
from pipeline.sqlite_files import opened_file, sqlite_file, sqlite_url, unsafe_sqlite
from pipeline.structured_text import OWN_FILE
from pipeline.tracking.artifact_addresses import bring_home, is_own_store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LOCK_NAME = ".sending.lock"  # in a study's folder: only one process at a time sends its journal
LEAST_FREE = 65536  # bytes; with less, a database cannot even record that it failed

# A dead server must cost seconds, not the four minutes of the library's own retries; and telemetry
# is off.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # we report a store's failure ourselves, in one line
    "GIT_PYTHON_REFRESH": "quiet",
}


# What a store will never accept, however often it is sent: a value changed by hand, a deleted run.
_REFUSALS = {
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "BAD_REQUEST",
    "INVALID_STATE",
}


def is_refusal(error: Exception) -> bool:
    """Whether MLflow refused for good, so that a retry is pointless."""
    return getattr(error, "error_code", None) in _REFUSALS


_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_WORDS = (
    "disk is full",
    os.strerror(errno.ENOSPC),
    os.strerror(errno.EDQUOT),
)  # SQLite's, and the system's


def full_disk(error: BaseException, uri: str, root: Path) -> str:
    """The folder on the full disk that made a store on this machine fail, "" if it failed for
    another reason.

    MLflow wraps SQLite's errors, and SQLite reports some writes to a full disk as "disk I/O error":
    hence the check of the disk itself.
    """
    if is_server(uri):
        return ""
    places = {root, (sqlite_file(uri) or root / STORE).parent}
    full = [
        place
        for place in sorted(places)
        if place.is_dir() and shutil.disk_usage(place).free < LEAST_FREE
    ]
    cause: BaseException | None = error
    while cause is not None:
        if (isinstance(cause, OSError) and cause.errno in _FULL) or any(
            words in str(cause) for words in _FULL_WORDS
        ):
            return str(full[0] if full else root)
        cause = cause.__cause__ or cause.__context__
    return str(full[0]) if full else ""


def quiet_environment() -> None:
    """Sets MLflow's switches in this process's environment where the user has not set them."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def resolve_uri(uri: str | None, root: Path) -> str:
    """The tracking URI: the one given, or the absolute SQLite file below `root` (never MLflow's own
    default, which depends on the working directory).
    """
    return uri if uri else sqlite_url((root / STORE).resolve())


def store_key(uri: str) -> str:
    """A short name of a store that does not reveal its URI."""
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://", "databricks"))


@dataclass(frozen=True)
class Target:
    """Where a study's journal, in `folder`, is sent: `uri` None is the store below `root`."""

    folder: Path
    root: Path
    uri: str | None = None
    experiment: str = "sweeps"
    figures: bool = True
    plugins: str | None = None  # the override that names those of the study

    @property
    def address(self) -> str:
        """The tracking URI, never None."""
        return resolve_uri(self.uri, self.root)


@dataclass(frozen=True)
class Store:
    """An opened store: `client` talks to it, runs go into `experiment_id`."""

    client: "MlflowClient"
    experiment_id: str
    uri: str
    born: int = 0  # when it was made, in milliseconds: another store has another; 0: not known


@dataclass(frozen=True)
class Known:
    """What a study noted of the store that it was sent to."""

    born: int
    experiment_id: str
    experiment: str  # its name then


def brought_home(uri: str | None, root: Path) -> list[str]:
    """Bring the addresses of artifacts home, where `root` was copied or moved; return lines for the
    user. A store that cannot be written is left to whoever opens it next.
    """
    if not is_own_store(resolve_uri(uri, root), root):
        return []
    with contextlib.suppress(sqlite3.Error), locked(root / ".mlflow.lock"):
        check_store(resolve_uri(uri, root), root)
        return [line for line in [bring_home(root)] if line]
    return []


def check_store(uri: str, root: Path) -> None:
    """Check that a store's database file, where there is one, may be opened for writing, and that
    the one of `root` and its artifacts are in it: whoever made the root may have made them too.
    Raises InputError, and sqlite3.OperationalError where another program has locked it.
    """
    file = opened_file(uri)
    if file is None:
        return
    if is_own_store(uri, root):
        if not file.resolve().is_relative_to(root.resolve()):
            raise InputError(
                f"the MLflow store of a root must be a file in it, got the link {file} to "
                f"{file.resolve()}; tracking.uri={sqlite_url(file.resolve())} names one elsewhere"
            )
        check_enclosed(root / ARTIFACTS, root, ARTIFACTS)
    if answer := unsafe_sqlite(file):
        raise InputError(
            f"the MLflow store must be such as MLflow makes, got {answer} in {file}; it is left as "
            "it is"
        )


def load_library() -> None:
    """Imports MLflow quietly; takes seconds on a busy machine, which are not the store's fault."""
    quiet_environment()
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    import mlflow.tracking  # noqa: F401


def open_store(uri: str, root: Path, experiment: str, known: Known | None = None) -> Store:
    """Opens (or creates) the store and the experiment; slow the first time (MLflow's import and its
    schema take about 2 s). An experiment that was `known` by this name is used under its new one.

    Raises InputError for an experiment that was deleted, and whatever MLflow raises for a server
    that is down or a database that cannot be written.
    """
    load_library()
    if is_server(uri):
        return _opened(uri, experiment, None, known)
    # Two processes that create the schema at once would leave it incomplete.
    with locked(root / ".mlflow.lock"):
        check_store(uri, root)
        _make_database(uri)
        if is_own_store(uri, root):
            bring_home(root)
        return _opened(uri, experiment, (root / ARTIFACTS).resolve().as_uri(), known)


def _opened(uri: str, experiment: str, artifacts: str | None, known: Known | None) -> Store:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    born = _born(client)
    if known is not None and known.experiment == experiment and known.born == born:
        found = _renamed(client, known)
        if found is not None:
            return Store(client, found, uri, born)
    return Store(client, _experiment(client, experiment, artifacts, uri), uri, born)


def _born(client: "MlflowClient") -> int:
    """Return when the store was made: the creation of the experiment that every store begins with;
    0 where that cannot be read.
    """
    from mlflow.exceptions import MlflowException

    try:
        return int(client.get_experiment("0").creation_time or 0)
    except MlflowException as error:
        if is_refusal(error):  # removed by mlflow gc
            return 0
        raise


def _renamed(client: "MlflowClient", known: Known) -> str | None:
    """Return the id of a known experiment that has another name now."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_experiment(known.experiment_id)
    except MlflowException as error:
        if is_refusal(error):
            return None
        raise
    active = found.lifecycle_stage != "deleted" and found.name != known.experiment
    return str(found.experiment_id) if active else None


def _make_database(uri: str) -> None:
    """Creates a SQLite store's file atomically: MLflow never repairs a schema whose creation was
    killed halfway.
    """
    path = sqlite_file(uri)
    if path is None or path.exists():
        return
    from mlflow.tracking import MlflowClient

    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)  # left by a process that was killed
    path.parent.mkdir(parents=True, exist_ok=True)
    MlflowClient(tracking_uri=sqlite_url(draft)).search_experiments(max_results=1)
    draft.rename(path)


def _experiment(client: "MlflowClient", name: str, artifacts: str | None, uri: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        restore = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        raise InputError(
            f"tracking.experiment: must not have been deleted in MLflow, got {name!r}; choose "
            f"another name, or restore it with all its runs: "
            f"MLFLOW_TRACKING_URI={shlex.quote(redact(uri))} {restore}"
        )
    return str(found.experiment_id)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, waiting for another holder; a process that dies releases it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | OWN_FILE, 0o644)
    try:
        lock_file(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)
