"""Evaluate: the only door to the test split, each opening noted, figures that agree with what
predict says.
"""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

from cnn_core.data.prepared import open_prepared
from pipeline import evaluate, export, predict
from pipeline.bundle.predictor import load
from pipeline.configuration import command_line, compose
from pipeline.data import prepare, prepare_test
from pipeline.data.proxy import frozen_proxy
from pipeline.data.test_split import TestSplitClosedError, opened_for_evaluation
from pipeline.files import StudyPaths
from tests.pipeline.final_study import FINAL_ARGUMENTS, run_sweep
from tests.pipeline.made_bundle import striped


@pytest.fixture(scope="module")
def evaluated(final_root: Path) -> Path:
    """The evaluation folder of the study "small" after one run."""
    assert (
        command_line(evaluate.COMMAND, ["study.name=small", f"root={final_root}"], evaluate.main)
        == 0
    )
    return final_root / "small" / "evaluation"


def _test_split(root: Path) -> tuple[np.ndarray, np.ndarray]:
    config = compose(["data=digits", f"root={root}"])
    with opened_for_evaluation():
        spec = prepare_test(config.data, config.root)
    test = open_prepared(spec.folder, spec.digest)
    return test.images, test.labels


def test_the_figures_are_those_of_the_bundle_on_the_test_split(
    final_root: Path, evaluated: Path
) -> None:
    images, labels = _test_split(final_root)
    predicted = load(final_root / "small" / "bundle").predict_proba(images).argmax(axis=1)
    figures = json.loads((evaluated / "test.json").read_text())
    assert figures["accuracy"] == pytest.approx(np.mean(predicted == labels)) and figures[
        "images"
    ] == len(labels)
    assert figures["low"] < figures["accuracy"] < figures["high"]
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(10), zero_division=0
    )
    np.testing.assert_allclose([row["precision"] for row in figures["per_class"]], precision)
    np.testing.assert_allclose([row["recall"] for row in figures["per_class"]], recall)
    np.testing.assert_allclose([row["f1"] for row in figures["per_class"]], f1)
    counts = np.array(
        [
            row[1:]
            for row in list(
                csv.reader((evaluated / "test_confusion.csv").read_text().splitlines())
            )[1:]
        ],
        int,
    )
    np.testing.assert_array_equal(counts.sum(axis=1), support)
    assert counts.trace() == np.sum(predicted == labels)
    with Image.open(evaluated / "test_misclassified.png") as sheet:
        assert sheet.size[0] > 20


def test_the_frozen_proxy_is_made_of_the_reserved_images(final_root: Path, evaluated: Path) -> None:
    proxy, reserve = (
        json.loads((evaluated / f"{name}.json").read_text()) for name in ("proxy", "reserve")
    )
    assert proxy["images"] == reserve["images"] == 200 and proxy["accuracy"] < reserve["accuracy"]
    assert "gain_over_best_member" in proxy


def test_every_opening_is_noted(final_root: Path, evaluated: Path) -> None:
    before = list(csv.DictReader((evaluated / "openings.csv").read_text().splitlines()))
    assert (
        command_line(evaluate.COMMAND, ["study.name=small", f"root={final_root}"], evaluate.main)
        == 0
    )
    after = list(csv.DictReader((evaluated / "openings.csv").read_text().splitlines()))
    assert after[: len(before)] == before and len(after) == len(before) + 1
    assert after[-1]["study"] == "small" and after[-1]["data"] == "digits"


