"""How MLflow's UI shows our runs: the columns and charts that people compare by.

MLflow's Share button stores a view as a tag of the experiment, named by a key that the shared link
carries. We write that tag ourselves: its value is ``deflate;`` and the base64 of a zlib stream of
JSON, which holds the search (order and filter) and the state of the page (columns, charts,
sections). Observed in MLflow 3.17; for a server that refuses the tag we use a plain link.
"""

import base64
import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

UI_ADDRESS = "http://127.0.0.1:5000"
_TAG_PREFIX = "mlflow.sharedViewState."
_COLUMNS = (
    "metrics.`objective`",
    "tags.`state`",
    "params.`optimizer`",
    "params.`model_init`",
    "params.`model_filters`",
    "params.`model_dropout`",
    "params.`optimizer_lr`",
    "metrics.`duration_s`",
)
_COMPARED = ("valid_accuracy", "valid_loss")
_PARALLEL = ("model_filters", "model_dropout", "optimizer_lr", "optimizer", "model_init")
# The sections and how many charts each has in a row; the remaining metrics go into sections that
# MLflow names itself, of which those of the norms start closed.
_SECTIONS = {
    "Validation": 2,
    "Parameters and objective": 1,
    "Model metrics": 3,
    "activation_norm": 3,
    "grad_norm": 3,
}
_CLOSED = ("activation_norm", "grad_norm")


def view_key(study: str | None) -> str:
    """The key of a study's view, or of the view of all studies; always the same."""
    return hashlib.sha256(f"study {study or ''}".encode()).hexdigest()[:16]


def share_view(client: "MlflowClient", experiment_id: str, study: str | None) -> bool:
    """Store the view of a study, or of all, as a tag of the experiment; return whether the server
    accepted it.
    """
    value = "deflate;" + base64.b64encode(zlib.compress(json.dumps(_view(study)).encode())).decode()
    try:
        client.set_experiment_tag(experiment_id, _TAG_PREFIX + view_key(study), value)
    except Exception:  # no permission, a limit on tags, an older server: use the plain link
        return False
    return True


def runs_link(
    experiment_id: str,
    *,
    study: str | None = None,
    address: str = UI_ADDRESS,
    charts: bool = False,
    shared: bool = False,
) -> str:
    """The address of the page that lists an experiment's runs, children too, best objective first;
    `charts`: their curves; `shared`: with the stored view.

    The link names the kind of page because the UI otherwise opens the last one used; child runs are
    listed only when sorted by a metric. A link that also carries a search would not load the view.
    """
    link = f"{address}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    if shared:
        link += f"&viewStateShareKey={view_key(study)}"
    else:
        link += f"&orderByKey={quote('metrics.`objective`')}&orderByAsc=false"
        if study is not None:
            link += "&searchFilter=" + quote(_filter(study))
    return link + ("&compareRunsMode=CHART" if charts else "")


def _filter(study: str | None) -> str:
    return "" if study is None else f'tags.study = "{study}"'


def _view(study: str | None) -> dict[str, Any]:
    search = {
        "searchFilter": _filter(study),
        "orderByKey": "metrics.`objective`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
    }
    parallel = {
        **_chart("PARALLEL", "parallel", "Parameters and objective"),
        "selectedParams": list(_PARALLEL),
        "selectedMetrics": ["objective"],
        "showAllRuns": True,
        "isGenerated": False,
    }
    page = {
        "selectedColumns": list(_COLUMNS),
        "columnOrder": list(_COLUMNS),
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": [*(_line(name, "Validation") for name in _COMPARED), parallel],
        "compareRunSections": [_section(name, columns) for name, columns in _SECTIONS.items()],
        "isAccordionReordered": True,  # else MLflow sorts the sections by their names
        "hideEmptyCharts": True,
    }
    return search | page


def _section(name: str, columns: int) -> dict[str, Any]:
    return {
        "uuid": f"section-{name}",
        "name": name,
        "display": name not in _CLOSED,
        "columns": columns,
        "isReordered": False,
        "deleted": False,
        "isGenerated": True,
    }


def _chart(kind: str, name: str, section: str) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"chart-{name}",
        "metricSectionId": f"section-{section}",
        "runsCountToCompare": 20,
        "deleted": False,
        "isGenerated": True,
    }


def _line(name: str, section: str) -> dict[str, Any]:
    return {
        **_chart("LINE", name, section),
        "metricKey": name,
        "displayName": name,
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
