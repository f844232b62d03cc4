"""The bundle as a registered MLflow model: from code, with signature and example, in a child run
of its study's.
"""

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_core.data.image_form import ImageForm
from pipeline.bundle.predictor import Bundle
from pipeline.configuration import Config
from pipeline.records.typed_json import plain
from pipeline.tracking.store import Store, brought_home, open_store, resolve_uri

_LONGEST_TAG = 5000  # signs: a limit of MLflow's


@dataclass(frozen=True)
class Registered:
    """Where the model is: its name and version in the registry, and a URI that `mlflow models serve
    -m` takes.
    """

    name: str
    version: str
    uri: str
    tracking_uri: str


def register(config: Config, bundle: Bundle, folder: Path) -> Registered:
    """Log the bundle in `folder` as a model of a new run, child of the study's run, and register it
    under the study's name.

    Raises whatever MLflow raises where its store cannot be reached.
    """
    uri = resolve_uri(config.tracking.uri, config.root)
    for line in brought_home(config.tracking.uri, config.root):
        print(line)
    store = open_store(uri, config.root, config.tracking.experiment)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    parent = _study_run(store.client, store.experiment_id, config.study.name)
    run_id = _create_run(store, config.study.name, bundle, parent)
    try:
        name = f"{config.study.name}-final"
        # MLflow writes to stderr whatever its log level.
        quietly = contextlib.redirect_stderr(io.StringIO())
        with warnings.catch_warnings(), quietly, tracking_uri(uri):
            warnings.simplefilter("ignore")  # MLflow's, about its schema and type hints
            info = _log(run_id, bundle, folder, name)
        for key, value in _metrics(bundle).items():
            store.client.log_metric(run_id, key, value)
        if parent is not None:
            store.client.set_tag(parent, "final_model", info.model_uri)
        store.client.set_terminated(run_id, "FINISHED")
    except BaseException:
        store.client.set_terminated(run_id, "FAILED")
        raise
    return Registered(
        name,
        str(info.registered_model_version),
        f"models:/{name}/{info.registered_model_version}",
        uri,
    )


@contextlib.contextmanager
def tracking_uri(uri: str) -> Iterator[None]:
    """Have MLflow's own functions use this store, and afterwards the one that the process chose."""
    import mlflow

    known = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]
    before: Any = mlflow.get_tracking_uri() if known else None  # None is the default
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def _create_run(store: Store, study: str, bundle: Bundle, parent: str | None) -> str:
    tags = {
        "study": study,
        "kind": "final",
        "model_digest": bundle.manifest.digest[:16],
        "class_names": ", ".join(bundle.class_names)[:_LONGEST_TAG],
        "form": bundle.form.lines(),
    }
    if parent is not None:  # explicit, since a run id in the environment would win otherwise
        tags["mlflow.parentRunId"] = parent
    run = store.client.create_run(store.experiment_id, run_name=f"final {study}", tags=tags)
    return str(run.info.run_id)


def _log(run_id: str, bundle: Bundle, folder: Path, name: str):  # type: ignore[no-untyped-def]
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    dtype, shape = taken(bundle.form)
    example = np.zeros((1, *bundle.image_shape), dtype)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(dtype, (-1, *shape))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, bundle.classes))]),
    )
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        mlflow.start_run(run_id=run_id),
    ):
        code = Path(scratch) / "model.py"
        code.write_text(
            (Path(__file__).parent / "mlflow_code.py").read_text(encoding="utf-8"), encoding="utf-8"
        )
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(code),
            artifacts={"bundle": folder.absolute().as_uri()},
            signature=signature,
            metadata={
                "class_names": list(bundle.class_names),
                "form": plain(bundle.form),
            },
            input_example=example,
            registered_model_name=name,
            pip_requirements=[f"numpy=={np.__version__}", f"mlflow=={mlflow.__version__}"],
        )


def taken(form: ImageForm) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype and the shape, -1 where any size will do, of the pictures that a model
    takes: bytes where training had bytes, and other sizes where the form brings them to its own.
    """
    dtype = np.dtype(np.uint8 if form.full_scale == 255 else np.float64)
    fixed = form.other_sizes == "refuse" and form.normalize == "none"
    return dtype, form.shape if fixed else (-1, -1, -1)


def _study_run(client, experiment_id: str, study: str) -> str | None:  # type: ignore[no-untyped-def]
    """Return the id of the study's own run: tagged with the study, without a parent."""
    runs = client.search_runs(
        [experiment_id],
        f"tags.study = '{study}'",
        max_results=1000,
        order_by=["attributes.start_time ASC"],
    )
    for run in runs:
        if "mlflow.parentRunId" not in run.data.tags and run.data.tags.get("kind") != "final":
            return str(run.info.run_id)
    return None


def _metrics(bundle: Bundle) -> dict[str, float]:
    scores = bundle.manifest.scores
    found = {
        f"out_of_fold_{name}_accuracy": score.accuracy
        for name, score in (scores.out_of_fold or {}).items()
    }
    return found if scores.objective is None else {**found, "objective": scores.objective}
