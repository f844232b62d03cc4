"""The journal: what is written is read back, torn ends are cut, secrets stay out."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import journal
from pipeline.events import EpochDone, StudyStarted
from pipeline.redact import redact
from pipeline.tracking.listeners import LogListener
from tests.pipeline.studies import epoch_done, small_events, study_started, trial_started


def test_every_kind_of_event_comes_back_as_it_was(tmp_path: Path) -> None:
    events = small_events(tmp_path / "study")
    assert {type(event) for event in events} | {journal.events.TrialRetried} == set(
        journal.EVENT_TYPES.values()
    )
    for event in events:
        assert journal.decode(journal.encode(event)) == event


def test_a_field_added_later_is_written_only_where_it_says_something() -> None:
    usual = trial_started(0)
    assert "prior" not in json.loads(journal.encode(usual))
    taken = replace(usual, prior="old t005")
    assert journal.decode(journal.encode(taken)) == taken
    assert journal.decode(journal.encode(usual)) == usual


def test_numpy_scalars_and_not_finite_numbers_are_kept() -> None:
    event = EpochDone(
        number=np.int64(3),
        epoch=1,
        metrics={"a": np.float32(0.5), "b": math.inf},
        slot=0,
        worker_pid=1,
        time_s=1.0,
    )  # type: ignore[arg-type]
    back = journal.decode(journal.encode(event))
    assert isinstance(back, EpochDone)
    assert back.number == 3
    assert back.metrics == {"a": 0.5, "b": math.inf}


@pytest.mark.parametrize(
    "line", ["", "{", '{"event": "Unknown"}', '{"event": "EpochDone", "number": 1}', "[1]", "null"]
)
def test_lines_that_are_not_understood_are_none(line: str) -> None:
    assert journal.decode(line) is None


@pytest.mark.parametrize(("number", "kept"), [(10**40 - 1, True), (10**40, False)])
def test_a_number_beyond_all_seeds_is_not_of_this_program(number: int, *, kept: bool) -> None:
    written = {**json.loads(journal.encode(epoch_done(1, 1))), "epoch": number}
    assert (journal.decode(json.dumps(written)) is not None) == kept


def test_a_torn_line_of_many_blocks_is_cut_whole(tmp_path: Path) -> None:
    """Longer than what is looked at at a time, behind an event, and as all that there is."""
    for folder, events in ((tmp_path / "a", 1), (tmp_path / "b", 0)):
        log = journal.EventLog(folder)
        if events:
            log.handle(epoch_done(0, 1))
            log.close()
        folder.mkdir(exist_ok=True)
        with log.path.open("ab") as file:
            file.write(b"x" * 150_000)
        log.handle(epoch_done(0, 2))
        log.close()
        assert len(log.path.read_bytes().splitlines()) == events + 1
        assert len(journal.read_all(folder)) == events + 1


def test_a_journal_has_a_name_from_its_first_line_on(tmp_path: Path) -> None:
    assert journal.journal_id(tmp_path) is None
    path = tmp_path / journal.FILE_NAME
    path.write_bytes(b"a line that is not who")
    assert journal.journal_id(tmp_path) is None
    path.write_bytes(b"first\n")
    name = journal.journal_id(tmp_path)
    path.write_bytes(b"first\nsecond\n")
    assert journal.journal_id(tmp_path) == name is not None


def test_fields_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    event = epoch_done(1, 1)
    assert (
        journal.decode(json.dumps({**json.loads(journal.encode(event)), "colour": "red"})) == event
    )


def test_a_torn_last_line_is_cut_before_the_next_event(tmp_path: Path) -> None:
    log = journal.EventLog(tmp_path)
    log.handle(study_started(tmp_path))
    log.close()
    with log.path.open("ab") as file:
        file.write(b'{"event": "EpochDone", "numb')
    assert len(journal.read_all(tmp_path)) == 1
    log = journal.EventLog(tmp_path)
    log.handle(epoch_done(0, 1))
    log.close()
    assert [type(event) for event in journal.read_all(tmp_path)] == [StudyStarted, EpochDone]
    assert log.path.read_bytes().count(b"\n") == 2


def test_an_event_that_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.touch()  # a file where the folder should be
    log = journal.EventLog(folder)
    log.handle(epoch_done(0, 1))
    assert log.error is not None
    folder.unlink()
    log.handle(epoch_done(0, 2))
    log.close()
    assert log.error is None
    assert [event.epoch for event in journal.read_all(folder) if isinstance(event, EpochDone)] == [
        1,
        2,
    ]


def test_a_part_that_cannot_be_taken_back_joins_no_later_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gets full takes half a line, and then refuses even to shorten the file."""
    log = journal.EventLog(tmp_path)
    log.handle(epoch_done(0, 1))
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        monkeypatch.setattr(os, "write", refuses)
        return write(descriptor, content[: len(content) // 2])

    def refuses(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(os, "ftruncate", refuses)
    log.handle(epoch_done(0, 2))
    assert isinstance(log.error, OSError) and log.error.filename == str(log.path)
    monkeypatch.undo()
    log.handle(epoch_done(0, 3))
    log.close()
    found = [event for event in journal.read_all(tmp_path) if isinstance(event, EpochDone)]
    assert [event.epoch for event in found] == [1, 2, 3]


def test_a_journal_that_misses_its_last_events_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> int:
        raise OSError(28, "No space left on device")

    log = journal.EventLog(tmp_path)
    monkeypatch.setattr(os, "write", refuses)
    log.handle(epoch_done(0, 1))
    log.close()
    assert "events.jsonl" in str(log.error)
    monkeypatch.undo()
    log.close()
    assert log.error is None and len(journal.read_all(tmp_path)) == 1


def test_a_log_line_that_cannot_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> int:
        raise OSError(28, "No space left on device")

    log = LogListener(tmp_path / "log.txt")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuses)
        log.handle(trial_started(0))
    log.handle(trial_started(1))
    log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert ["trial 0 started" in lines[0], "trial 1 started" in lines[1]] == [True, True]


def test_a_line_after_the_end_reaches_no_other_file(tmp_path: Path) -> None:
    log = LogListener(tmp_path / "log.txt")
    log.close()
    with (tmp_path / "other").open("wb"):  # it gets the number of the descriptor that was closed
        log.handle(trial_started(0))
    assert (tmp_path / "other").read_bytes() == b""


def test_reading_from_an_offset_gives_what_follows(tmp_path: Path) -> None:
    log = journal.EventLog(tmp_path)
    for epoch in (1, 2, 3):
        log.handle(epoch_done(0, epoch))
    log.close()
    (_, first), *_ = list(journal.read(log.path))
    assert [
        event.epoch for event, _ in journal.read(log.path, first) if isinstance(event, EpochDone)
    ] == [2, 3]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("http://ann:s3cr3t@host:5000/x", "s3cr3t"),
        ("postgresql+psycopg://ann:s3cr3t@host/db", "s3cr3t"),
        ("https://host/?access_token=s3cr3t&x=1", "s3cr3t"),
        ("password: s3cr3t", "s3cr3t"),
    ],
)
def test_secrets_are_hidden(text: str, hidden: str) -> None:
    assert hidden not in redact(text)
    assert "host" in redact(text) or "password" in redact(text)


def test_a_secret_of_the_environment_never_reaches_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok-123456789")
    log = journal.EventLog(tmp_path)
    log.handle(
        StudyStarted(
            **{
                **vars(study_started(tmp_path)),
                "note": "with tok-123456789",
                "config_yaml": "a: tok-123456789",
            }
        )
    )
    log.close()
    text = log.path.read_text()
    assert "tok-123456789" not in text
    assert "with ***" in text
