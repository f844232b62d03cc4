"""What a study leaves to look at: a journal of events, MLflow runs, pictures, and the live view in the terminal."""

from pathlib import Path

from pipeline.search.events import Listener
from pipeline.tracking.mlflow import MlflowListener
from pipeline.tracking.spool import EventLog


def tracking_listener(
    name: str, *, root: Path, folder: Path, uri: str | None = None, experiment: str = "sweeps", figures: bool = True
) -> Listener:
    """The listener of `tracking.name`: `mlflow` sends the journal to MLflow, `none` only keeps the journal in the study's folder."""
    if name == "none":
        return EventLog(folder)
    return MlflowListener(root=root, folder=folder, uri=uri, experiment=experiment, figures=figures)
