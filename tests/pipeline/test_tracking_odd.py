"""What the sender makes of odd journals, and of stores that refuse, fail, or answer in pages: a
store in memory records what it is told.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST

from pipeline import journal
from pipeline.events import TrialRetried
from pipeline.tracking import mlflow_sender
from pipeline.tracking.mlflow_replay import Replay
from pipeline.tracking.mlflow_sender import POSITION_NAME, Sender
from pipeline.tracking.store import Store, Target, store_key
from tests.pipeline.studies import (
    START_S,
    epoch_done,
    study_ended,
    study_started,
    trial_ended,
    trial_started,
)
from tests.pipeline.test_tracking_mlflow import write_journal

ODD_LINE = b'{"event": "OfALaterVersion"}\n'


class Page(list[Any]):
    """A page of found runs."""

    token: str | None = None


class Client:
    """MLflow's client as far as a replay uses it."""

    def __init__(self, *pages: Sequence[Any]) -> None:
        self.pages = [list(page) for page in pages] or [[]]
        self.runs: dict[str, dict[str, str]] = {}  # tags by id
        self.metrics: list[tuple[str, str, float]] = []  # run, name, value
        self.data: list[str] = []  # runs that were told their data
        self.files: list[str] = []
        self.refusal: MlflowException | None = None

    def search_runs(self, *_: object, page_token: str | None = None, **__: object) -> Page:
        number = int(page_token or 0)
        page = Page(self.pages[number])
        page.token = str(number + 1) if number + 1 < len(self.pages) else None
        return page

    def create_run(self, _: str, *, run_name: str, tags: dict[str, str], **__: object) -> Any:
        self.runs[run_name] = tags
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_batch(
        self, run: str, metrics: Sequence[Any] = (), params: object = (), tags: Sequence[Any] = ()
    ) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.metrics += [(run, metric.key, metric.value) for metric in metrics]
        self.runs.setdefault(run, {}).update({tag.key: tag.value for tag in tags})

    def log_inputs(self, run: str, _: object) -> None:
        self.data.append(run)

    def log_artifacts(self, run: str, _: object) -> None:
        self.files.append(run)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def found_run(trial: int | None, *, deleted: bool = False) -> Any:
    tags = {} if trial is None else {"trial": str(trial)}
    stage = "deleted" if deleted else "active"
    info = SimpleNamespace(run_id=f"run of {trial}", lifecycle_stage=stage)
    return SimpleNamespace(data=SimpleNamespace(tags=tags), info=info)


def replay_of(client: Client, folder: Path, *, figures: bool = False) -> Replay:
    opened = Store(client, "1", "sqlite:///x", born=5)  # type: ignore[arg-type]
    return Replay(opened, "study", Target(folder, folder.parent, figures=figures))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """The client of whatever store a sender opens."""
    client = Client()
    opened = Store(client, "1", "sqlite:///x", born=5)  # type: ignore[arg-type]
    monkeypatch.setattr(mlflow_sender, "open_store", lambda *_: opened)
    return client


def test_runs_are_found_on_every_page(tmp_path: Path) -> None:
    client = Client([found_run(None), found_run(0)], [found_run(1), found_run(2, deleted=True)])
    replay = replay_of(client, tmp_path)
    for number in (0, 1, 2):
        replay.apply(trial_started(number))
        replay.apply(epoch_done(number, 1))
    replay.flush()
    assert replay.has_parent
    assert {run for run, _, _ in client.metrics} == {"run of 0", "run of 1"}
    assert "1 of its trials" in replay.remark


def test_a_study_that_tells_neither_code_nor_data_has_no_such_tags(tmp_path: Path) -> None:
    told = study_started(tmp_path / "s")
    client = Client()
    replay_of(client, tmp_path / "s").apply(told)
    assert client.runs["s"]["mlflow.source.git.commit"] == told.tags["code"]
    assert client.data == ["s"]
    bare = Client()
    replay = replay_of(bare, tmp_path / "s")
    replay.apply(replace(told, tags={"data": "digits"}))  # without a digest
    replay.apply(trial_started(0))
    assert "mlflow.source.git.commit" not in bare.runs["s"]
    assert bare.data == []


def test_a_trial_without_a_study_s_beginning_has_a_run_of_its_own(tmp_path: Path) -> None:
    client = Client()
    replay_of(client, tmp_path).apply(trial_started(3))
    (tags,) = client.runs.values()
    assert tags["trial"] == "3" and tags["study_id"] == "study"
    assert "study" not in tags and "mlflow.parentRunId" not in tags


def test_retries_before_a_resumption_count_on(tmp_path: Path) -> None:
    replay = replay_of(client := Client(), tmp_path)
    again = TrialRetried(number=0, epoch=1, attempt=1, reason="died", time_s=START_S)
    for event in (trial_started(0), again):
        replay.remember(event)
    replay.apply(again)
    (tags,) = client.runs.values()
    assert (tags["retries"], tags["retry_reason"]) == ("2", "died")


