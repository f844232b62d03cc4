"""A bundle leaves the house: verified when loaded, run with NumPy alone, the same in ONNX, in
MLflow a model from code.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import rotate

from cnn_core.errors import InputError
from cnn_core.layers import Dense, Flatten, MomentNormalization
from cnn_core.model import Sequential
from pipeline import export
from pipeline.bundle.predictor import Bundle, Net, load
from pipeline.bundle.running import open_bundle
from pipeline.bundle.writing import operations_of
from pipeline.configuration import command_line
from pipeline.ensemble.assemble import assemble
from pipeline.ensemble.methods import Combination
from pipeline.files import StudyPaths, sha256_file
from pipeline.records.manifest import BundleError, Combine, manifest_digest
from pipeline.records.typed_json import plain
from tests.pipeline.made_manifest import made_manifest

ort = pytest.importorskip("onnxruntime")


@pytest.fixture
def folder(final_root: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that may be damaged."""
    return shutil.copytree(final_root / "small" / "bundle", tmp_path / "bundle")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (130, 1, 8, 8), dtype=np.uint8)


def test_the_folder_holds_all_that_its_reader_needs(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    files = [net["file"] for member in manifest["members"] for net in member["nets"]]
    assert len(files) == 4 and all("-all" in file for file in files), (
        "where nets saw all images, they predict"
    )
    assert all(
        net["sha256"] == sha256_file(folder / net["file"])
        for m in manifest["members"]
        for net in m["nets"]
    )
    for name in (
        "config.yaml",
        "scores.json",
        "LICENCE-DATA.txt",
        "predict.py",
        "README.md",
        "model.onnx",
    ):
        assert (folder / name).stat().st_size > 50
    assert "CC BY" in (folder / "LICENCE-DATA.txt").read_text()
    assert manifest["scores"]["out_of_fold"]["clean"]["accuracy"] > 0.3


def test_the_ensemble_is_the_mean_of_views_nets_and_members_by_hand(
    folder: Path, images: np.ndarray
) -> None:
    bundle = load(folder)
    rolled = []
    x = images.transpose(1, 2, 3, 0).astype(np.float32) / 255
    moved = rotate(
        x, 10, axes=(1, 2), reshape=False, order=1, mode="grid-constant"
    )  # the second view
    for member, nets in zip(bundle.manifest.members, bundle.nets, strict=True):
        powers = [
            np.exp(net.logits(view).astype(np.float64) / member.temperature)
            for view in (x, moved)
            for net in nets
        ]
        rolled.append(np.mean([p / p.sum(axis=0) for p in powers], axis=0).T)
    combine = bundle.manifest.combine
    want = Combination(
        method="uniform", weights=combine.weights or (), temperature=combine.temperature or 1.0
    ).apply(np.stack(rolled))
    np.testing.assert_allclose(bundle.predict_proba(images), want, atol=2e-5)
    np.testing.assert_allclose(bundle.predict_proba(images.reshape(130, 64)), want, atol=2e-5)


def test_predict_py_runs_with_numpy_alone(folder: Path, images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", images)
    guard = (
        "import sys, runpy\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name.partition('.')[0] not in ('pipeline', 'cnn_core', 'scipy', 'joblib', "
        "'hydra'), name\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.argv = ['predict.py', {str(tmp_path / 'x.npy')!r}, {str(tmp_path / 'y.txt')!r}]\n"
        f"runpy.run_path({str(folder / 'predict.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", guard],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    labels = [int(line) for line in (tmp_path / "y.txt").read_text().split()]
    assert labels == load(folder).predict_proba(images).argmax(axis=1).tolist()


def test_changed_files_are_refused(folder: Path) -> None:
    weights = next((folder / "weights").iterdir())
    content = weights.read_bytes()
    weights.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    with pytest.raises(
        InputError, match=r"changed after it was written: digest .* expected .*weights"
    ):
        open_bundle(folder)
    weights.unlink()
    with pytest.raises(InputError, match="file of the bundle is missing"):
        open_bundle(folder)


def test_a_changed_or_foreign_manifest_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"classes": 11}))
    with pytest.raises(InputError, match="manifest was changed"):
        open_bundle(folder)
    newer = manifest | {"format": 2}
    path.write_text(json.dumps(newer | {"digest": manifest_digest(newer)}))
    with pytest.raises(InputError, match="must have format 1, got 2"):
        open_bundle(folder)
    strange = json.loads(json.dumps(manifest))
    strange["members"][0]["nets"][0]["operations"][0]["op"] = "rotation"
    path.write_text(json.dumps(strange | {"digest": manifest_digest(strange)}))
    with pytest.raises(
        InputError, match=r"operations must be known here, got rotation in .*manifest\.json"
    ):
        open_bundle(folder)
    path.write_text("{")
    with pytest.raises(InputError, match="readable and complete"):
        open_bundle(folder)


