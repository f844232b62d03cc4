"""Opening a study: new, resumed, or refused because its fingerprint differs; and cleaning up after
a killed coordinator.
"""

import contextlib
import sqlite3
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from cnn_core.errors import InputError
from pipeline.files import StudyPaths, check_enclosed, check_root
from pipeline.redact import redact, shown
from pipeline.reporting.foreign_trials import MARKED_FROM
from pipeline.search.checked_storage import CheckedStorage, content_checked
from pipeline.search.fingerprint import FINGERPRINT, Fingerprint, differences
from pipeline.search.read_only_storage import ReadOnlyStorage
from pipeline.search.storage import MirrorStorage, set_state
from pipeline.search.storage_errors import StorageFailed, storage_errors, unreadable_refused
from pipeline.sqlite_files import (
    WAIT_S,
    opened_file,
    sqlite_file,
    sqlite_url,
    unsafe_sqlite,
    unsound_sqlite,
)

CODE = "code"
MACHINE = "machine"  # user attribute of a study: what determines the bits of a trial


# What drivers raise for an address with options that they do not know, or of another type.
_OPTIONS = (ImportError, TypeError, ValueError)
_UNOPENED = (SQLAlchemyError, RuntimeError, *_OPTIONS)


def quiet_optuna() -> None:
    """Keep Optuna's log lines and experimental-feature warnings out of the sweep's output."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def open_storage(paths: StudyPaths, given: str | None = None, slots: int = 1) -> RDBStorage:
    """Open or create the study's database: the given URL, or study.db in its folder.

    Raises InputError if it is damaged, not a database, or unreachable, StorageFailed where it opens
    and cannot be written.
    """
    url, file = _address(paths, given, read_only=False)
    sqlite = url.startswith("sqlite")
    _check_sqlite(paths, given, unsafe_sqlite)  # takes back what a killed writer left
    _check_sqlite(paths, given, unsound_sqlite)
    engine: dict[str, Any] = (
        {"connect_args": {"timeout": WAIT_S}}
        if sqlite
        else {"pool_size": slots + 4, "pool_pre_ping": True}
    )
    try:
        with storage_errors(StorageInternalError), _content(file):
            storage = CheckedStorage(url, engine_kwargs=engine)
        if sqlite:
            event.listen(storage.engine, "connect", _tune_sqlite)
            storage.engine.dispose()  # the next connections are tuned
        return storage
    except InputError:
        raise
    except _UNOPENED as error:
        text = redact(str(getattr(error, "orig", None) or error)).strip().splitlines()[0]
        raise InputError(
            f"study.storage: must be a database that opens, got {redact(url)} ({text})"
        ) from error


def _address(paths: StudyPaths, given: str | None, *, read_only: bool) -> tuple[str, Path | None]:
    """Return the database's URL, and its path if it is a file."""
    file = paths.study_db if given is None else sqlite_file(given)
    if file is None:
        return given or "", None
    # Optuna applies str.format to its URLs.
    return sqlite_url(file, read_only=read_only).replace("{", "%7B").replace("}", "%7D"), file


