"""Fixtures that tests of tracking, report and demo share."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database: making its schema takes a second, copying it none."""
    from pipeline.tracking.store import open_store, resolve_uri

    root = tmp_path_factory.mktemp("mlflow-template")
    open_store(resolve_uri(None, root), root, "template")
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        connection.execute("delete from experiments where name = 'template'")
    return root / "mlflow.db"


@pytest.fixture
def mlflow_root(tmp_path: Path, mlflow_template: Path) -> Path:
    """A root with an MLflow database in it."""
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def made_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a made-up study of 80 trials (read it only)."""
    from tests.pipeline.studies import make_study

    folder = tmp_path_factory.mktemp("root") / "made"
    make_study(folder, 80)
    return folder


@pytest.fixture(scope="session")
def final_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the study "small": a sweep on digits, two final members on two folds, their
    ensemble and bundle (read it only).
    """
    from tests.pipeline.final_study import make_final_study

    return make_final_study(tmp_path_factory.mktemp("final"))