def test_images_that_do_not_fit_are_refused(folder: Path) -> None:
    bundle = load(folder)
    for wrong in (
        np.zeros((2, 28, 28), np.uint8),
        np.zeros((2, 8, 1, 8), np.uint8),
        np.zeros((2, 8, 8), np.float32),
    ):
        with pytest.raises(BundleError, match="images must be"):
            bundle.predict_proba(wrong)


def test_onnx_holds_the_whole_ensemble(folder: Path, images: np.ndarray) -> None:
    session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    probabilities, labels = session.run(None, {"images": images})
    want = load(folder).predict_proba(images)
    np.testing.assert_allclose(probabilities, want, atol=1e-5)
    np.testing.assert_array_equal(labels, want.argmax(axis=1))


def _bundle(
    operations: list[dict[str, object]], arrays: dict[str, np.ndarray], combine: Combine
) -> Bundle:
    view = [0.9, 0.1, 0.4, -0.1, 1.1, -0.6]
    manifest = made_manifest((2, 9, 8), 4, (1.7, 0.6), combine, [[1, 0, 0, 0, 1, 0], view])
    return Bundle(manifest, [[Net(operations, arrays)], [Net(operations, arrays)]])


@pytest.mark.parametrize("method", ["weighted", "geometric", "stacking"])
def test_onnx_of_every_operation_and_all_ways_of_joining(method: str) -> None:
    from pipeline.bundle.onnx_ensemble import check_against_numpy, onnx_model

    rng = np.random.default_rng(0)
    arrays = {
        "c.W": rng.standard_normal((5, 2, 3, 2)) / 3,
        "n.scale": rng.uniform(0.5, 1, 5),
        "f.scale": rng.uniform(0.5, 1, 6),
        "e.W": rng.standard_normal((4, 6)),
    }
    arrays |= {
        name: rng.standard_normal(width)
        for name, width in (("c.b", 5), ("n.shift", 5), ("d.b", 6), ("f.shift", 6), ("e.b", 4))
    }
    pool = {"op": "pooling", "size": [2, 2], "stride": [2, 2], "padding": [1, 0, 0, 1]}
    operations: list[dict[str, object]] = [
        {"op": "convolution", "W": "c.W", "b": "c.b", "stride": [1, 1], "padding": [1, 0, 2, 1]},
        {"op": "scale_shift", "flat": False, "scale": "n.scale", "shift": "n.shift"},
        {"op": "leaky_relu", "slope": 0.1},
        pool | {"kind": "max", "padding": [0, 0, 0, 0]},
        pool | {"kind": "average"},
        {"op": "tanh"},
        {
            "op": "pooling",
            "kind": "lp",
            "p": 3.0,
            "size": [2, 1],
            "stride": [1, 1],
            "padding": [0, 0, 0, 0],
        },
        {"op": "sigmoid"},
        {"op": "flatten"},
        {"op": "dense", "W": "d.W", "b": "d.b"},
        {"op": "scale_shift", "flat": True, "scale": "f.scale", "shift": "f.shift"},
        {"op": "relu"},
        {"op": "dense", "W": "e.W", "b": "e.b"},
    ]
    combine = Combine(method="stacking", coefficients=(), intercepts=(0.1, 0.2, 0.3, 0.4))
    if method == "stacking":
        rows = rng.standard_normal((4, 8)).tolist()
        combine = replace(combine, coefficients=tuple(map(tuple, rows)))
    else:
        combine = Combine(method=method, weights=(0.3, 0.7), temperature=0.8)
    x = np.zeros((2, 9, 8, 1), np.float32)
    features = x
    for operation in operations[:9]:  # the dense layer's width follows from what comes before it
        features = Net([operation], {k: v.astype(np.float32) for k, v in arrays.items()}).logits(
            features
        )
    arrays["d.W"] = rng.standard_normal((6, features.shape[0])) / 5
    bundle = _bundle(operations, {k: v.astype(np.float32) for k, v in arrays.items()}, combine)
    model = onnx_model(bundle)
    assert model.ir_version == 10 and model.opset_import[0].version == 21
    images = rng.integers(0, 256, (13, 2, 9, 8), dtype=np.uint8)
    assert check_against_numpy(model.SerializeToString(), bundle, images) < 1e-5
    fitted_as = Combination(**plain(combine)).apply(bundle.member_proba(images))
    np.testing.assert_allclose(bundle.predict_proba(images), fitted_as, atol=1e-5)
    colder = made_manifest((2, 9, 8), 4, (1.0, 0.6), combine, bundle.manifest.views)
    bundle = Bundle(colder, bundle.nets)
    with pytest.raises(ValueError, match="must agree within 1e-05"):
        check_against_numpy(model.SerializeToString(), bundle, images)