def _tune_sqlite(connection: Any, _: Any) -> None:
    """Use write-ahead logging without an fsync at each commit, which saves 5 ms for each of a
    trial's small transactions.

    A killed process loses nothing; a power cut may undo the last transactions, each as a whole, and
    what they held is told again from the trials' own files (result.json, checkpoints).
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def open_study(
    paths: StudyPaths,
    storage: RDBStorage,
    directions: Sequence[str],
    mark: Fingerprint,
    code: str,
    begin: Callable[[], Mapping[str, Any]] = dict,
) -> tuple[optuna.Study, bool, list[str]]:
    """Return the study, whether it is resumed, and remarks for the user. A new study is given the
    user attributes that `begin` returns, before it is created and may still be refused.

    Raises InputError, with the differences, when a study of this name was made with another space,
    objective, data or fixed value.
    """
    with unreadable_refused():
        names = optuna.study.get_all_study_names(storage)
        if paths.name not in names:
            attributes = {**begin(), MARKED_FROM: 0, CODE: code, FINGERPRINT: mark}
            wanted = [StudyDirection[name.upper()] for name in directions]
            optuna.create_study(study_name=paths.name, storage=storage, directions=wanted)
            study = optuna.load_study(study_name=paths.name, storage=_own(storage, paths.name))
            _give(study, attributes)
            return study, False, []
        study = optuna.load_study(study_name=paths.name, storage=_own(storage, paths.name))
        attributes = study.user_attrs
    if FINGERPRINT not in attributes:
        if study.get_trials(deepcopy=False):
            raise InputError(
                f"study {paths.name!r}: must have been made by this program, got one without its "
                "fingerprint"
            )
        # its coordinator was killed just after making it
        _give(study, {**begin(), MARKED_FROM: 0, CODE: code, FINGERPRINT: mark})
        attributes = study.user_attrs
    if changed := differences(attributes[FINGERPRINT], mark):
        lines = "; ".join(changed[:6]) + (
            f"; and {len(changed) - 6} more" if len(changed) > 6 else ""
        )
        raise InputError(
            f"study {paths.name!r}: a resumed study must be the same, got {lines}. "
            f"Start another: study.name=NEW (study.fork={paths.name} takes over the trials that "
            "fit)"
        )
    if MARKED_FROM not in attributes:  # its trials until now were made before they were marked
        study.set_user_attr(MARKED_FROM, len(study.get_trials(deepcopy=False)))
    remarks = []
    if attributes.get(CODE, code) != code:
        remarks.append(
            f"this study was begun by another version of the code ({attributes[CODE]}, now "
            f"{code}); results may differ"
        )
    return study, True, remarks


def _give(study: optuna.Study, attributes: Mapping[str, Any]) -> None:
    """Set user attributes in their order: a study that has the last one has them all."""
    for key, value in attributes.items():
        study.set_user_attr(key, value)


def _own(storage: RDBStorage, name: str) -> BaseStorage:
    """Return the study's storage as its owner uses it: mirrored in memory, unless it is a server's
    database, which others may write to.
    """
    return MirrorStorage(storage, name) if storage.url.startswith("sqlite") else storage


def unfinished(folder: Path) -> list[Path]:
    """Return the files that a killed coordinator was writing."""
    return [path for path in folder.rglob(".*.tmp") if path.is_file()]


def repair(study: optuna.Study, folder: Path) -> int:
    """Put trials that a killed coordinator left RUNNING back into the queue and remove its
    unfinished files; return the number of trials.

    Only the owner may call it.
    """
    for path in unfinished(folder):
        path.unlink(missing_ok=True)
    with storage_errors():
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in running:
            set_state(study, trial, TrialState.WAITING)
    return len(running)


def read_study(
    paths: StudyPaths, storage: str | None = None, key: str = "study.name"
) -> optuna.Study:
    """Open a study read-only, without disturbing a running sweep.

    Raises InputError, which names the `key` that asked for it, if there is none.
    """
    check_root(paths.root)
    check_enclosed(paths.folder, paths.root)
    url, file = _address(paths, storage, read_only=True)
    if file is not None and not file.exists():
        raise InputError(
            f"{key}: must name a study in {paths.root}, got {paths.name!r} (there are: "
            f"{_names(paths.root)})"
        )
    _check_sqlite(paths, storage, unsound_sqlite)
    with unreadable_refused():
        try:
            with _content(file):
                store = ReadOnlyStorage(url, skip_table_creation=True, engine_kwargs={})
        except InputError:
            raise
        except _OPTIONS as error:
            raise InputError(
                f"study.storage: must be an address that its driver takes, got {shown(str(error))}"
            ) from error
        if paths.name not in optuna.study.get_all_study_names(store):
            raise InputError(
                f"{key}: must name a study in {redact(storage or str(paths.study_db))}, got "
                f"{paths.name!r}"
            )
        study = optuna.load_study(study_name=paths.name, storage=store)
        study.directions, study.user_attrs  # noqa: B018 - whoever opens it relies on them
        return study


def _content(file: Path | None) -> contextlib.AbstractContextManager[None]:
    """Return the context in which to open a database: in a file of ours, whose address is right,
    what is wrong is its content.
    """
    return contextlib.nullcontext() if file is None else content_checked("versions")


def studies_beside(paths: StudyPaths) -> str:
    """Return, for a message about a study that is not there, which ones are; "" where it is."""
    return "" if paths.study_db.exists() else f" (studies of this root: {_names(paths.root)})"


def _names(root: Path) -> str:
    return ", ".join(sorted(file.parent.name for file in root.glob("*/study.db"))) or "none"


def _check_sqlite(paths: StudyPaths, given: str | None, look: Callable[[Path], str]) -> None:
    """Refuse a file that is not a sound SQLite database, leaving it untouched."""
    file = paths.study_db if given is None else opened_file(given)
    if file is None or not (file.exists() or look is unsafe_sqlite):
        return
    try:
        answer = look(file)
    except sqlite3.OperationalError as error:
        raise StorageFailed(f"the study's database: {error}") from error
    if answer:
        raise InputError(
            f"study: its database must be sound, got {answer} in {file}; it is left as it is, "
            "python -m pipeline.doctor says more"
        )
