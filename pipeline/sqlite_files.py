"""SQLite files: their addresses, and what must be known of one before it is opened, since anybody
may have made it: opening is not harmless where it takes back what a killed writer left.
"""

import contextlib
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

WAIT_S = 10.0  # for another program that has locked a database

_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")  # the last bytes of a journal that names one
_MOST_STEPS = 5_000_000  # of SQLite's machine to read a schema; MLflow's takes some ten thousand
_MOST_ENTRIES, _LONGEST = 2000, 20_000  # of a schema, in characters of SQL; MLflow's has 218

# The conditions, computed columns, indexes and triggers of Optuna's and MLflow's own schemas. Any
# other expression is refused: SQLite computes it as it reads or writes, however long that takes.
_VALUE = r"(?:'[^'()]*'|\d+)"
_KNOWN = re.compile(
    rf"\bcheck \(\w+ ?= ?\d+\)|\bcheck \(\w+ in \({_VALUE}(?:, {_VALUE})*\)\)"
    r"|\bgenerated always as \(\w+ - \w+\) stored\b"
)
_EXPRESSION = re.compile(r"\bcheck\b|\bgenerated\b|\bas ?\(|\bdefault ?\(|--|/\*")
_NAME = r'(?:\w+|"\w+")'
_INDEX = re.compile(
    rf"create (?:unique )?index {_NAME} on {_NAME} ?"
    rf"\({_NAME}(?: asc| desc)?(?:, ?{_NAME}(?: asc| desc)?)*\)"
)
_TRIGGER = re.compile(  # which forbids a change, and does nothing else
    r"create trigger \w+ before update on \w+ for each row "
    r"when old\.\w+ != new\.\w+(?: or old\.\w+ != new\.\w+)* "
    r"begin select raise\(abort, '[^']*'\); end"
)


def sqlite_url(file: Path, *, read_only: bool = False) -> str:
    """Return SQLAlchemy's URL of a database file, whatever characters its path contains;
    `read_only`: neither created nor changed.
    """
    path = (
        str(file.absolute()).replace("%", "%25").replace("?", "%3F")
    )  # the rest needs no escaping, and MLflow wants it as is
    return (
        f"sqlite:///file:{quote(quote(str(file.absolute())))}?mode=ro&uri=true"
        if read_only
        else f"sqlite:///{path}"
    )


def sqlite_file(url: str) -> Path | None:
    """Return the file of such a URL; None for another database, or for a URL with options."""
    return None if "?" in url or not url.startswith("sqlite:///") else opened_file(url)


def opened_file(url: str) -> Path | None:
    """Return the file that SQLite opens for an address with any driver and options; None for
    another database, for one in memory, and for what is no address.
    """
    if not url.startswith("sqlite"):
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # its driver says what is wrong
        return None
    name = address.database or ""
    if "uri" in address.query and name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    in_memory = name in ("", ":memory:") or address.query.get("mode") == "memory"
    return None if in_memory else Path(name)


def unsound_sqlite(file: Path, timeout_s: float = WAIT_S) -> str:
    """Return what is wrong with a database file, "" for a sound one, or for one whose writer was
    killed in a transaction: who writes to it next takes that back, after `unsafe_sqlite`.

    Raises sqlite3.OperationalError where another program has locked it.
    """
    return _unsafe_beside(file) or _looked_at(file, "ro", timeout_s, (_alien, _damage))[0]


def unsafe_sqlite(file: Path, timeout_s: float = WAIT_S) -> str:
    """Return why a database must not be opened for writing, "" where it may be, or is not there.
    What a killed writer left in it is taken back, so that what was looked at is what is opened.

    Raises sqlite3.OperationalError where another program has locked it.
    """
    if answer := _unsafe_beside(file):
        return answer
    if not file.exists() or file.stat().st_size == 0:
        return ""
    answer, killed = _looked_at(file, "ro", timeout_s, (_alien,))
    return _looked_at(file, "rw", timeout_s, (_alien,))[0] if killed else answer


def _unsafe_beside(file: Path) -> str:
    """Return what is wrong with the files that SQLite takes up with a database, "" for nothing.

    A journal may name a super-journal, that of a transaction in several databases, which is removed
    when the journal was played back: any file, then. Nothing of ours attaches a second database.
    """
    try:
        file = file.resolve()  # SQLite follows links before it looks beside the file
        for end in ("-journal", "-wal", "-shm"):
            beside = file.with_name(f"{file.name}{end}")
            if not os.path.lexists(beside):
                continue
            if not stat.S_ISREG(beside.lstat().st_mode):
                return f"{beside.name} beside it, which is no plain file,"
            if end == "-journal" and _last_bytes(beside) == _SUPER_JOURNAL:
                return f"{beside.name} beside it, which would have another file removed,"
    except (OSError, RuntimeError) as error:
        return f"what cannot be read beside it ({error})"
    return ""


def _last_bytes(file: Path) -> bytes:
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - len(_SUPER_JOURNAL)))
        return content.read(len(_SUPER_JOURNAL))


def _looked_at(
    file: Path, mode: str, timeout_s: float, looks: Sequence[Callable[[sqlite3.Connection], str]]
) -> tuple[str, bool]:
    """Return the first answer of `looks` that is not "", and whether the file cannot be read yet
    since its writer was killed.
    """
    address = f"{file.absolute().as_uri()}?mode={mode}"
    try:
        with contextlib.closing(
            sqlite3.connect(address, uri=True, timeout=timeout_s)
        ) as connection:
            return next(filter(None, (look(connection) for look in looks)), ""), False
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise
        killed = name == "SQLITE_READONLY_ROLLBACK"
        return "" if killed else str(error), killed


def _alien(connection: sqlite3.Connection) -> str:
    """Return what a schema holds beside tables and indexes of plain columns, "" for nothing: a view
    under a table's name computes whatever it likes, without end, when the table is read. Nothing of
    the schema is run for this, and a schema of pages in a circle is given up.
    """
    connection.set_progress_handler(lambda: 1, _MOST_STEPS)
    try:
        entries = connection.execute(
            "select type, name, substr(sql, 1, ?) from sqlite_master limit ?",
            (_LONGEST + 1, _MOST_ENTRIES + 1),
        ).fetchall()
    finally:
        connection.set_progress_handler(None, 0)
    if len(entries) > _MOST_ENTRIES:
        return f"a schema of more than {_MOST_ENTRIES} entries"
    for kind, name, text in entries:
        if not _is_plain(str(kind), "" if text is None else str(text)):
            return (
                f"a {str(kind)[:20]!r} of another kind than its program makes, {str(name)[:80]!r}"
            )
    return ""


def _is_plain(kind: str, text: str) -> bool:
    """Tell whether an entry of a schema is such as Optuna and MLflow make; `text`: its SQL, ""
    for an index that comes with a table.
    """
    words = " ".join(text.lower().split())
    if len(text) > _LONGEST:
        return False
    if kind == "table":
        return words.startswith("create table ") and not _EXPRESSION.search(_KNOWN.sub("", words))
    if kind == "index":
        return not words or _INDEX.fullmatch(words) is not None
    return kind == "trigger" and _TRIGGER.fullmatch(words) is not None


def _damage(connection: sqlite3.Connection) -> str:
    answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    return "" if answer == "ok" else answer
