"""Final nets in MLflow: runs below one parent, with curves, whatever was trained before or
interrupted in between.
"""

import io
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline import final, journal
from pipeline.configuration import command_line
from pipeline.ensemble.nets import net_jobs, one_line_at_a_time, runs_folder
from pipeline.files import StudyPaths
from pipeline.slots.stop_request import Stop
from tests.pipeline.final_study import FINAL_ARGUMENTS

ARGUMENTS = [*(text for text in FINAL_ARGUMENTS if text != "tracking=none"), "slots.n=2"]


@pytest.fixture(scope="module")
def tracked(
    final_root: Path, mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A study whose final nets are there but one, which is trained now; run again, interrupted in
    the middle, and run to its end.
    """
    root = tmp_path_factory.mktemp("tracked")
    shutil.copytree(final_root, root, dirs_exist_ok=True)
    shutil.copy(mlflow_template, root / "mlflow.db")
    missing = sorted(StudyPaths(root, "small").final.rglob("weights.npz"))[-1].parent
    (missing / "weights.npz").unlink()
    assert _interrupted(root) == 130
    assert not (missing / "weights.npz").exists()
    assert _run(root) == 0
    assert _run(root) == 0
    return root


def _run(root: Path) -> int:
    return command_line(final.FINAL, [*ARGUMENTS, f"root={root}"], final.main)


def _interrupted(root: Path) -> int:
    """Run until the first epoch is told of."""
    with pytest.MonkeyPatch.context() as patch:
        stops: list[Stop] = []

        class Kept(Stop):
            def __init__(self) -> None:
                super().__init__()
                stops.append(self)

        line = final.FinalJobs.line

        def stopping(self: Any, *arguments: Any) -> str:
            stops[0].request("interrupted", 130)
            return line(self, *arguments)

        patch.setattr(final, "Stop", Kept)
        patch.setattr(final.FinalJobs, "line", stopping)
        return _run(root)


def _runs(root: Path) -> tuple[Any, dict[str, Any], Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sweeps")
    runs = client.search_runs([experiment.experiment_id])
    found = {run.info.run_name: run for run in runs}
    assert len(found) == len(runs) == 9, "eight nets, once each, and their parent"
    return found.pop("small final"), found, client


def test_each_net_is_a_run_with_its_curves_below_a_parent_that_names_the_study(
    tracked: Path,
) -> None:
    parent, nets, client = _runs(tracked)
    assert (
        parent.data.tags["study"] == "small"
        and parent.data.tags["kind"] == "final"
        and parent.info.status == "FINISHED"
    )
    assert {name.split(" ", 2)[2] for name in nets} == {
        "all images 1/2",
        "all images 2/2",
        "fold 1/2",
        "fold 2/2",
    }
    for name, run in nets.items():
        assert (
            name.startswith("final m")
            and run.info.status == "FINISHED"
            and run.data.tags["state"] == "COMPLETE"
        )
        assert (
            run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            and run.data.tags["study"] == "small"
        )
        assert (
            run.data.params["member"] == name.split()[1]
            and float(run.data.params["optimizer_lr"]) > 0
        )
        judged = "fold" in name  # where all images train, none validates
        history = client.get_metric_history(
            run.info.run_id, "valid_accuracy" if judged else "train_loss"
        )
        assert [metric.step for metric in history] == [1, 2, 3]
        times = [metric.timestamp for metric in history]
        assert times == sorted(times) and run.data.metrics.get("objective") == (
            history[-1].value if judged else None
        )
        assert ("valid_accuracy" in run.data.metrics) == judged
        assert {item.path for item in client.list_artifacts(run.info.run_id)} >= {
            "history.csv",
            "learning_curves.svg",
            "configuration.yaml",
        }


def test_the_parent_holds_the_ensemble(tracked: Path) -> None:
    parent, nets, client = _runs(tracked)
    metrics = parent.data.metrics
    assert (
        metrics["objective"] == metrics["ensemble_proxy_accuracy"]
        and metrics["members"] == 2
        and metrics["trials_complete"] == len(nets)
    )
    assert metrics["gain_proxy"] == pytest.approx(
        metrics["ensemble_proxy_accuracy"] - metrics["best_member_proxy_accuracy"]
    )
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} >= {
        "ensemble.json",
        "configuration.yaml",
        "overview.html",
    }
    page = Path(client.download_artifacts(parent.info.run_id, "overview.html"))
    assert "timeline" in page.read_text().lower()


def test_the_journal_holds_each_epoch_once_and_the_interruption(tracked: Path) -> None:
    (folder,) = StudyPaths(tracked, "small").final.glob("runs/*")
    events = journal.read_all(folder)
    epochs = [
        (event.number, event.epoch)
        for event in events
        if isinstance(event, journal.events.EpochDone)
    ]
    assert sorted(epochs) == [(net, epoch) for net in range(8) for epoch in (1, 2, 3)]
    ends = [event.state for event in events if isinstance(event, journal.events.TrialEnded)]
    assert sorted(ends) == ["COMPLETE"] * 8 + ["INTERRUPTED"]
    assert [event.state for event in events if isinstance(event, journal.events.StudyEnded)] == [
        "INTERRUPTED",
        "COMPLETE",
        "COMPLETE",
    ]


def test_another_plan_has_a_parent_of_its_own(tracked: Path) -> None:
    def folder(*more: str) -> Path:
        members = final.plan(
            final.compose([*ARGUMENTS, *more, f"root={tracked}"], final.FINAL)
        ).members
        paths = StudyPaths(tracked, "small")
        return runs_folder(paths, net_jobs(members, paths))

    assert folder().is_dir() and not folder("final.epochs=4").exists()


def test_lines_of_several_threads_stay_whole() -> None:
    text = io.StringIO()

    def slow(line: str) -> None:
        for sign in (*line, "\n"):
            text.write(sign)
            time.sleep(0.0001)

    say = one_line_at_a_time(slow)
    threads = [threading.Thread(target=say, args=(sign * 20,)) for sign in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(text.getvalue().splitlines()) == [sign * 20 for sign in "abcdef"]
