"""Which files a run gets as artifacts, and when they are drawn: curves when a trial ends, overviews
when the study ends.
"""

import csv
import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.events import TrialEnded
from pipeline.reporting.regression import _is_numeric, strongest
from pipeline.reporting.table import StudyTable, load_table, table_of_journal

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


STUDY_FILES = ("leaderboard.csv", "best.yaml", "ensemble.json")
FEWEST_FOR_OVERVIEW = 2

Artifacts = dict[str, bytes]


def trial_artifacts(
    event: TrialEnded,
    name: str,
    history: Mapping[int, Mapping[str, float]],
    *,
    figures: bool = True,
) -> Artifacts:
    """File name -> content for a trial that ended: its overrides, of a complete one its whole
    configuration, history, curves.
    """
    files: Artifacts = {}
    overrides = event.folder / "overrides.yaml"
    if overrides.is_file():
        files["overrides.yaml"] = overrides.read_bytes()
        if event.state == "COMPLETE" and (configuration := _composed(files["overrides.yaml"])):
            files["configuration.yaml"] = configuration.encode()
    if history:
        files["history.csv"] = _history_csv(history).encode()
        if figures:
            from pipeline.reporting.quick_curves import learning_curves_png

            title = name if event.state == "COMPLETE" else f"{name}: {event.state.lower()}"
            files["learning_curves.png"] = learning_curves_png(history, title)
    return files


def _composed(overrides: bytes) -> str | None:
    """The configuration that a trial's overrides compose to, as YAML without secrets; None where
    they no longer do.
    """
    import yaml

    from cnn_core.errors import InputError
    from pipeline.config import compose

    try:
        return compose(yaml.safe_load(overrides)["overrides"]).yaml
    except (InputError, yaml.YAMLError, KeyError, TypeError):
        return None


def study_artifacts(table: StudyTable) -> dict[str, Callable[[], bytes]]:
    """File name -> function that makes it, for a study that ended; what needs more trials than
    there are is left out.
    """
    makers: dict[str, Callable[[], bytes]] = {}
    for file in STUDY_FILES:
        path = table.folder / file
        if path.is_file():
            makers[file] = path.read_bytes
    if any(trial.spans for trial in table.trials):
        makers["pictures/timeline.png"] = lambda: _draw("timeline", table)
    searched = table.started is None or table.started.tags.get("kind") != "final"
    if searched and len(table.complete) >= FEWEST_FOR_OVERVIEW:
        makers |= _overviews(table)
    return makers


def _overviews(table: StudyTable) -> dict[str, Callable[[], bytes]]:
    from pipeline.reporting.interactive import interactive_page
    from pipeline.reporting.regression import fit_study

    regression = fit_study(table)
    names = strongest(table, regression)
    makers: dict[str, Callable[[], bytes]] = {
        "pictures/optimisation_history.png": lambda: _draw("optimisation_history", table),
        "pictures/parallel_coordinates.png": lambda: _draw("parallel_coordinates", table, names),
        "pictures/slices.png": lambda: _draw("slices", table, names),
    }
    if regression is not None:
        title = (
            f"{table.name}: what the objective depends on ({regression.explained:.0%} explained, "
            f"{regression.trials} trials)"
        )
        makers["pictures/importances.png"] = lambda: _draw("importances", regression.shares, title)
    numbers = [name for name in names if _is_numeric(table, name)]
    if len(numbers) >= 2 and len(table.complete) >= 5:
        makers["pictures/contour.png"] = lambda: _draw("contour", table, numbers[0], numbers[1])
    makers["interactive.html"] = lambda: interactive_page(table, names, regression).encode()
    return makers


def _draw(function: str, *arguments: object) -> bytes:
    from pipeline.reporting import figures, study_figures

    return figures.png(getattr(study_figures, function)(*arguments))


def _history_csv(history: Mapping[int, Mapping[str, float]]) -> str:
    names = list(dict.fromkeys(name for metrics in history.values() for name in metrics))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *names])
    writer.writerows(
        [epoch, *(metrics.get(name, "") for name in names)]
        for epoch, metrics in sorted(history.items())
    )
    return text.getvalue()


def log_artifacts(client: "MlflowClient", run_id: str, files: Mapping[str, bytes]) -> None:
    """Uploads the files in one call."""
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="artifacts-") as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        client.log_artifacts(run_id, folder)


def read_table(folder: Path, name: str) -> StudyTable | None:
    """The study's table: from its own database, else (another kind of database, one that is locked)
    from its journal.
    """
    try:
        return load_table(folder, name)
    except Exception:  # whatever ails the database must not stop the tracking of runs
        return table_of_journal(folder)
