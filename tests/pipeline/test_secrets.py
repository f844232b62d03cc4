"""Secrets are hidden however they are spelt, wherever a sweep shows, stores or logs something."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import redact as redaction
from pipeline.configuration import compose
from pipeline.files import TrialPaths
from pipeline.redact import HIDDEN, redact, redacted, remember, shown, visible
from pipeline.search.queue import TrialQueue
from pipeline.slots.stop_request import Stop
from pipeline.tracking.listeners import LogListener
from pipeline.trial_folder import TrialFolder
from tests.ends import ended

SECRET = "s3cr3t-of-the-store"
REASON = f"401 Unauthorized: bearer {SECRET}"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    monkeypatch.setattr(redaction, "_remembered", {})


def test_log_txt_hides_it(tmp_path: Path) -> None:
    log = LogListener(tmp_path / "log.txt")
    log.handle(ended("FAIL", reason=REASON))
    log.close()
    written = (tmp_path / "log.txt").read_text()
    assert "401 Unauthorized: bearer ***" in written and SECRET not in written


def test_the_study_hides_it() -> None:
    study = optuna.create_study(direction="maximize")
    queue = TrialQueue(study, 1, Stop(), 100)
    asked = queue.ask(lambda trial: [])
    assert asked is not None
    queue.tell(asked[0], ended("FAIL", reason=REASON))
    assert study.trials[0].user_attrs["reason"] == "401 Unauthorized: bearer ***"


# A text, the parts of a secret that must not be in what is shown, and what must stay.
SPELLINGS = [
    ("http://ann:Zq7kX@host:5000/x", ["Zq7kX", "ann"], "@host:5000/x"),
    ("postgresql+psycopg://ann:Zq/7kX@host/db", ["Zq", "7kX"], "@host/db"),
    ("postgresql://ann:Zq@7kX@host/db", ["Zq", "7kX"], "@host/db"),
    ("postgresql://ann:Zq'7kX@host/db", ["Zq", "7kX"], "@host/db"),
    ('postgresql://ann:Zq"7kX@host/db', ["Zq", "7kX"], "@host/db"),
    ("postgresql://ann:Zq?7#kX@host/db", ["Zq", "kX"], "@host/db"),
    ("postgresql://ann:Zq:7/@kX@host/db", ["Zq", "kX"], "@host/db"),
    ("postgresql://ann:Zq,7;kX@host/db", ["Zq", "kX"], "@host/db"),
    ("postgresql://ann:Zq$7(kX)@host/db", ["Zq", "kX"], "@host/db"),
    ("postgresql://ann:Zq%2F7%40kX@host/db", ["Zq", "kX"], "@host/db"),
    ("mysql+pymysql://:Zq7kX@host/db", ["Zq7kX"], "@host/db"),
    ("https://Zq7kX@host/x", ["Zq7kX"], "@host/x"),
    ("tls://ann:Zq7kX@host:8786", ["Zq7kX"], "@host:8786"),
    ("tcp://ann:Zq/7kX@host:8786", ["Zq", "7kX"], "@host:8786"),
    ("databricks://Zq7kX@profile", ["Zq7kX"], "@profile"),
    ("HTTP://ANN:Zq7kX@HOST", ["Zq7kX"], "@HOST"),
    ("'http://ann:Zq7kX@host'", ["Zq7kX"], "host"),
    ("open http://a:Zq7kX@one and http://b:Wv3jY@two", ["Zq7kX", "Wv3jY"], "@one and"),
    ("http://a:Zq7kX@one,http://b:Wv3jY@two", ["Zq7kX", "Wv3jY"], "@one,"),
    ('["http://a:Zq7kX@one","http://b:Wv3jY@two"]', ["Zq7kX", "Wv3jY"], "two"),
    ("tracking.uri='http://a:Zq7kX@one' study.name=x", ["Zq7kX"], "study.name=x"),
    (r'{"uri": "http:\/\/a:Zq7kX@one\/x"}', ["Zq7kX"], "one"),
    ("see ?uri=http%3A%2F%2Fann%3AZq7kX%40host&x=1", ["Zq7kX"], "host&x=1"),
    ("https://host/?access_token=Zq7kX&x=1", ["Zq7kX"], "&x=1"),
    ("https://host/?password=Zq'7;k,X&x=1", ["Zq", "7", "X&"], "&x=1"),
    ("https://host/?x=1&sig=Zq7kX", ["Zq7kX"], "x=1"),
    ("sqlite:///x.db?key=Zq7kX", ["Zq7kX"], "sqlite:///x.db"),
    ("password: Zq7kX", ["Zq7kX"], "password"),
    ("password = 'Zq 7 kX'", ["Zq", "kX"], "password"),
    ('{"api_key": "Zq 7\\"kX", "x": 1}', ["Zq", "kX"], '"x": 1'),
    (r"{\"api_key\": \"Zq 7kX\", \"x\": 1}", ["Zq", "kX"], "1}"),
    ("{'aws_secret_access_key': 'Zq7kX', 'x': 1}", ["Zq7kX"], "'x': 1"),
    ("MLFLOW_TRACKING_PASSWORD=Zq7kX python -m x", ["Zq7kX"], "python -m x"),
    ("DB_PASSWD='Zq7kX'", ["Zq7kX"], "DB_PASSWD"),
    ("passphrase=Zq7kX.", ["Zq7kX"], "passphrase"),
    ("Authorization: Bearer Zq7kX", ["Zq7kX"], "Authorization"),
    ("Authorization: Basic Zq7kX==", ["Zq7kX"], "Authorization"),
    ("401: bearer Zq7kXZq7kXZq7kX", ["Zq7kX"], "401"),
    ("data.api_token=Zq7kX", ["Zq7kX"], "data.api_token"),
    ("token=${oc.env:NAME,Zq7kX}", ["Zq7kX"], "token=${oc.env:NAME"),
    ("postgresql:/ann:Zq7kX@host/db", ["Zq7kX"], "@host/db"),
    ("http:ann:Zq7kX@host/db", ["Zq7kX"], "@host/db"),
    (r"got 'http:\\ann:Zq7kX@127.0.0.1:1'", ["Zq7kX"], "@127.0.0.1:1"),
    (r"got 'http:\\\\ann:Zq/7@kX@127.0.0.1:1'", ["Zq", "7@kX"], "@127.0.0.1:1"),
    ("postgresql_://ann:Zq7kX@host/d?x=1", ["Zq7kX"], "@host/d?x=1"),
    ("//ann:Zq7kX@host/db", ["Zq7kX"], "@host/db"),
    ("ann:Zq7kX@127.0.0.1:1", ["Zq7kX"], "@127.0.0.1:1"),
    ("study.storage=[postgresql:/ann:Zq7kX@host]", ["Zq7kX"], "@host]"),
    ("https:%2F%2Fann:Zq7kX@host", ["Zq7kX"], "@host"),
    (r"https:\u002f\u002fann:Zq7kX@host", ["Zq7kX"], "@host"),
    ("Authorization: token Zq7kX", ["Zq7kX"], "Authorization"),
    ("Authorization: ApiKey Zq7kX", ["Zq7kX"], "Authorization"),
    ('{"pass": "Zq7kX"}', ["Zq7kX"], "pass"),
    ("https://host/?x=1&amp;sig=Zq7kX", ["Zq7kX"], "x=1"),
    ("https://host/?x=1;sig=Zq7kX", ["Zq7kX"], "x=1"),
    ("run --password Zq7kX now", ["Zq7kX"], "now"),
    ("Cookie: session=Zq7kX; path=/", ["Zq7kX"], "path=/"),
    (f"it was {SECRET}", [SECRET], "it was"),
    (f"quoted {SECRET!r}", [SECRET], "quoted"),
]


@pytest.mark.parametrize(("text", "parts", "kept"), SPELLINGS)
def test_a_secret_is_hidden_however_it_is_spelt(text: str, parts: list[str], kept: str) -> None:
    said = redact(text)
    assert not [part for part in parts if part in said]
    assert kept in said and HIDDEN in said
    assert redact(said) == said


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me@work/out/mlflow.db",
        "file:///home/me@work/x",
        "http://127.0.0.1:5000/#/experiments/1/runs?orderBy=metrics.`objective`",
        "tracking.uri=${oc.env:MLFLOW_TRACKING_TOKEN}",
        "postgresql+psycopg://...",
        "model.filters=16 optimizer.lr=0.001 token=null",
        "ann@example.org",
        "git@github.com:ann/x.git",
        "models:/digits@champion",
        "C:\\Users\\ann@work\\x",
        "+group@package=name at 12:30, ann@example.org",
        "two pass: 5 of 7",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


PASSWORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1
)


@given(PASSWORDS.map(lambda text: f"A{text}Z9"), st.sampled_from(["host", "host:5000/db", "h/a/b"]))
def test_whatever_a_password_holds_it_is_hidden(password: str, place: str) -> None:
    assert (
        redact(f"at postgresql://ann:{password}@{place} now") == f"at postgresql://***@{place} now"
    )


@given(st.text())
def test_what_was_redacted_is_not_changed_again(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_password_that_was_given_is_hidden_alone_and_in_every_form() -> None:
    compose(["tracking.uri='postgresql://ann:my pass/w<o>rd%21@host/db'"])
    for form in ("my pass/w<o>rd!", "my%20pass", "my+pass%2Fw", "my pass/w&lt;o&gt;rd%21"):
        said = redact(f"the driver: {form}; https://x")
        assert "rd" not in said or "my pass" not in said, said
    assert redact("my pass/w<o>rd!") == redact("my pass/w<o>rd%21") == HIDDEN


def test_a_path_with_an_at_sign_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "sqlite:////home/ann-of-work@lab/study.db"
    remember(address)
    monkeypatch.setenv("STORE", address)
    for text in ("written to /home/ann-of-work@lab/report.html", address):
        assert redact(text) == text


def test_a_secret_of_a_query_is_hidden_to_its_end() -> None:
    compose(["tracking.uri='http://127.0.0.1:9/?password=Zq7 kX9wB&x=1'"])
    assert redact("it was Zq7 kX9wB, or Zq7+kX9wB") == f"it was {HIDDEN}, or {HIDDEN}"


def test_a_long_text_of_colons_takes_no_longer_than_its_length() -> None:
    text = "a:" * 200_000 + " @"
    assert redact(text) == text


def test_an_ordinary_word_is_not_hidden_since_somebody_has_it_as_a_password() -> None:
    remember("postgresql://postgres:postgres@host/db")
    assert redact("the postgres server in mlflow.db") == "the postgres server in mlflow.db"


@pytest.mark.parametrize(
    "name",
    [
        "TOKEN",
        "HF_TOKEN",
        "PGPASSWORD",
        "DB_PASSWD",
        "client_secret",
        "OPENAI_API_KEY",
        "PASSPHRASE",
    ],
)
def test_secrets_of_the_environment_are_hidden_by_their_names(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "it's a/secret")
    for form in ("it's a/secret", "it%27s%20a/secret", "it''s a/secret", "it\\'s a/secret"):
        assert redact(f"got {form} here") == "got *** here"


def test_an_address_of_the_environment_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:Zq7kXy@host/db")
    assert redact("the driver says Zq7kXy") == "the driver says ***"


def test_a_tree_is_redacted_by_its_keys_and_stays_one() -> None:
    tree = {
        "data": {"api_token": "a b: c", "file": "x", "password": "${oc.env:P}"},
        "n": [1, "http://a:b@c"],
    }
    found = redacted(tree)
    assert found["data"] == {"api_token": HIDDEN, "file": "x", "password": "${oc.env:P}"}
    assert found["n"] == [1, "http://***@c"]
    assert yaml.safe_load(yaml.safe_dump(found)) == found


def test_control_characters_are_written_out() -> None:
    assert visible("a\x1b[2Jb\x9bc\x7f\u202ed\te\nf") == "a\\x1b[2Jb\\x9bc\\x7f\\u202ed\te\nf"
    assert shown(f"\x1b{SECRET}") == "\\x1b***"
    assert visible("Grüße, 数字 ٣ 🙂") == "Grüße, 数字 ٣ 🙂"


STREAMS = """
import sys, warnings, threading
from pipeline.configuration.standard_streams import lasting_streams
lasting_streams()
from rich.console import Console
print("plain http://ann:Zq/7kX@host", "\\x1b[2J")
console = Console(force_terminal=True)
console.print("[bold]drawn[/bold]")
warnings.warn("http://ann:Zq/7kX@warned")
threading.Thread(target=lambda: 1 / 0, name="\\x1b]0;t").start()
raise ValueError("http://ann:Zq/7kX@raised \\x1b[31m")
"""


def test_nothing_that_a_command_prints_shows_one() -> None:
    """Not the traceback of a fault either, nor a library's warning."""
    done = subprocess.run([sys.executable, "-c", STREAMS], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "plain http://***@host \\x1b[2J"
    assert done.stdout.splitlines()[1].startswith("\x1b[1m"), "rich draws"
    for place in ("@warned", "@raised \\x1b[31m", "ZeroDivisionError"):
        assert place in done.stderr
    assert "7kX" not in done.stderr and "\x1b" not in done.stderr


def test_a_file_that_must_hold_one_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The token of a user's own data source is needed to compose its trials again."""
    for folder, override, private in (("a", "data.token=Zq7kX", True), ("b", "data.x=1", False)):
        trial = TrialFolder(TrialPaths(tmp_path / folder))
        trial.begin(0, (0, 0), [override])
        mode = stat.S_IMODE(trial.paths.overrides.stat().st_mode)
        assert (mode == 0o600) == private, oct(mode)
        assert trial.read().overrides == (override,)


def test_the_line_of_an_opening_holds_none_and_no_formula(tmp_path: Path) -> None:
    from pipeline.evaluate import note_opening
    from tests.pipeline.made_manifest import made_manifest

    manifest = made_manifest((1, 8, 8), 10, (1.0,))
    given_words = ["=cmd()", "tracking.uri='http://ann:Zq/7kX@host'"]
    note_opening(tmp_path / "openings.csv", manifest, "ab" * 32, given_words)
    text = (tmp_path / "openings.csv").read_text()
    assert "'=cmd() tracking.uri='http://***@host'" in text and "7kX" not in text


def test_the_server_of_mlflow_has_its_store_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.ui import server_command

    for name in ("PATH", "MLFLOW_BACKEND_STORE_URI"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    command = server_command("postgresql://ann:Zq/7kX@host/db", tmp_path, 5000)
    assert "7kX" not in " ".join(command)
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == "postgresql://ann:Zq/7kX@host/db"


def test_the_journal_hides_what_its_keys_name(tmp_path: Path) -> None:
    from pipeline import journal
    from tests.pipeline.studies import study_started

    event = study_started(tmp_path, note="http://ann:Zq'7kX@host")
    fields = json.loads(journal.encode(event))
    assert fields["note"] == "http://***@host"
