"""The files that a run stores as artifacts: a trial's when it ends, the study's and the best
trial's when the study ends.
"""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_core.plain_json import DamagedError
from pipeline.events import TrialEnded
from pipeline.files import TrialPaths
from pipeline.picture_sheet import CONTACT_SHEET
from pipeline.redact import redact
from pipeline.reporting.course_charts import learning_curves
from pipeline.reporting.page import overview
from pipeline.reporting.svg import standalone
from pipeline.reporting.table import StudyTable, load_table, table_of_journal
from pipeline.sqlite_files import unsound_sqlite
from pipeline.structured_text import MOST_YAML_BYTES, csv_lines, own_bytes, parse_yaml

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


BEST = "best.yaml"
STUDY_FILES = ("leaderboard.csv", BEST, "ensemble.json", CONTACT_SHEET)

Artifacts = dict[str, bytes]


def trial_artifacts(
    event: TrialEnded,
    name: str,
    history: Mapping[int, Mapping[str, float]],
    *,
    figures: bool = True,
) -> Artifacts:
    """File name -> content for a trial that ended: its overrides, history and curves, and for a
    complete trial its whole configuration.
    """
    files: Artifacts = {}
    overrides = event.folder / "overrides.yaml"
    if overrides.is_file():
        content = own_bytes(overrides, MOST_YAML_BYTES)
        files["overrides.yaml"] = redact(content.decode(errors="replace")).encode()
        if event.state == "COMPLETE" and (configuration := _composed(content)):
            files["configuration.yaml"] = configuration.encode()
    if history:
        files["history.csv"] = _history_csv(history).encode()
        if figures:
            title = name if event.state == "COMPLETE" else f"{name}: {event.state.lower()}"
            files["learning_curves.svg"] = standalone(learning_curves(history, title)).encode()
    return files


def _composed(overrides: bytes) -> str | None:
    """The configuration that a trial's overrides compose to, as YAML without secrets; None where
    they no longer do.
    """
    from cnn_core.errors import InputError
    from pipeline.configuration import compose

    try:
        return compose(parse_yaml(overrides)["overrides"]).yaml
    except (InputError, DamagedError, KeyError, TypeError, AttributeError):
        return None


def study_artifacts(folder: Path, name: str) -> Artifacts:
    """File name -> content for a study that ended: its tables, and the page with its charts."""
    files = {file: own_bytes(folder / file) for file in STUDY_FILES if (folder / file).is_file()}
    if BEST in files:
        files[BEST] = redact(files[BEST].decode(errors="replace")).encode()
    table = read_table(folder, name)
    if table is not None and table.trials:
        files["overview.html"] = overview(table).encode()
    return files


def best_artifacts(folder: Path) -> Artifacts:
    """File name -> picture of the net of a study's best trial; empty where its weights were not
    kept, or cannot be used: the runs are worth more than a picture.
    """
    from cnn_core.errors import InputError
    from pipeline.reporting.net_pictures import draw_net

    if TrialPaths(folder).weights.is_file():
        with suppress(InputError, OSError, ValueError, KeyError):
            return draw_net(folder).files()
    return {}


def _history_csv(history: Mapping[int, Mapping[str, float]]) -> str:
    names = list(dict.fromkeys(name for metrics in history.values() for name in metrics))
    epochs = sorted(history.items())
    rows = [[epoch, *(metrics.get(name, "") for name in names)] for epoch, metrics in epochs]
    return csv_lines([["epoch", *names], *rows])


def log_artifacts(client: "MlflowClient", run_id: str, files: Mapping[str, bytes]) -> None:
    """Uploads the files in one call."""
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="artifacts-", ignore_cleanup_errors=True) as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        client.log_artifacts(run_id, folder)


def read_table(folder: Path, name: str) -> StudyTable | None:
    """The study's table from its own database, or from its journal where that cannot be read
    (another kind of database, a locked one, one that must not be opened).
    """
    try:
        if unsound_sqlite(folder / "study.db"):
            return table_of_journal(folder)
        return load_table(folder, name)
    except Exception:  # no problem of the database may stop the tracking of runs
        return table_of_journal(folder)