@pytest.mark.parametrize("frame", MomentNormalization.FRAMES)
@pytest.mark.parametrize(
    ("shape", "beside"), [((1, 28, 28), False), ((2, 12, 9), False), ((2, 12, 9), True)]
)
def test_onnx_frames_images_as_numpy_does(
    frame: str, shape: tuple[int, int, int], beside: bool
) -> None:
    """Of blurred random images, an empty and a full one, a dot and a bar that leans; the net behind
    sees places.
    """
    from scipy.ndimage import gaussian_filter

    from pipeline.bundle.onnx_ensemble import check_against_numpy, onnx_model

    rng = np.random.default_rng(1)
    model = Sequential([MomentNormalization(frame, 0.1, beside), Flatten(), Dense(4)]).build(
        shape, rng
    )
    net = Net(*operations_of(model))
    bundle = Bundle(made_manifest(shape, 4), [[net]])
    soft = gaussian_filter(rng.random((40, *shape)), (0, 0, 2, 1.5))
    images = (255 * np.clip(soft * 4 - 1.8, 0, 1)).astype(np.uint8)
    images[0], images[1], images[2:4] = 0, 255, 0
    images[2, :, 4:6, 3:5] = 255
    for row in range(shape[1] // 2):
        column = min(int(1.6 * row), shape[2] - 2)
        images[3, :, row + 2, column : column + 2] = 255
    assert check_against_numpy(onnx_model(bundle).SerializeToString(), bundle, images) < 1e-5
    np.testing.assert_allclose(bundle.predict_proba(images), model.predict_proba(images), atol=1e-5)


def test_a_new_export_replaces_the_old_as_a_whole(final_root: Path, tmp_path: Path) -> None:
    target = shutil.copytree(final_root / "small" / "bundle", tmp_path / "out")
    (target / "stale.txt").write_text("old")
    arguments = [
        "study.name=small",
        f"root={final_root}",
        f"output={target}",
        "tracking=none",
        "onnx=false",
    ]
    assert command_line(export.COMMAND, arguments, export.main) == 0
    assert not (target / "stale.txt").exists() and load(target).classes == 10
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("own", "which holds something else"),
        ("file", "which holds something else"),
        ("file/new", "output: "),
    ],
)
def test_what_a_user_keeps_is_never_replaced(
    output: str, says: str, final_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("kept")
    arguments = [
        "study.name=small",
        f"root={final_root}",
        f"output={tmp_path / output}",
        "tracking=none",
        "onnx=false",
    ]
    assert command_line(export.COMMAND, arguments, export.main) == 2
    assert says in capsys.readouterr().err
    assert (tmp_path / "own" / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "own"]


def test_nets_that_were_trained_anew_are_not_taken_for_the_ensemble_s(
    final_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(final_root / "small", tmp_path / "small")
    paths = StudyPaths(tmp_path, "small")
    shutil.copytree(
        next(paths.final.glob("m1-*/all1")), next(paths.final.glob("m1-*")) / "all2"
    )  # left from an earlier plan
    assert [len(member.nets) for member in assemble(paths).manifest.members] == [2, 2]
    first, second = sorted(next(paths.final.glob("m1-*")).glob("all[01]/weights.npz"))
    shutil.copy(second, first)
    with pytest.raises(
        InputError, match=r"weights of another configuration in .*all0.*pipeline.final again"
    ):
        assemble(paths)
    first.unlink()
    with pytest.raises(InputError, match="must be there"):
        assemble(paths)


def test_an_ensemble_from_before_there_were_refits_is_understood(
    final_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(final_root / "small", tmp_path / "small")
    path = StudyPaths(tmp_path, "small").ensemble / "ensemble.json"
    content = json.loads(path.read_text())
    for member in content["members"]:
        del member["refits"]
    path.write_text(json.dumps(content))
    files = [
        net.file
        for member in assemble(StudyPaths(tmp_path, "small")).manifest.members
        for net in member.nets
    ]
    assert len(files) == 4 and all("-fold" in file for file in files)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"model": {"frame": "box", "no longer there": 1}},
            r"must compose the net that it was built of, got model\.frame='none' for 'box'",
        ),
        (
            {"model": {}, "overrides": ["model.filters=9"]},
            r"must be those of the net that their overrides compose: .*conv1\.W must have",
        ),
    ],
)
def test_a_preset_that_has_changed_since_is_said(
    changed: dict[str, Any], message: str, final_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(final_root / "small", tmp_path / "small")
    path = StudyPaths(tmp_path, "small").ensemble / "ensemble.json"
    content = json.loads(path.read_text())
    content["members"][0]["model"] = changed["model"]
    content["members"][0]["overrides"] += changed.get("overrides", [])
    path.write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=rf"{message}.*a preset that the study names has changed since"
    ):
        assemble(StudyPaths(tmp_path, "small"))


