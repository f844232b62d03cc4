"""A class keeps its name and a picture its form on the way out: bundle, predict.py, predict,
evaluate, MLflow, ONNX, drift, charts. Nets of known answers, so that a wrong form is a wrong class.
"""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cnn_core.data.image_form import ImageForm
from pipeline import evaluate, predict
from pipeline.bundle.predictor import Bundle, load
from pipeline.configuration import command_line
from pipeline.predictions.drift import Drift
from pipeline.records.manifest import (
    BundleError,
    Expected,
    manifest_digest,
    signed,
    write_manifest,
)
from pipeline.records.manifest_reading import read_manifest
from pipeline.records.typed_json import RecordError
from pipeline.reporting.confusion_chart import confusion_matrix
from tests.pipeline.made_bundle import bars, form_of, in_memory, save_pictures, stripe, striped
from tests.pipeline.made_manifest import made_manifest

NAMES = ("cat", "dog", "10", "-3")


def _predict(root: Path, source: Path, *more: str, output: str = "out.csv") -> list[list[str]]:
    """Run predict with the bundle below `root`; return the rows of its output."""
    arguments = [
        *(f"bundle={root / 'bundle'}", f"input={source}", f"output={root / output}"),
        *(f"root={root / 'root'}", *more),
    ]
    assert command_line(predict.COMMAND, arguments, predict.main) == 0
    return list(csv.reader((root / output).read_text().splitlines()))


def _stripes(side: int = 8, bright: float = 255, dark: float = 0) -> dict[str, np.ndarray]:
    return {f"{n}.png": stripe(n % 4, 4, side, bright, dark) for n in range(12)}


WANTED = [["id", "label"], *([f"{n}.png", NAMES[n % 4]] for n in range(12))]


def test_a_manifest_keeps_names_and_form_with_their_types() -> None:
    form = ImageForm(channels=1, height=8, width=8, full_scale=16.0, invert=True, normalize="mnist")
    made = signed(replace(made_manifest((1, 8, 8), 4), class_names=NAMES, form=form))
    found = read_manifest(write_manifest(made).encode())
    assert found == made and found.names == NAMES and found.image_form == form
    assert isinstance(found.image_form.invert, bool)


def test_an_older_manifest_has_numbers_for_names_and_only_a_size() -> None:
    content = json.loads(write_manifest(signed(made_manifest((3, 9, 7), 4))))
    del content["class_names"]
    content["digest"] = manifest_digest(content)
    found = read_manifest(json.dumps(content).encode())
    assert found.names == ("0", "1", "2", "3")
    assert found.image_form == ImageForm(channels=3, height=9, width=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "b")}, "got 2 class_names, 2 of them distinct, must be 4"),
        ({"class_names": ("a", "b", "b", "c")}, "3 of them distinct"),
        ({"form": form_of(side=9)}, r"got a form of \(1, 9, 9\), must be image_shape \(1, 8, 8\)"),
        ({"form": form_of(normalize="emnist")}, "got form.normalize = 'emnist'"),
        ({"form": form_of(other_sizes="crop")}, "form.other_sizes = 'crop'"),
        ({"form": form_of(full_scale=0.0)}, "must be above 0"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    changes: dict[str, object], message: str
) -> None:
    good = signed(made_manifest((1, 8, 8), 4))
    with pytest.raises(RecordError, match=message):
        replace(good, **changes)  # type: ignore[arg-type]
    broken = json.loads(write_manifest(good)) | {"class_names": ["a"]}
    with pytest.raises(BundleError, match="got 1 class_names"):
        read_manifest(json.dumps(broken | {"digest": manifest_digest(broken)}).encode())


@pytest.mark.parametrize(
    ("form", "pictures"),
    [
        ({}, _stripes()),
        ({}, _stripes(40)),
        ({"invert": True}, _stripes(8, 0, 255)),
        ({"invert": True}, _stripes(40, 0, 255)),
        ({"full_scale": 16.0}, _stripes(8, 16, 0)),
    ],
)
def test_predict_repeats_what_training_did(
    tmp_path: Path, form: dict[str, object], pictures: dict[str, np.ndarray]
) -> None:
    striped(tmp_path / "bundle", NAMES, form_of(**form))
    assert _predict(tmp_path, save_pictures(tmp_path / "test", pictures)) == WANTED
    np.save(tmp_path / "x.npy", np.stack(list(pictures.values())).astype(np.uint8))
    rows = _predict(tmp_path, tmp_path / "x.npy")
    assert rows == [["ImageId", "Label"], *([str(n + 1), NAMES[n % 4]] for n in range(12))]
    labels = _predict(tmp_path, tmp_path / "x.npy", output="labels.txt")
    assert [row[0] for row in labels] == [NAMES[n % 4] for n in range(12)]
    table = _predict(tmp_path, tmp_path / "x.npy", "format=probabilities", output="p.csv")
    assert table[0] == ["ImageId", *NAMES]


