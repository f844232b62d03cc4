"""The SQLite store is made whole or not at all; what its experiments are, whoever changed them."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST

from pipeline.tracking import store
from pipeline.tracking.store import Known, open_store, resolve_uri

MAKE = """
import sys
from pathlib import Path
from pipeline.tracking.store import open_store, resolve_uri
root = Path(sys.argv[1])
open_store(resolve_uri(None, root), root, "e")
"""


def test_a_store_whose_making_was_killed_is_made_again(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKE, str(tmp_path)], cwd=Path(__file__).parents[2]
    ) as process:
        while (
            process.poll() is None
            and not list(tmp_path.glob(".mlflow.db.new*"))
            and not (tmp_path / "mlflow.db").exists()
        ):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "mlflow.db").exists()  # killed while the schema was being made
    made = open_store(resolve_uri(None, tmp_path), tmp_path, "e")
    assert made.client.get_experiment(made.experiment_id).name == "e"
    assert [path.name for path in tmp_path.glob("*.db")] == ["mlflow.db"]


class Experiments:
    """A client of experiments whose answers are given: an error is raised."""

    def __init__(self, **answers: object) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def answer(*_: object, **__: object) -> object:
            found = self._answers.get(name)
            if isinstance(found, Exception):
                raise found
            return found

        return answer


def refused(code: int) -> MlflowException:
    return MlflowException("no", code)


def test_the_birth_of_a_store_is_unknown_where_its_first_experiment_is_gone() -> None:
    made = SimpleNamespace(creation_time=7)
    assert store._born(Experiments(get_experiment=made)) == 7  # type: ignore[arg-type]
    gone = Experiments(get_experiment=refused(RESOURCE_DOES_NOT_EXIST))
    assert store._born(gone) == 0  # type: ignore[arg-type]
    with pytest.raises(MlflowException):
        store._born(Experiments(get_experiment=refused(INTERNAL_ERROR)))  # type: ignore[arg-type]


def test_a_known_experiment_that_is_gone_has_no_new_name() -> None:
    known = Known(7, "3", "sweeps")
    gone = Experiments(get_experiment=refused(RESOURCE_DOES_NOT_EXIST))
    assert store._renamed(gone, known) is None  # type: ignore[arg-type]
    down = Experiments(get_experiment=refused(INTERNAL_ERROR))
    with pytest.raises(MlflowException):
        store._renamed(down, known)  # type: ignore[arg-type]


def test_an_experiment_that_another_process_made_first_is_used() -> None:
    answers = iter([None, SimpleNamespace(lifecycle_stage="active", experiment_id=4), None, None])
    faster = Experiments(create_experiment=refused(INTERNAL_ERROR))
    faster.get_experiment_by_name = lambda name: next(answers)  # type: ignore[attr-defined]
    assert store._experiment(faster, "sweeps", None, "x") == "4"  # type: ignore[arg-type]
    with pytest.raises(MlflowException):  # and where there is none after all, it failed
        store._experiment(faster, "sweeps", None, "x")  # type: ignore[arg-type]


def test_a_server_is_opened_without_anything_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_opened", lambda *given: given)
    uri = "http://127.0.0.1:1"
    assert open_store(uri, tmp_path / "root", "sweeps") == (uri, "sweeps", None, None)
    assert not (tmp_path / "root").exists()