def test_assembled_in_memory_equals_the_written_bundle(
    final_root: Path, images: np.ndarray
) -> None:
    assembled = assemble(StudyPaths(final_root, "small"))
    written = load(final_root / "small" / "bundle")
    assert assembled.manifest == written.manifest
    np.testing.assert_array_equal(
        assembled.bundle().predict_proba(images), written.predict_proba(images)
    )


def _without_specs(content: dict[str, Any]) -> str:
    del content["members"][1]["specs"]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            _without_specs,
            r"got none of members\[1\].specs in .*ensemble.json; run python -m pipeline.final "
            r"again",
        ),
        (
            lambda content: json.dumps({"members": []}),
            r"got none of chosen_on, views, combine, images, out_of_fold, expected in",
        ),
        (
            lambda content: json.dumps(content)[:-30],
            r"an ensemble must be JSON, got Expecting .*ensemble.json; run python -m",
        ),
        (
            lambda content: "[]",
            r"an ensemble must hold a mapping, got list in .*ensemble.json; run python -m",
        ),
    ],
)
def test_a_damaged_ensemble_is_refused_in_one_line(
    damage: Callable[[dict[str, Any]], str],
    message: str,
    final_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "small" / "ensemble"
    shutil.copytree(final_root / "small" / "ensemble", folder)
    (folder / "ensemble.json").write_text(
        damage(json.loads((folder / "ensemble.json").read_text()))
    )
    assert (
        command_line(
            export.COMMAND,
            ["study.name=small", "onnx=false", "register=false", f"root={tmp_path}"],
            export.main,
        )
        == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error)


def test_a_store_that_does_not_answer_is_refused_in_a_line(
    final_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.exceptions import MlflowException

    from pipeline.bundle import mlflow_model

    def away(*_: object) -> None:
        raise MlflowException("API request to\nhttp://ann:Zq7kXw@127.0.0.1:9 failed")

    monkeypatch.setattr(mlflow_model, "register", away)
    words = ["study.name=small", f"root={final_root}", "onnx=false", f"output={tmp_path / 'b'}"]
    assert command_line(export.COMMAND, words, export.main) == 2
    said = capsys.readouterr().err
    assert "MLflow must answer to register a model" in said and "register=false" in said
    assert said.count("\n") == 1 and "Zq7kXw" not in said
    assert (tmp_path / "b" / "manifest.json").exists()