def test_grey_and_colour_pictures_of_several_sizes(tmp_path: Path) -> None:
    striped(tmp_path / "bundle", NAMES, form_of(3))
    sizes = {f"{n}.png": stripe(n % 4, 4, (8, 16, 40)[n % 3]) for n in range(12)}
    coloured = {
        name: np.repeat(picture[:, :, None], 3, axis=2) if n % 2 else picture
        for n, (name, picture) in enumerate(sizes.items())
    }
    assert _predict(tmp_path, save_pictures(tmp_path / "test", coloured)) == WANTED


def _dark_bars() -> dict[str, np.ndarray]:
    """Tall bars, wide bars in turn: black on white, small, and not in the middle."""
    found = {}
    for n in range(6):
        picture = np.full((50, 60), 255)
        picture[4 + n : 28 + n, 30:36] = 10
        found[f"{n}.png"] = picture if n % 2 == 0 else picture.T
    return found


def test_black_on_white_normalised_as_mnist_is_normalised_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars(tmp_path / "bundle", form_of(side=28, normalize="mnist"))
    folder = save_pictures(tmp_path / "test", _dark_bars())
    want = [f"{('tall', 'wide')[n % 2]}" for n in range(6)]
    assert [row[1] for row in _predict(tmp_path, folder)[1:]] == want
    assert "28x28, grey, centred and scaled as MNIST was" in capsys.readouterr().out
    # The override says it for a bundle that was trained without.
    bars(tmp_path / "bundle", form_of(side=28))
    assert [row[1] for row in _predict(tmp_path, folder)[1:]] != want
    assert [row[1] for row in _predict(tmp_path, folder, "normalize=mnist")[1:]] == want


