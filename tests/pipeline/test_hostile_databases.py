"""Databases that somebody else made: opening one for writing removes no other file and runs nothing
that its schema holds.
"""

import contextlib
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from cnn_core.errors import InputError
from pipeline.doctor import _store
from pipeline.files import StudyPaths
from pipeline.search.open_study import open_storage, read_study
from pipeline.sqlite_files import opened_file, sqlite_url, unsafe_sqlite, unsound_sqlite
from pipeline.tracking.run_files import read_table
from pipeline.tracking.store import brought_home, open_store, resolve_uri

ENDLESS = (
    "create view studies as with recursive r(x) as (select 1 union all select x + 1 from r) "
    "select 1 as study_id, 'made' as study_name from r where x < 0"
)


@pytest.fixture
def root(tmp_path: Path, made_study: Path) -> Path:
    """A root that was received with the study "made"."""
    shutil.copytree(made_study, tmp_path / "root" / "made")
    return tmp_path / "root"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere"
    file.write_text("mine\n")
    return file


def change(file: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(statement)


def killed_in_a_transaction(file: Path, statements: tuple[str, ...] = ()) -> Path:
    """Leave the database as if its writer had been killed in a transaction, and return its hot
    journal, which brings back the state with `statements` in it.
    """
    journal, copies = file.with_name(f"{file.name}-journal"), {}
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as writer:
        for statement in ("pragma journal_mode=delete", *statements, "pragma cache_size=1"):
            writer.execute(statement)
        writer.execute("begin immediate")
        writer.execute("create table more (a)")
        writer.executemany("insert into more values (?)", [("x" * 3000,)] * 200)
        copies = {path: path.read_bytes() for path in (file, journal)}
        writer.execute("rollback")
    for path, content in copies.items():
        path.write_bytes(content)
    return journal


def name_super_journal(journal: Path, victim: Path) -> None:
    """Append to a journal what has SQLite remove the victim once it has played it back."""
    content, name = journal.read_bytes(), str(victim).encode()
    page = struct.unpack(">I", content[24:28])[0]
    numbers = struct.pack(">II", len(name), sum(name))
    end = struct.pack(">I", 0x40000000 // page + 1) + name + numbers
    journal.write_bytes(content + end + bytes.fromhex("d9d505f920a163d7"))


def test_sqlite_itself_removes_what_a_hot_journal_names(tmp_path: Path, victim: Path) -> None:
    """So that the tests below are about what happens."""
    file = tmp_path / "a.db"
    name_super_journal(killed_in_a_transaction(file), victim)
    change(file, "select * from sqlite_master")
    assert not victim.exists()


def open_for_writing(root: Path) -> object:
    return open_storage(StudyPaths(root, "made"))


def open_by_address(root: Path) -> object:
    return open_storage(StudyPaths(root, "made"), sqlite_url(root / "made" / "study.db"))


def open_with_options(root: Path) -> object:
    address = f"sqlite:///file:{root / 'made' / 'study.db'}?mode=rwc&uri=true"
    return open_storage(StudyPaths(root, "made"), address)


def open_by_driver(root: Path) -> object:
    return open_storage(StudyPaths(root, "made"), f"sqlite+pysqlite:///{root}/made/study.db")


def look(root: Path) -> object:
    return read_study(StudyPaths(root, "made"))


OPENINGS = [open_for_writing, open_by_address, open_with_options, open_by_driver, look]


@pytest.mark.parametrize("opened", OPENINGS)
def test_a_study_whose_journal_names_another_file_is_refused_unopened(
    root: Path, victim: Path, opened: Callable[[Path], object]
) -> None:
    file = root / "made" / "study.db"
    name_super_journal(killed_in_a_transaction(file), victim)
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"study.db-journal beside it, which would have another"):
        opened(root)
    assert victim.read_text() == "mine\n" and file.read_bytes() == before


def test_it_is_so_where_the_database_is_a_link_or_not_there(root: Path, victim: Path) -> None:
    """SQLite looks for a journal beside what a link leads to."""
    folder = root / "made"
    name_super_journal(killed_in_a_transaction(folder / "study.db"), victim)
    (folder / "sub").mkdir()
    for end in ("", "-journal"):
        (folder / f"study.db{end}").rename(folder / "sub" / f"x.db{end}")
    (folder / "study.db").symlink_to(folder / "sub" / "x.db")
    for change_more in (lambda: None, (folder / "sub" / "x.db").unlink):
        change_more()
        with pytest.raises(InputError, match=r"x.db-journal beside it"):
            open_for_writing(root)
    assert victim.exists()


def test_what_a_killed_writer_left_is_taken_back_and_the_study_goes_on(root: Path) -> None:
    journal = killed_in_a_transaction(root / "made" / "study.db")
    open_for_writing(root)
    assert not journal.exists() and len(look(root).get_trials()) == 80  # type: ignore[attr-defined]


def test_what_a_journal_brings_back_is_looked_at_before_it_is_used(root: Path) -> None:
    killed_in_a_transaction(root / "made" / "study.db", ("drop table studies", ENDLESS))
    with pytest.raises(InputError, match="a 'view' of another kind"):
        open_for_writing(root)
    file = root / "other.db"
    change(file, "create table studies (a)")
    killed_in_a_transaction(file, ("drop table studies", ENDLESS))
    assert unsafe_sqlite(file).startswith("a 'view' of another kind")


def test_a_schema_that_is_no_text_is_told(tmp_path: Path) -> None:
    """Python, not SQLite, refuses it, by an error without a name."""
    file = tmp_path / "a.db"
    change(file, "create table latin (a)")
    file.write_bytes(file.read_bytes().replace(b"latin", b"lat\xe9n"))
    for looked_at in (unsound_sqlite, unsafe_sqlite):
        assert looked_at(file).startswith("Could not decode to UTF-8 column 'name'")


@pytest.mark.parametrize("end", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("there", [True, False])
def test_no_file_beside_a_database_is_written_through_a_link(
    tmp_path: Path, victim: Path, end: str, there: bool
) -> None:
    file = tmp_path / "a.db"
    change(file, "create table t (a)")
    file.with_name(f"a.db{end}").symlink_to(victim if there else tmp_path / "none")
    for looked_at in (unsound_sqlite, unsafe_sqlite):
        assert looked_at(file) == f"a.db{end} beside it, which is no plain file,"
    assert victim.read_text() == "mine\n"


HOSTILE = {
    "view": f"drop table studies; {ENDLESS}",
    "trigger": "create trigger t before update on trials begin delete from trials; end",
    "virtual table": "pragma writable_schema=on; insert into sqlite_master values ('table', 'v', "
    "'v', 0, 'CREATE VIRTUAL TABLE v USING fts5(a)')",
    "condition": "create table c (a check (a like '%a%a%a%b'))",
    "computed column": "create table c (a, b as (hex(zeroblob(1000000000))))",
    "default": "create table c (a, b default (hex(zeroblob(1000000000))))",
    "computed index": "create index i on trials (hex(state))",
    "partial index": "create index i on trials (state) where state like '%a%a%b'",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_schema_that_would_compute_is_refused_and_nothing_of_it_is_run(
    root: Path, kind: str
) -> None:
    """The first of them never ends, nor does a signal's handler get its turn."""
    change(root / "made" / "study.db", HOSTILE[kind])
    for opened in (look, open_for_writing):
        with pytest.raises(InputError, match=r"its database must be sound, got a '.*' of another"):
            opened(root)


def test_tracking_takes_the_journal_where_a_folders_database_must_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a final run may hold one too, which no command looks at."""
    monkeypatch.setattr(
        "pipeline.tracking.run_files.load_table", lambda *given: pytest.fail("it was opened")
    )
    change(tmp_path / "study.db", f"create table studies (a); {HOSTILE['view']}")
    assert read_table(tmp_path, "made") is None


@pytest.mark.parametrize("kind", HOSTILE)
def test_such_a_schema_of_mlflows_store_is_refused(mlflow_root: Path, kind: str) -> None:
    change(mlflow_root / "mlflow.db", HOSTILE[kind].replace("studies", "experiments").replace(
        "trials", "runs").replace("state", "status"))  # fmt: skip
    for opened in (
        lambda: brought_home(None, mlflow_root),
        lambda: open_store(resolve_uri(None, mlflow_root), mlflow_root, "sweeps"),
    ):
        with pytest.raises(InputError, match="MLflow store must be such as MLflow makes, got a"):
            opened()
    assert [finding.wrong for finding in _store(mlflow_root, True)] == [True]


def test_mlflows_own_schema_is_known(mlflow_root: Path) -> None:
    assert unsound_sqlite(mlflow_root / "mlflow.db") == ""
    assert unsafe_sqlite(mlflow_root / "mlflow.db") == ""


def test_a_store_whose_journal_names_another_file_is_refused_before_it_is_opened(
    mlflow_root: Path, victim: Path
) -> None:
    name_super_journal(killed_in_a_transaction(mlflow_root / "mlflow.db"), victim)
    for opened in (
        lambda: brought_home(None, mlflow_root),
        lambda: open_store(resolve_uri(None, mlflow_root), mlflow_root, "sweeps"),
        lambda: open_store(f"sqlite+pysqlite:///{mlflow_root}/mlflow.db", mlflow_root, "sweeps"),
    ):
        with pytest.raises(InputError, match=r"mlflow.db-journal beside it, which would have"):
            opened()
    assert [finding.wrong for finding in _store(mlflow_root, True)] == [True]
    assert victim.read_text() == "mine\n"


def test_a_store_that_is_a_link_out_of_its_root_is_refused(
    mlflow_root: Path, tmp_path: Path
) -> None:
    root, uri = tmp_path / "received", None
    root.mkdir()
    (root / "mlflow.db").symlink_to(mlflow_root / "mlflow.db")
    before = (mlflow_root / "mlflow.db").read_bytes()
    with pytest.raises(InputError, match=r"must be a file in it, got the link .*; tracking.uri="):
        open_store(resolve_uri(uri, root), root, "sweeps")
    assert (mlflow_root / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:///b.db", "b.db"),
        ("sqlite+pysqlite:////a/b.db?timeout=3", "/a/b.db"),
        ("sqlite:///file:/a%20b.db?mode=rw&uri=true", "/a b.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file:x?mode=memory&uri=true", None),
        ("sqlite;no address", None),
        ("postgresql://h/d", None),
    ],
)
def test_the_file_that_an_address_opens(address: str, file: str | None) -> None:
    assert opened_file(address) == (None if file is None else Path(file))