def test_what_the_store_refuses_is_skipped_and_what_fails_is_not(tmp_path: Path) -> None:
    replay = replay_of(client := Client(), tmp_path)
    for epoch, code in ((1, RESOURCE_DOES_NOT_EXIST), (2, INTERNAL_ERROR)):
        client.refusal = MlflowException("no such run", code)
        replay.apply(epoch_done(0, epoch))
        if code == INTERNAL_ERROR:
            with pytest.raises(MlflowException, match="no such run"):
                replay.flush()
        else:
            replay.flush()
    assert replay.skipped == ["metrics of trial 0: no such run"]
    client.refusal = None
    replay.flush()
    assert ("t000", "train_loss", 0.5) in client.metrics, "what failed is sent later"
    assert ("t000", "train_loss", 1.0) not in client.metrics


@pytest.mark.parametrize("figures", [False, True])
def test_a_study_s_end_tells_confirmed_trials_but_deleted_ones(
    tmp_path: Path, *, figures: bool
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    lines = ["rank,trial,search,mean,std,seeds,lower_95,values"]
    lines += [f"{n + 1},{n},0.9,0.8{n},0.01,3,0.7,x" for n in (0, 1)]
    (folder / "confirmed.csv").write_text("\n".join(lines) + "\n")
    (folder / "leaderboard.csv").write_text("trial\n")
    client = Client([found_run(1, deleted=True)])
    replay = replay_of(client, folder, figures=figures)
    for event in (
        study_started(folder),
        trial_started(0),
        trial_ended(0, folder),
        study_ended({"COMPLETE": 1}, 0),
    ):
        replay.apply(event)
    name = trial_started(0).name
    means = [(run, value) for run, key, value in client.metrics if key == "confirmed_mean"]
    assert means == [(name, 0.80)]
    assert ("s" in client.files) == figures, "the leaderboard, among the study's files"


def test_a_journal_that_is_not_there_sends_nothing(tmp_path: Path, client: Client) -> None:
    sender = Sender(Target(tmp_path, tmp_path))
    sender.send()
    assert sender.open() is None and not (tmp_path / POSITION_NAME).exists()
    assert client.runs == {}


def test_lines_that_are_no_events_are_passed_over(tmp_path: Path, client: Client) -> None:
    """In what is sent, and in what had been sent before."""
    folder = tmp_path / "s"
    write_journal(folder, [study_started(folder)])
    path = folder / journal.FILE_NAME
    for number in (0, 1):
        with path.open("ab") as file:
            file.write(ODD_LINE)
        write_journal(folder, [trial_started(number)])
        sender = Sender(Target(folder, tmp_path))
        sender.send()
        assert sender.offset == path.stat().st_size
        assert json.loads((folder / POSITION_NAME).read_text())["offset"] == sender.offset
    assert {tags.get("trial") for tags in client.runs.values()} == {None, "0", "1"}


def test_an_interrupted_sender_notes_how_far_it_came(tmp_path: Path, client: Client) -> None:
    folder = tmp_path / "s"
    write_journal(folder, [study_started(folder), trial_started(0), trial_started(1)])
    told: list[bool] = []
    sender = Sender(Target(folder, tmp_path))
    sender.send(interrupted=lambda: bool(told) or len(client.runs) == 2)
    assert {tags.get("trial") for tags in client.runs.values()} == {None, "0"}
    noted = json.loads((folder / POSITION_NAME).read_text())["offset"]
    assert noted == sender.offset < (folder / journal.FILE_NAME).stat().st_size
    sender.send()
    assert {tags.get("trial") for tags in client.runs.values()} == {None, "0", "1"}


def test_a_failing_store_stops_the_sender_where_it_is(tmp_path: Path, client: Client) -> None:
    folder = tmp_path / "s"
    write_journal(folder, [study_started(folder), trial_started(0)])
    client.refusal = MlflowException("down", INTERNAL_ERROR)
    sender = Sender(Target(folder, tmp_path))
    with pytest.raises(MlflowException, match="down"):
        sender.send()
    assert sender.skipped == []
    first = (folder / journal.FILE_NAME).read_bytes().index(b"\n") + 1
    assert sender.offset == first, "the study's beginning was sent, its trial was not"
    client.refusal = MlflowException("no such run", RESOURCE_DOES_NOT_EXIST)
    sender.send()
    assert sender.skipped == ["TrialStarted: no such run"]


@pytest.mark.parametrize(
    ("noted", "told_again"),
    [
        # What was sent to another store last: here somebody may have been told less.
        ({"store": "another"}, {"run of None", "run of 0"}),
        # As versions before noted it, without the store's birth.
        ({}, set()),
    ],
)
def test_a_position_counts_for_its_own_store(
    tmp_path: Path, client: Client, noted: dict[str, str], told_again: set[str]
) -> None:
    folder = tmp_path / "s"
    write_journal(folder, [study_started(folder), trial_started(0)])
    size = (folder / journal.FILE_NAME).stat().st_size
    write_journal(folder, [trial_started(1)])
    target = Target(folder, tmp_path)
    position = {"store": store_key(target.address), "offset": size, **noted}
    (folder / POSITION_NAME).write_text(json.dumps(position))
    client.pages = [[found_run(None), found_run(0)]]
    Sender(target).send()
    assert client.runs.keys() == {trial_started(1).name, *told_again}