def test_predict_py_prints_names_of_pictures_of_any_size_and_range(tmp_path: Path) -> None:
    striped(tmp_path / "bundle", NAMES, form_of(invert=True))
    pictures = np.stack([stripe(n % 4, 4, 40, 0.0, 1.0) for n in range(8)])
    pictures[0, 0, 0] = 0.5
    for name, values in (("a.npy", pictures), ("b.npy", np.repeat(pictures[..., None], 3, axis=3))):
        np.save(tmp_path / name, values)
        script = tmp_path / "bundle" / "predict.py"
        done = subprocess.run(
            [sys.executable, "-I", script, tmp_path / name, tmp_path / "labels.txt"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "labels.txt").read_text().split() == [NAMES[n % 4] for n in range(8)]


def test_prepared_takes_every_layout_and_refuses_others() -> None:
    bundle = in_memory(form_of(3), NAMES)
    planes = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    for same in (planes, planes.transpose(0, 2, 3, 1), planes.reshape(5, -1), list(planes)):
        np.testing.assert_array_equal(bundle.prepared(same), planes)
    grey = planes[:, 0]
    np.testing.assert_array_equal(bundle.prepared(grey), np.repeat(grey[:, None], 3, axis=1))
    assert bundle.prepared([grey[0], planes[1], grey[2][:4, :6]]).shape == (3, 3, 8, 8)
    for wrong in (np.zeros((2, 9)), np.zeros((2, 4, 5, 6)), np.full((2, 8, 8), np.nan)):
        with pytest.raises(BundleError, match="must be"):
            bundle.prepared(wrong)
    for alone in (planes[0], planes[0].transpose(1, 2, 0), np.zeros((3, 20, 9))):
        with pytest.raises(BundleError, match=r"pictures\[None\] for one alone"):
            bundle.prepared(alone)
    with pytest.raises(BundleError, match=r"looks like \(H, W, N\)"):
        bundle.prepared(np.zeros((8, 8, 30)))
    mixed = np.zeros((9, 8, 8), np.uint8)
    mixed[:4] = 255
    with pytest.raises(BundleError, match=r"one background, dark.*4 of 9"):
        in_memory(form_of(background="dark"), NAMES).prepared(mixed)
    with pytest.raises(BundleError, match="one depth"):
        bundle.prepared([grey[0], grey[1].astype(np.uint16) * 257])


def test_the_range_is_judged_once_for_the_whole_input(tmp_path: Path) -> None:
    """The first pictures are dark; one by one they would be taken for another range."""
    striped(tmp_path / "bundle", NAMES)
    bright = [1.0] * 30 + [255.0] * 30
    np.save(tmp_path / "x.npy", np.stack([stripe(n % 4, 4, 8, b) for n, b in enumerate(bright)]))
    rows = _predict(tmp_path, tmp_path / "x.npy", "format=probabilities", output="p.csv")
    assert float(rows[1][1]) < 0.3 and float(rows[41][1]) > 0.9
    np.save(tmp_path / "x.npy", np.stack([stripe(n % 4, 4, 8, 1.0) for n in range(8)]))
    rows = _predict(tmp_path, tmp_path / "x.npy", "full_scale=1", output="labels.txt")
    assert [row[0] for row in rows] == [NAMES[n % 4] for n in range(8)]


def test_the_id_column_keeps_its_name(tmp_path: Path) -> None:
    striped(tmp_path / "bundle", NAMES)
    pixels = [",".join(map(str, stripe(k, 4).ravel())) for k in range(4)]
    for id_name, label in (("id", "label"), ("Id", "Label"), ("ImageId", "Label")):
        lines = [id_name + "," + ",".join(f"pixel{n}" for n in range(64))]
        lines += [f"x{k},{row}" for k, row in enumerate(pixels)]
        (tmp_path / "test.csv").write_text("\n".join(lines) + "\n")
        rows = _predict(tmp_path, tmp_path / "test.csv")
        assert rows == [[id_name, label], *([f"x{k}", NAMES[k]] for k in range(4))]


def test_a_damaged_picture_is_refused_or_answered_and_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    striped(tmp_path / "bundle", NAMES, share=(0.1, 0.2, 0.6, 0.1))
    folder = save_pictures(tmp_path / "test", _stripes())
    (folder / "5.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    arguments = [
        *(f"bundle={tmp_path / 'bundle'}", f"input={folder}", f"output={tmp_path / 'no.csv'}"),
        f"root={tmp_path / 'root'}",
    ]
    assert command_line(predict.COMMAND, arguments, predict.main) == 2
    assert "5.png" in capsys.readouterr().err and not (tmp_path / "no.csv").exists()
    rows = _predict(tmp_path, folder, "on_damaged=skip")
    assert rows == [*WANTED[:6], ["5.png", "10"], *WANTED[7:]]
    error = capsys.readouterr().err
    assert "1 pictures cannot be read and are answered with training's most frequent" in error
    assert "10: 5.png" in error
    ledger = list(csv.DictReader((tmp_path / "root" / "submissions.csv").read_text().splitlines()))
    assert (ledger[0]["rows"], ledger[0]["damaged"]) == ("12", "1")


def test_pictures_that_can_all_not_be_read_are_still_answered(tmp_path: Path) -> None:
    striped(tmp_path / "bundle", NAMES)
    folder = save_pictures(tmp_path / "test", {"a.png": stripe(0, 4), "b.png": stripe(1, 4)})
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"\x89PNG\r\n\x1a\nno more")
    rows = _predict(tmp_path, folder, "on_damaged=skip")
    assert [row[0] for row in rows] == ["id", "a.png", "b.png"]


def test_an_older_ledger_gets_the_column(tmp_path: Path) -> None:
    striped(tmp_path / "bundle", NAMES)
    ledger = tmp_path / "root" / "submissions.csv"
    ledger.parent.mkdir()
    ledger.write_text(
        "time,file,sha256,rows,bundle,model,expected_score,score\nt,f,s,9,b,m,0.5,0.97\n"
    )
    _predict(tmp_path, save_pictures(tmp_path / "test", _stripes()))
    rows = list(csv.DictReader(ledger.read_text().splitlines()))
    assert [row["score"] for row in rows] == ["0.97", ""]
    assert [row["damaged"] for row in rows] == ["", "0"] and rows[0]["rows"] == "9"


def _evaluate(root: Path, source: Path, *more: str) -> int:
    arguments = [f"bundle={root / 'bundle'}", f"input={source}", f"root={root}", *more]
    return command_line(evaluate.COMMAND, arguments, evaluate.main)


