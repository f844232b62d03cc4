"""The registered MLflow model: from code, without a pickle, linked to its study, served."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.bundle.predictor import load
from pipeline.configuration import compose


@pytest.fixture
def folder(final_root: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that may be damaged."""
    return shutil.copytree(final_root / "small" / "bundle", tmp_path / "bundle")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (130, 1, 8, 8), dtype=np.uint8)


@pytest.fixture
def registered(final_root: Path, mlflow_root: Path) -> tuple[str, str]:
    """The model registered in a store of its own; its URI and the store's."""
    from pipeline.bundle.mlflow_model import register

    config = compose(["study.name=small", f"root={mlflow_root}"])
    folder = final_root / "small" / "bundle"
    found = register(config, load(folder), folder)
    return found.uri, found.tracking_uri


def test_mlflow_loads_the_model_from_code_without_a_pickle(
    registered: tuple[str, str],
    final_root: Path,
    images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(registered[1])
    model = mlflow.pyfunc.load_model(registered[0])
    np.testing.assert_allclose(
        model.predict(images),
        load(final_root / "small" / "bundle").predict_proba(images),
        atol=1e-6,
    )
    schema = model.metadata.signature.inputs.inputs[0]
    assert schema.shape == (-1, -1, -1, -1) and schema.type == np.dtype(np.uint8)
    large = np.repeat(np.repeat(images[:3], 5, axis=2), 5, axis=3)  # brought to 8x8 by the form
    bundle = load(final_root / "small" / "bundle")
    np.testing.assert_allclose(
        model.predict(large), bundle.predict_proba(bundle.prepared(large)), atol=1e-6
    )
    assert model.metadata.metadata["class_names"] == [str(k) for k in range(10)]
    assert model.metadata.metadata["form"]["height"] == 8
    location = Path(mlflow.artifacts.download_artifacts(registered[0]))
    assert not [p for p in location.rglob("*") if p.suffix in (".pkl", ".pickle", ".joblib")]


def test_changed_code_is_not_run(folder: Path) -> None:
    from types import SimpleNamespace

    from pipeline.bundle.mlflow_code import BundleModel

    context = SimpleNamespace(artifacts={"bundle": str(folder)})
    model = BundleModel()
    model.load_context(context)
    assert model.bundle.classes == 10
    marker = folder / "ran"
    (folder / "predict.py").write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises(ValueError, match=r"predict.py was changed"):
        model.load_context(context)
    assert not marker.exists()


def test_the_run_is_a_child_of_its_study_s_run(final_root: Path, mlflow_root: Path) -> None:
    from pipeline.bundle.mlflow_model import register
    from pipeline.tracking.store import open_store, resolve_uri

    store = open_store(resolve_uri(None, mlflow_root), mlflow_root, "sweeps")
    parent = store.client.create_run(store.experiment_id, tags={"study": "small"}).info.run_id
    config = compose(["study.name=small", f"root={mlflow_root}"])
    folder = final_root / "small" / "bundle"
    found = register(config, load(folder), folder)
    (child,) = store.client.search_runs(
        [store.experiment_id], f"tags.mlflow.parentRunId = '{parent}'"
    )
    assert (
        child.info.status == "FINISHED" and child.data.metrics["out_of_fold_clean_accuracy"] > 0.3
    )
    tags, digest = child.data.tags, load(folder).manifest.digest
    assert tags["study"] == "small" and tags["kind"] == "final"
    assert tags["model_digest"] == digest[:16] and "8x8" in tags["form"]
    assert "final_model" in store.client.get_run(parent).data.tags
    version = store.client.get_model_version(found.name, found.version)
    assert version.run_id == child.info.run_id
    logged = store.client.get_logged_model(version.source.removeprefix("models:/"))
    assert logged.name == "model", "what the page of the run calls it"


def test_what_a_moved_store_was_given_back_is_said_before_it_is_opened(
    final_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from pipeline.bundle import mlflow_model

    def absent(*_: object) -> None:
        raise ConnectionError("no store")

    monkeypatch.setattr(mlflow_model, "brought_home", lambda uri, root: [f"moved to {root}"])
    monkeypatch.setattr(mlflow_model, "open_store", absent)
    bundle = final_root / "small" / "bundle"
    with pytest.raises(ConnectionError, match="no store"):
        mlflow_model.register(compose([f"root={tmp_path}"]), load(bundle), bundle)
    assert capsys.readouterr().out == f"moved to {tmp_path}\n"


def test_the_study_s_run_is_neither_a_trial_s_nor_a_final_one() -> None:
    from pipeline.bundle.mlflow_model import _study_run

    tags: list[dict[str, str]] = [{"kind": "final"}, {"mlflow.parentRunId": "a"}, {}, {}]
    runs = [
        SimpleNamespace(info=SimpleNamespace(run_id=f"run{k}"), data=SimpleNamespace(tags=found))
        for k, found in enumerate(tags)
    ]
    for count, expected in ((4, "run2"), (2, None), (0, None)):
        client = SimpleNamespace(search_runs=lambda *_, n=count, **__: runs[:n])
        assert _study_run(client, "1", "small") == expected


@pytest.mark.slow
def test_mlflow_serves_it(
    registered: tuple[str, str], final_root: Path, images: np.ndarray
) -> None:
    import socket
    import time

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": registered[1],
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
    }
    command = [
        bin_folder / "mlflow",
        "models",
        "serve",
        "-m",
        registered[0],
        "--env-manager",
        "local",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    server = subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        body = json.dumps({"inputs": images[:5].tolist()}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        for _ in range(120):
            try:
                answer = json.load(urllib.request.urlopen(request, timeout=5))
                break
            except OSError:
                time.sleep(0.5)
        np.testing.assert_allclose(
            answer["predictions"],
            load(final_root / "small" / "bundle").predict_proba(images[:5]),
            atol=1e-6,
        )
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)