def test_a_labelled_file_is_scored_without_an_opening(
    final_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "copy" / "bundle"
    shutil.copytree(final_root / "small" / "bundle", bundle)
    images, labels = _test_split(final_root)
    rows = [
        ",".join(map(str, [label, *image.ravel()]))
        for image, label in zip(images, labels, strict=True)
    ]
    (tmp_path / "labelled.csv").write_text("\n".join(rows))
    arguments = [f"bundle={bundle}", f"input={tmp_path / 'labelled.csv'}", f"root={final_root}"]
    assert command_line(evaluate.COMMAND, arguments, evaluate.main) == 0
    figures = json.loads((tmp_path / "copy" / "evaluation" / "file.json").read_text())
    predicted = load(bundle).predict_proba(images).argmax(axis=1)
    assert figures["accuracy"] == pytest.approx(np.mean(predicted == labels))
    assert not (tmp_path / "copy" / "evaluation" / "openings.csv").exists()
    (tmp_path / "bare.csv").write_text("\n".join(row.split(",", 1)[1] for row in rows))
    assert (
        command_line(
            evaluate.COMMAND, [arguments[0], f"input={tmp_path / 'bare.csv'}"], evaluate.main
        )
        == 2
    )
    assert "labels are needed" in capsys.readouterr().err


def test_a_bundle_alone_names_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its overrides may be a stranger's: they are neither composed nor is a path of them read."""
    striped(tmp_path / "bundle", ("a", "b"))
    monkeypatch.setattr(evaluate, "trained_with", pytest.fail)
    arguments = [f"bundle={tmp_path / 'bundle'}", f"root={tmp_path / 'root'}"]
    assert command_line(evaluate.COMMAND, arguments, evaluate.main) == 2
    assert "input: must be a labelled file or folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_no_other_command_opens_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sweep, final, export and predict run to their ends while the test files cannot be reached at
    all.
    """
    preparing = sys.modules[
        "pipeline.data.preparation"
    ]  # the name pipeline.data.preparation itself is the function
    opened: list[bool] = []
    original = preparing._prepared

    def watched(part, say):  # type: ignore[no-untyped-def]
        opened.append(part.test)
        return original(part, say)

    monkeypatch.setattr(preparing, "_prepared", watched)
    run_sweep(tmp_path)
    from pipeline import final

    assert (
        command_line(
            final.FINAL,
            [*FINAL_ARGUMENTS, "final.members=1", "final.epochs=1", f"root={tmp_path}"],
            final.main,
        )
        == 0
    )
    assert (
        command_line(
            export.COMMAND,
            ["study.name=small", "tracking=none", "onnx=false", f"root={tmp_path}"],
            export.main,
        )
        == 0
    )
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8), np.uint8))
    arguments = [
        "study.name=small",
        f"input={tmp_path / 'x.npy'}",
        f"output={tmp_path / 'y'}",
        f"root={tmp_path}",
    ]
    assert command_line(predict.COMMAND, arguments, predict.main) == 0
    assert opened and not any(opened)
    config = compose(["data=digits", f"root={tmp_path}"])
    with pytest.raises(TestSplitClosedError):
        prepare_test(config.data, config.root)


def test_only_evaluate_calls_the_door() -> None:
    root = Path(evaluate.__file__).parent
    door = re.compile(r"\b(opened_for_evaluation|prepare_test)\(")
    callers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if door.search(path.read_text())
    }
    assert callers == {"evaluate.py", "data/preparation.py", "data/test_split.py"}


def test_a_study_without_anything_to_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        command_line(evaluate.COMMAND, ["study.name=none", f"root={tmp_path}"], evaluate.main) == 2
    )
    told = capsys.readouterr().err
    assert "needs a finished sweep or final models" in told
    assert "(studies of this root: none)" in told


def test_the_best_trial_is_evaluated_where_there_is_no_ensemble(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_sweep(tmp_path)
    assert (
        command_line(evaluate.COMMAND, ["study.name=small", f"root={tmp_path}"], evaluate.main) == 0
    )
    assert (
        len(
            json.loads((StudyPaths(tmp_path, "small").evaluation / "test.json").read_text())[
                "member_accuracy"
            ]
        )
        == 1
    )
    weights = next((tmp_path / "small" / "trials").glob("*/weights.npz"))
    weights.write_bytes(weights.read_bytes()[:-10] + bytes(10))
    capsys.readouterr()
    assert (
        command_line(evaluate.COMMAND, ["study.name=small", f"root={tmp_path}"], evaluate.main) == 2
    )
    assert "digest" in capsys.readouterr().err


def test_a_frozen_proxy_that_changed_is_refused(
    final_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(["data=digits", "data.reserve=50", f"root={final_root}"])
    data = prepare(config.data, config.root)
    found = frozen_proxy(data)
    assert found is not None and len(found.images) == 50
    committed = tmp_path / "frozen.json"
    monkeypatch.setattr("pipeline.data.proxy.COMMITTED", committed)
    committed.write_text(json.dumps({f"{data.digest}:50:0": found.digest}))
    assert frozen_proxy(data) is not None
    committed.write_text(json.dumps({f"{data.digest}:50:0": "0" * 64}))
    with pytest.raises(ValueError, match="committed digest 000000000000"):
        frozen_proxy(data)
