"""Secrets are planted wherever one can be given, and every byte that a study leaves is searched:
files, databases, artifacts, what is printed, and what the process list shows of its children.
"""

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.harness import REPOSITORY, Case, no_traceback, wait_until

pytestmark = pytest.mark.slow
MARK = "Zq7kX"  # in every secret
TYPED = f"Wv3j/{MARK}@s'\"w%2F:d"  # of an address on the command line
NAMES = [
    "TOKEN", "MY_TOKEN", "HF_TOKEN", "GITHUB_TOKEN", "MLFLOW_TRACKING_TOKEN", "TOKEN_2", "PASSWORD",
    "PGPASSWORD_X", "DB_PASSWORD", "MLFLOW_TRACKING_PASSWORD", "MYSQL_PASSWD", "SECRET",
    "AWS_SECRET_ACCESS_KEY", "CLIENT_SECRET", "SECRET_KEY", "OPENAI_API_KEY", "APIKEY",
    "ACCESS_KEY", "SSH_PASSPHRASE", "PRIVATE_KEY", "token", "my_password", "clientSecret",
]  # fmt: skip
SIGNS = [
    "",
    "/",
    "@",
    "'",
    '"',
    "%2F",
    "%",
    " ",
    "&",
    "=",
    ":",
    ";",
    ",",
    "<b>",
    "\\",
    "$x",
    "#",
    "?",
]
ENVIRONMENT = {
    **{name: f"{MARK}-{name}-{SIGNS[n % len(SIGNS)]}end" for n, name in enumerate(NAMES)},
    "DATABASE_URL": f"postgresql://ann:{MARK}/u@rl@host/db",
    "STORE": f"http://ann:{MARK}-store@127.0.0.1:9",
}


@pytest.fixture
def case(own_pruner: Case) -> Case:
    """Without pauses, which hide nothing."""
    return own_pruner


def test_there_are_forty_spellings() -> None:
    assert len(ENVIRONMENT) + len(SIGNS) >= 40


def left(root: Path) -> Iterator[tuple[Path, bytes]]:
    for path in root.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def hidden(case: Case, *said: str) -> None:
    for text in said:
        assert MARK not in text, text
        assert "Wv3j" not in text and "s'\"w" not in text
    for path, content in left(case.root):
        assert MARK.encode() not in content, path
    for path in case.root.rglob("*.db"):
        with sqlite3.connect(path) as connection:
            assert MARK not in "\n".join(connection.iterdump()), path


def quoted(text: str) -> str:
    """Return a value in Hydra's grammar."""
    return "'" + text.replace("'", "\\'") + "'"


def addresses(case: Case) -> list[str]:
    return [
        "tracking=mlflow",
        "tracking.uri=" + quoted(f"http://ann:{TYPED}@127.0.0.1:9"),
        f"study.storage='sqlite:///{case.root}/own.db?token={MARK}'",
        f"study.note={quoted('see http://ann:' + TYPED + '@host?password=' + MARK)}",
    ]


def test_no_secret_is_left_anywhere_by_a_sweep(case: Case) -> None:
    running = case.start(*addresses(case), env=ENVIRONMENT)
    typed = running.process.args
    seen: set[str] = set()

    def over() -> bool:
        for child in psutil.Process().children(recursive=True):
            try:
                # What the user typed is the sweep's own line, and a child's that was forked but
                # has not begun its program yet; any other line is the product's.
                if (line := child.cmdline()) != typed:
                    seen.update(line)
            except psutil.Error:
                continue
        return running.process.poll() is not None

    wait_until(over, "the sweep's end")
    ended = running.end()
    assert ended.code == 0, ended.err
    assert any("mlflow_process" in word for word in seen)
    hidden(case, ended.out, ended.err, *seen)
    journal = (case.folder / "events.jsonl").read_text()
    assert "http://***@host" in journal and "MLflow" in ended.err


@pytest.mark.parametrize(
    "wrong",
    [
        f"study.storage='postgresql://ann:{MARK}/@p@127.0.0.1:1/db'",
        f"slots.address='tcp://ann:{MARK}/p@127.0.0.1:9'",
        f"slots.address=tls://ann:{MARK}@192.0.2.1:9",
        f"tracking.uri=[http://ann:{MARK}@h]",
        f"study.seed=http://ann:{MARK}/@h",
        f"trackin.uri=http://ann:{MARK}@h",
        f"study.note=http://ann:{MARK}@h,x",
        f"study.note={{password:{MARK}}}",
        f"--uri=http://ann:{MARK}@h",
        "study.note=${oc.env:MY_TOKEN}",
        "study.seed=${oc.env:MY_TOKEN}",
        f"http://ann:{MARK}@h",
    ],
)
def test_no_refusal_shows_one(case: Case, wrong: str) -> None:
    dask = ["slots=dask"] if "address" in wrong else []
    ended = case.run(*dask, wrong, env=ENVIRONMENT)
    assert ended.code == 2, (ended.out, ended.err)
    no_traceback(ended)
    hidden(case, ended.out, ended.err)


COMMANDS = {
    "show": [], "report": [], "doctor": [], "export": ["onnx=false"], "evaluate": [],
    "final": ["final.folds=2", "final.members=1", "final.epochs=1", "slots.n=1"],
}  # fmt: skip


def test_no_command_after_it_leaves_one(case: Case) -> None:
    """A sweep of real nets, all that follows it, and the bundle."""
    address = "tracking.uri=${oc.env:STORE}"
    sizes = ["experiment=smoke", "budget.trials=1", "train.epochs=1", "slots.n=1"]
    for command in ("sweep", "show", "report", "final", "evaluate", "export", "doctor"):
        case.module = f"pipeline.{command}"
        given = sizes if command == "sweep" else COMMANDS[command]
        tracked = [address] if command not in ("report", "evaluate") else []
        words = [f"root={case.root}", f"study.name={case.study}", *given, *tracked]
        case.command = lambda *more, words=words: [sys.executable, "-m", case.module, *words]  # type: ignore[method-assign,misc]
        ended = case.run(env=ENVIRONMENT)
        assert "Traceback" not in ended.err, (command, ended.err)
        assert ended.code == (2 if command == "export" else 0), (command, ended.out, ended.err)
        hidden(case, ended.out, ended.err)
    assert (case.root / case.study / "bundle" / "manifest.json").exists()
    assert REPOSITORY.is_dir()
