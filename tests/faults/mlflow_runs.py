"""Whether the runs in a root's MLflow store say what the study says."""

from pathlib import Path
from typing import Any

from tests.faults.harness import Case

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
TRACKED = ("tracking=mlflow", "tracking.figures=false")  # what a case adds to its command


def runs(client: Any) -> dict[int | None, list[Any]]:
    """Return the store's runs by trial; None for the parent."""
    found: dict[int | None, list[Any]] = {}
    experiments = [each.experiment_id for each in client.search_experiments()]
    token = None
    while True:
        page = client.search_runs(experiments, max_results=1000, page_token=token)
        for run in page:
            trial = run.data.tags.get("trial")
            found.setdefault(None if trial is None else int(trial), []).append(run)
        token = page.token
        if not token:
            return found


def agree(case: Case, store: Path | None = None) -> None:
    """Each trial has one run, of the status and objective that the study says; nothing was logged
    twice.
    """
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{store or case.root / 'mlflow.db'}")
    found = runs(client)
    (parent,) = found.pop(None)
    assert parent.info.status == "FINISHED"
    trials = case.trials()
    assert sorted(number for number in found if number is not None) == [
        trial["number"] for trial in trials
    ]
    for trial in trials:
        (run,) = found[trial["number"]]
        assert run.info.status == STATUS[trial["state"]]
        assert run.data.tags["state"] == trial["state"]
        history = [
            metric.step for metric in client.get_metric_history(run.info.run_id, "valid_accuracy")
        ]
        assert history == list(range(1, len(history) + 1))
        assert trial["state"] != "COMPLETE" or len(history) == len(trial["steps"])
        if trial["state"] == "COMPLETE":
            assert run.data.metrics["objective"] == trial["value"]