@pytest.mark.parametrize("names", [("cat", "dog"), ("3", "5", "7"), tuple("12345678"), ("-1", "1")])
def test_evaluate_takes_folders_by_their_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    striped(tmp_path / "bundle", names)
    pictures = {
        f"{name}/{n}.png": stripe(k, len(names), 40)
        for k, name in enumerate(names)
        for n in range(3)
    }
    pictures[f"{names[0]}/odd.png"] = stripe(1, len(names), 40)
    folder = save_pictures(tmp_path / "labelled", pictures)
    assert _evaluate(tmp_path, folder) == 0
    figures = json.loads((tmp_path / "evaluation" / "file.json").read_text())
    assert figures["errors"] == 1 and figures["images"] == 3 * len(names) + 1
    assert [row["class"] for row in figures["per_class"]] == list(names)
    table = (tmp_path / "evaluation" / "file_confusion.csv").read_text().splitlines()
    rows = list(csv.reader(table))
    assert rows[0] == ["true", *names] and [row[0] for row in rows[1:]] == list(names)
    assert rows[1][1:3] == ["3", "1"] and rows[2][1:3] == ["0", "3"]


def test_evaluate_refuses_unknown_classes_and_pictures_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    striped(tmp_path / "bundle", ("cat", "dog"))
    folder = save_pictures(tmp_path / "x", {"cat/1.png": stripe(0, 2), "cow/1.png": stripe(1, 2)})
    assert _evaluate(tmp_path, folder) == 2
    assert "must be a class of the training data, cat, dog, got 'cow'" in capsys.readouterr().err
    folder = save_pictures(tmp_path / "y", {"1.png": stripe(0, 2)})
    assert _evaluate(tmp_path, folder) == 2
    assert "label" in capsys.readouterr().err


def test_the_mlflow_model_does_what_training_did(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from pipeline.bundle.mlflow_code import BundleModel
    from pipeline.bundle.mlflow_model import taken

    form = form_of(invert=True)
    striped(tmp_path / "bundle", NAMES, form)
    model = BundleModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(tmp_path / "bundle")}))
    for side in (8, 40):
        pictures = np.stack([stripe(n % 4, 4, side, 0, 255) for n in range(8)])[:, None]
        found = model.predict(None, pictures.astype(np.uint8)).argmax(axis=1)
        assert found.tolist() == [n % 4 for n in range(8)]
    assert taken(form) == (np.dtype(np.uint8), (-1, -1, -1))
    assert taken(replace(form, other_sizes="refuse"))[1] == (1, 8, 8)
    assert taken(replace(form, full_scale=1.0))[0] == np.float64


def test_onnx_metadata_hold_names_and_form(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from pipeline.bundle.onnx_ensemble import onnx_model

    bundle = striped(tmp_path / "bundle", NAMES, form_of(normalize="mnist"))
    found = {entry.key: entry.value for entry in onnx_model(bundle).metadata_props}
    assert json.loads(found["class_names"]) == list(NAMES)
    assert ImageForm(**json.loads(found["form"])) == bundle.form


def test_a_bundle_says_its_names_and_form_where_people_look(tmp_path: Path) -> None:
    bundle = striped(tmp_path / "bundle", NAMES, form_of(invert=True))
    readme = (tmp_path / "bundle" / "README.md").read_text()
    assert "cat, dog, 10, -3" in readme and "inverted to light on dark" in readme
    assert isinstance(bundle, Bundle) and load(tmp_path / "bundle").class_names == NAMES


def test_drift_speaks_in_names_and_of_many_classes_only_the_most() -> None:
    names = tuple(f"class{k}" for k in range(40))
    drift = Drift(Expected(agreement=1.0, confidence=1.0, class_share=(1 / 40,) * 40), names)
    joined = np.eye(40)[[7] * 60 + [3] * 30 + list(range(10, 30))]
    drift.add(joined[None], joined)
    (line,) = drift.lines(1)
    assert "class7:54.5%" in line and "class3:27.3%" in line and line.endswith("and 12 more")
    assert "class7: 54.5% instead of 2.5%" in drift.warnings()[-1]


def test_a_confusion_matrix_of_many_classes_with_long_names_stays_a_picture() -> None:
    names = [f"a very long name of a class {k}" for k in range(150)]
    truth = np.repeat(np.arange(150), 2)
    predicted = truth.copy()
    predicted[[20, 21, 201]] = [100, 100, 11]  # two of class 10 as 50's neighbour, one of class 100
    chart = confusion_matrix(truth, predicted, names)
    assert "3 of 300 wrong" in chart and "24 of 150 classes" in chart
    assert f"true {names[10]}, predicted {names[100]}: 2" in chart
    assert f"true {names[100]}, predicted {names[11]}: 1" in chart
    assert ">a very long n…<" in chart and chart.count("<rect") == 24 * 24
