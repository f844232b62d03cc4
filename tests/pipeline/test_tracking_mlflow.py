"""What a study's journal becomes in MLflow: names, statuses, tags; nothing twice, whatever dies in
between.
"""

import base64
import contextlib
import http.server
import json
import re
import socket
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.events import EpochDone, Event, StudyEnded, TrialStarted
from pipeline.journal import EventLog
from pipeline.tracking.mlflow_listener import MlflowListener
from pipeline.tracking.mlflow_sender import POSITION_NAME, Sender, backlog, replay_journal
from pipeline.tracking.mlflow_view import runs_link, share_view, view_key
from pipeline.tracking.store import Target
from tests.pipeline.studies import (
    epoch_done,
    make_study,
    small_events,
    study_ended,
    study_started,
    trial_ended,
    trial_started,
)


def write_journal(folder: Path, events: Sequence[Event]) -> None:
    log = EventLog(folder)
    for event in events:
        log.handle(event)
    log.close()


def client_of(root: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def runs_of(root: Path) -> dict[str, Any]:
    """Runs by trial number, the parent under "parent"."""
    client = client_of(root)
    experiment = client.get_experiment_by_name("sweeps")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    found = {run.data.tags.get("trial", "parent"): run for run in runs}
    assert len(found) == len(runs), "a trial has two runs"
    return found


def artifacts_of(root: Path, run: Any, folder: str = "") -> set[str]:
    return {item.path for item in client_of(root).list_artifacts(run.info.run_id, folder)}


def values_of(root: Path, run: Any, key: str) -> list[tuple[int, float]]:
    return sorted(
        (m.step, m.value) for m in client_of(root).get_metric_history(run.info.run_id, key)
    )


def test_a_study_becomes_a_parent_run_with_its_trials_as_children(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    assert replay_journal(folder, mlflow_root) == []
    runs = runs_of(mlflow_root)
    assert set(runs) == {"parent", "0", "1", "2", "3"}
    parent = runs["parent"]
    assert {
        run.data.tags.get("mlflow.parentRunId") for key, run in runs.items() if key != "parent"
    } == {parent.info.run_id}
    assert {key: run.info.status for key, run in runs.items()} == {
        "parent": "FINISHED", "0": "FINISHED", "1": "KILLED", "2": "FAILED", "3": "FINISHED",
    }  # fmt: skip
    assert {key: run.data.tags["state"] for key, run in runs.items()} == {
        "parent": "COMPLETE", "0": "COMPLETE", "1": "PRUNED", "2": "FAIL", "3": "COMPLETE",
    }  # fmt: skip
    assert runs["2"].data.tags["reason"] == "diverged: train_loss is nan in epoch 1"
    assert parent.data.tags["mlflow.note.content"] == "a note"
    assert parent.info.run_name == "digits"
    assert "configuration.yaml" in artifacts_of(mlflow_root, parent)


def test_a_trial_has_its_parameters_curves_tags_and_data(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    events = [
        replace(event, prior="old t005")
        if isinstance(event, TrialStarted) and event.number == 3
        else event
        for event in small_events(folder)
    ]
    write_journal(folder, events)
    replay_journal(folder, mlflow_root)
    assert "prior" not in runs_of(mlflow_root)["0"].data.tags
    run = runs_of(mlflow_root)["3"]
    assert run.info.run_name == "t003 momentum he f32 d0.40"
    assert run.data.params == {"model_init": "he", "optimizer_lr": "0.04"}
    assert {
        "worker_pid": "4001",
        "prior": "old t005",
        "seed": "103",
        "study": "digits",
        "code": "0123456789abcdef",
        "slot": "1",
    }.items() <= run.data.tags.items()
    wanted = {
        "train_loss",
        "train_accuracy",
        "valid_loss",
        "valid_accuracy",
        "epoch_s",
        "lr",
        "gradient_norm_conv1",
        "objective",
        "duration_s",
    }
    assert wanted <= set(run.data.metrics)
    assert values_of(mlflow_root, run, "valid_accuracy") == [
        (e, pytest.approx(0.903 + 0.01 * e)) for e in range(1, 5)
    ]
    assert values_of(mlflow_root, run, "objective") == [(4, pytest.approx(0.943))]
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "ab" * 4)
    assert artifacts_of(mlflow_root, run) == {"history.csv", "learning_curves.svg"}
    assert (run.info.end_time - run.info.start_time) == 5000


def test_only_a_complete_trial_has_an_objective(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    replay_journal(folder, mlflow_root)
    runs = runs_of(mlflow_root)
    assert {key for key, run in runs.items() if "objective" in run.data.metrics} == {"0", "3"}


def test_replaying_again_changes_nothing_even_when_the_position_is_lost(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    replay_journal(folder, mlflow_root)
    before = {
        key: (run.info.run_id, run.data.to_dictionary())
        for key, run in runs_of(mlflow_root).items()
    }
    replay_journal(folder, mlflow_root)
    (folder / POSITION_NAME).unlink()
    replay_journal(folder, mlflow_root)
    runs = runs_of(mlflow_root)
    assert {key: (run.info.run_id, run.data.to_dictionary()) for key, run in runs.items()} == before
    assert len(values_of(mlflow_root, runs["3"], "train_loss")) == 4
    assert len(values_of(mlflow_root, runs["3"], "objective")) == 1


def test_a_killed_replay_goes_on_where_it_was_without_doubling(
    mlflow_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    calls = 0
    original = MlflowClient.log_batch

    def dies(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(self, *arguments, **named)
        if calls % 7 == 0:  # after the store has it, before we know
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(MlflowClient, "log_batch", dies)
    for _ in range(50):
        try:
            replay_journal(folder, mlflow_root)
            break
        except KeyboardInterrupt:
            calls += 1  # so that the next life dies elsewhere
    runs = runs_of(mlflow_root)
    assert set(runs) == {"parent", "0", "1", "2", "3"}
    assert [step for step, _ in values_of(mlflow_root, runs["0"], "valid_loss")] == [1, 2, 3, 4]
    assert {run.info.status for run in runs.values()} == {"FINISHED", "KILLED", "FAILED"}


def test_an_interrupted_trial_goes_on_under_the_same_run(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    first = [
        study_started(folder),
        trial_started(0),
        epoch_done(0, 1, accuracy=0.5),
        epoch_done(0, 2, accuracy=0.6),
    ]
    paused = [
        trial_ended(0, folder, state="INTERRUPTED", epochs=2),
        study_ended({"INTERRUPTED": 1}, None, state="INTERRUPTED"),
    ]
    write_journal(folder, [*first, *paused])
    replay_journal(folder, mlflow_root)
    before = runs_of(mlflow_root)
    assert (before["0"].info.status, before["parent"].info.status) == ("KILLED", "KILLED")
    assert before["0"].data.tags["state"] == "INTERRUPTED"

    write_journal(folder, [study_started(folder, resumed=True), trial_started(0, resumed_from=1)])
    replay_journal(folder, mlflow_root)
    between = runs_of(mlflow_root)
    assert (between["0"].info.status, between["parent"].info.status) == ("RUNNING", "RUNNING")

    again = [
        epoch_done(0, 2, accuracy=0.99, time_s=2e9),
        epoch_done(0, 3),
        epoch_done(0, 4),
        trial_ended(0, folder),
    ]
    write_journal(folder, [*again, study_ended({"COMPLETE": 1}, 0)])
    replay_journal(folder, mlflow_root)
    after = runs_of(mlflow_root)
    assert {key: run.info.run_id for key, run in after.items()} == {
        key: run.info.run_id for key, run in before.items()
    }
    assert (after["0"].info.status, after["0"].data.tags["state"]) == ("FINISHED", "COMPLETE")
    assert values_of(mlflow_root, after["0"], "valid_accuracy")[:2] == [(1, 0.5), (2, 0.6)], (
        "the first report of an epoch counts"
    )


def test_a_paused_trial_is_scheduled_until_it_goes_on_or_the_study_ends(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    first = [study_started(folder)]
    for number in (0, 1):
        first += [trial_started(number), epoch_done(number, 1)]
        first += [
            trial_ended(number, folder, state="PAUSED", epochs=1, reason="after epoch 1 of 4")
        ]
    write_journal(folder, first)
    replay_journal(folder, mlflow_root)
    paused = runs_of(mlflow_root)
    for number in ("0", "1"):
        run = paused[number]
        assert (run.info.status, run.data.tags["state"]) == ("SCHEDULED", "PAUSED")
        assert run.info.end_time is None and run.data.tags["reason"] == "after epoch 1 of 4"

    again = [trial_started(0, resumed_from=1), *(epoch_done(0, epoch) for epoch in (2, 3, 4))]
    ends = [trial_ended(0, folder), trial_ended(1, folder, state="PRUNED", epochs=1)]
    write_journal(folder, [*again, *ends, study_ended({"COMPLETE": 1, "PRUNED": 1}, 0)])
    replay_journal(folder, mlflow_root)
    after = runs_of(mlflow_root)
    assert (after["0"].info.status, after["0"].data.tags["state"]) == ("FINISHED", "COMPLETE")
    assert (after["1"].info.status, after["1"].data.tags["state"]) == ("KILLED", "PRUNED")
    assert [step for step, _ in values_of(mlflow_root, after["0"], "valid_accuracy")] == [
        1,
        2,
        3,
        4,
    ]


def test_a_store_made_anew_gets_the_whole_journal(mlflow_root: Path, mlflow_template: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    replay_journal(folder, mlflow_root)
    from mlflow.tracking import MlflowClient

    elsewhere = mlflow_root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    with contextlib.closing(sqlite3.connect(elsewhere / "mlflow.db")) as connection, connection:
        connection.execute("update experiments set creation_time = 1")  # not that of the template
    replay_journal(folder, elsewhere)
    assert set(runs_of(elsewhere)) == {"parent", "0", "1", "2", "3"}
    assert isinstance(client_of(elsewhere), MlflowClient)


def test_a_run_deleted_by_hand_does_not_stop_the_others(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    events = small_events(folder)
    write_journal(folder, events[:4])
    sender = Sender(Target(folder, mlflow_root))
    sender.send()
    client_of(mlflow_root).delete_run(runs_of(mlflow_root)["0"].info.run_id)
    write_journal(folder, events[4:])
    sender.send()
    assert sender.skipped
    runs = runs_of(mlflow_root)
    assert runs["3"].info.status == "FINISHED"


def test_the_listener_sends_in_the_background_and_close_waits_for_it(mlflow_root: Path) -> None:
    folder = mlflow_root / "made"
    listener = MlflowListener(Target(folder, mlflow_root))
    make_study(folder, 14, listener=listener)
    listener.close()
    assert listener.problem is None
    assert backlog(folder) == 0
    said = (
        r"tracking took (.*) s of a processor beside the trials, "
        r"and (.*) s at the end: .*% of \d+ s"
    )
    found = re.fullmatch(said, listener.cost())
    assert found is not None and float(found[1]) > 0 and float(found[2]) > 0
    listener._waited_s, listener._started = 1.0, time.monotonic() - 100.0
    assert listener.cost().endswith("1.0 s at the end: 1.0% of 100 s"), (
        "the sweep waits for the end alone"
    )
    runs = runs_of(mlflow_root)
    assert listener.experiment_id == runs["parent"].info.experiment_id
    assert len(runs) == 15
    assert not [run for run in runs.values() if run.info.status == "RUNNING"]
    assert "overview.html" in artifacts_of(mlflow_root, runs["parent"])


def test_overviews_are_drawn_from_the_journal_where_the_database_is_elsewhere(
    mlflow_root: Path,
) -> None:
    folder = mlflow_root / "made"
    make_study(folder, 6)
    (folder / "study.db").unlink()
    replay_journal(folder, mlflow_root)
    parent = runs_of(mlflow_root)["parent"]
    path = client_of(mlflow_root).download_artifacts(parent.info.run_id, "overview.html")
    text = Path(path).read_text()
    assert "Optimisation history" in text and "Timeline of slots" in text


def test_what_fresh_seeds_found_becomes_metrics(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    head = "rank,trial,search,mean,std,seeds,lower_95,values"
    (folder / "confirmed.csv").write_text(
        f"{head}\n1,3,0.943,0.941,0.002,3,0.938,a\n2,0,0.94,0.93,nan,1,-inf,b\n"
    )
    replay_journal(folder, mlflow_root)
    runs = runs_of(mlflow_root)
    expected = {
        "confirmed_mean": 0.941,
        "confirmed_std": 0.002,
        "confirmed_lower_95": 0.938,
        "confirmed_seeds": 3.0,
    }
    assert expected.items() <= runs["3"].data.metrics.items()
    assert "confirmed_std" not in runs["0"].data.metrics


def test_the_links_name_the_experiment_once_it_is_known(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    listener = MlflowListener(Target(folder, mlflow_root, figures=False))
    assert listener.links("digits") == []
    for event in small_events(folder):
        listener.handle(event)
    listener.close()
    runs, curves = listener.links("digits")
    assert f"/#/experiments/{listener.experiment_id}/runs?workflowType=machine_learning" in runs
    assert f"viewStateShareKey={view_key('digits')}" in runs and "searchFilter" not in runs
    assert curves.endswith("&compareRunsMode=CHART")


def test_a_study_s_view_is_stored_as_mlflow_stores_shared_ones(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    replay_journal(folder, mlflow_root)
    tags = client_of(mlflow_root).get_experiment_by_name("sweeps").tags
    value = tags[f"mlflow.sharedViewState.{view_key('digits')}"]
    head, _, body = value.partition(";")
    assert head == "deflate" and len(value) < 5000, "an experiment's tag holds 5,000 characters"
    view = json.loads(zlib.decompress(base64.b64decode(body)))
    assert view["searchFilter"] == 'tags.study = "digits"'
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`objective`", False)
    assert view["selectedColumns"][:2] == ["metrics.`objective`", "tags.`state`"]
    assert [chart.get("metricKey") for chart in view["compareRunCharts"][:2]] == [
        "valid_accuracy",
        "valid_loss",
    ]
    shut = {section["name"] for section in view["compareRunSections"] if not section["display"]}
    assert shut == {"activation_norm", "grad_norm"}


def test_a_server_that_refuses_the_view_gets_the_plain_link() -> None:
    class Refusing:
        def set_experiment_tag(self, *arguments: object) -> None:
            raise PermissionError("no")

    shared = share_view(Refusing(), "1", "digits")  # type: ignore[arg-type]
    assert not shared
    assert "searchFilter=tags.study" in runs_link("1", study="digits", shared=shared)


@pytest.fixture
def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Angry(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = b'{"error_code": "INTERNAL_ERROR", "message": "out of order, token=abc123456"}'
        self.send_response(500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the name that http.server asks for

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def angry_port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Angry)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Accepts connections (by its backlog) and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("server", ["dead_port", "angry_port", "silent_port"])
def test_a_server_that_does_not_work_costs_nothing_and_is_made_up_for_later(
    server: str, mlflow_root: Path, request: pytest.FixtureRequest
) -> None:
    port = request.getfixturevalue(server)
    folder = mlflow_root / "digits"
    events = small_events(folder)
    target = Target(folder, mlflow_root, uri=f"http://ann:s3cr3t@127.0.0.1:{port}")
    listener = MlflowListener(target, patience_s=0.3)
    for event in events:
        listener.handle(event)
    listener.close()
    assert listener.problem
    assert "s3cr3t" not in listener.problem
    assert "abc123456" not in listener.problem
    assert backlog(folder) == (folder / "events.jsonl").stat().st_size, "nothing is taken for sent"
    replay_journal(folder, mlflow_root)
    assert backlog(folder) == 0
    assert {key: run.info.status for key, run in runs_of(mlflow_root).items() if key in "03"} == {
        "0": "FINISHED",
        "3": "FINISHED",
    }


def test_two_objectives_are_two_metrics(mlflow_root: Path) -> None:
    folder = mlflow_root / "two"
    directions = ("maximize", "minimize")
    events: list[Event] = [
        study_started(folder, directions=directions),
        trial_started(0),
        trial_ended(0, folder, objective=(0.97, 5e5)),
    ]
    write_journal(folder, events)
    replay_journal(folder, mlflow_root)
    metrics = runs_of(mlflow_root)["0"].data.metrics
    assert (metrics["objective"], metrics["objective_2"]) == (0.97, 5e5)


def test_events_out_of_the_ordinary_do_not_stop_the_replay(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    odd: list[Event] = [
        study_started(folder),
        epoch_done(7, 1),  # a trial that was never announced
        replace(
            epoch_done(7, 2), metrics={"valid_loss": float("nan"), "valid_accuracy": float("inf")}
        ),
        trial_ended(7, folder, state="FAIL", reason="x" * 9000, epochs=0),
        study_ended({"FAIL": 1}, None, state="FAIL"),
    ]
    write_journal(folder, odd)
    assert replay_journal(folder, mlflow_root) == []
    runs = runs_of(mlflow_root)
    assert runs["7"].info.status == "FAILED"
    assert runs["parent"].info.status == "FAILED"
    assert isinstance(odd[-1], StudyEnded)
    assert isinstance(odd[1], EpochDone)
