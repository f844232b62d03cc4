"""Predict: every output form, the same answers in blocks and at once, nothing left behind when the
input is bad, drift, the ledger.
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from cnn_core.plain_text import safe_cell
from pipeline import predict
from pipeline.bundle.predictor import Bundle, load
from pipeline.bundle.running import predict_blocks
from pipeline.configuration import command_line, compose
from pipeline.configuration.sections import InputKeys
from pipeline.data import prepare
from pipeline.files import sha256_file
from pipeline.inputs.reading import Batch
from pipeline.predictions.asked import open_asked
from pipeline.predictions.drift import Drift
from pipeline.predictions.ledger import expected_score
from pipeline.predictions.writers import writer
from pipeline.records.manifest import Expected
from tests.pipeline.made_bundle import form_of, in_memory


@pytest.fixture(scope="module")
def bundle(final_root: Path) -> Bundle:
    return load(final_root / "small" / "bundle")


@pytest.fixture(scope="module")
def images(final_root: Path) -> np.ndarray:
    config = compose(["data=digits", f"root={final_root}"])
    data = prepare(config.data, config.root)
    return open_prepared(data.folder, data.digest).images[:120]


@pytest.fixture
def run(final_root: Path, tmp_path: Path, images: np.ndarray):  # type: ignore[no-untyped-def]
    """Run predict on `images` (or another input) with a ledger of its own; return exit code and
    output path.
    """
    np.save(tmp_path / "images.npy", images)

    def call(output: str, *more: str, source: str = "images.npy") -> tuple[int, Path]:
        arguments = [
            f"bundle={final_root / 'small' / 'bundle'}",
            f"input={tmp_path / source}",
            f"output={tmp_path / output}",
        ]
        code = command_line(
            predict.COMMAND, [*arguments, f"root={tmp_path / 'root'}", *more], predict.main
        )
        return code, tmp_path / output

    return call


def test_labels_submission_and_probabilities_agree(run, bundle: Bundle, images: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    want = bundle.predict_proba(images)
    code, labels = run("labels.txt")
    assert code == 0 and labels.read_text().split() == [str(k) for k in want.argmax(axis=1)]
    _, submission = run("submission.csv")
    rows = list(csv.reader(submission.read_text().splitlines()))
    assert (
        rows[0] == ["ImageId", "Label"]
        and rows[1] == ["1", str(want[0].argmax())]
        and len(rows) == 121
    )
    _, table = run("table.csv", "format=probabilities")
    values = np.array(
        [row[1:] for row in list(csv.reader(table.read_text().splitlines()))[1:]], float
    )
    np.testing.assert_allclose(values, want, atol=1e-6)
    _, array = run("probabilities.npy")
    np.testing.assert_allclose(np.load(array), want, atol=1e-6)


def test_the_ledger_names_file_digest_model_and_leaves_the_score_to_the_user(
    run, bundle: Bundle, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    _, first = run("a.csv")
    ledger = tmp_path / "root" / "submissions.csv"
    ledger.write_text(ledger.read_text().rstrip("\n") + "0.97\n")
    run("b.txt")
    rows = list(csv.DictReader(ledger.read_text().splitlines()))
    assert [row["score"] for row in rows] == ["0.97", ""] and rows[0]["sha256"] == sha256_file(
        first
    )
    assert rows[0]["rows"] == "120" and rows[0]["model"] == bundle.manifest.digest[:16]
    assert float(rows[0]["expected_score"]) == pytest.approx(
        expected_score(bundle.manifest) or 0, abs=1e-5
    )


def test_blocks_in_processes_equal_all_at_once(
    final_root: Path, bundle: Bundle, images: np.ndarray
) -> None:
    blocks = [
        Batch(images=images[k : k + 17], ids=("x",) * len(images[k : k + 17]))
        for k in range(0, 120, 17)
    ]
    found = list(predict_blocks(final_root / "small" / "bundle", bundle, iter(blocks), 2))
    assert [len(block.images) for block, _ in found] == [17] * 7 + [1]
    np.testing.assert_allclose(
        np.concatenate([m for _, m in found], axis=1), bundle.member_proba(images), atol=1e-6
    )


def test_a_bad_row_far_into_the_file_leaves_no_output_behind(
    run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    row = ",".join(["0"] * 64)
    (tmp_path / "bad.csv").write_text("\n".join([row] * 1200 + [row[:-1] + "300"]))
    before = sorted(p.name for p in tmp_path.iterdir())
    code, output = run("out.csv", source="bad.csv")
    error = capsys.readouterr().err
    assert (
        code == 2
        and error.count("\n") == 1
        and "up to 300 in 1 of 1 pictures, first in picture 1201" in error
    )
    assert not output.exists() and sorted(p.name for p in tmp_path.iterdir()) == before


def test_an_existing_file_survives_a_bad_input(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "out.txt").write_text("precious")
    (tmp_path / "bad.csv").write_text("1,2,3\n")
    assert (
        run("out.txt", source="bad.csv")[0] == 2
        and (tmp_path / "out.txt").read_text() == "precious"
    )


def test_images_of_another_size_and_arguments_left_out(
    run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    np.save(tmp_path / "large.npy", np.zeros((3, 28, 28), np.uint8))
    assert run("x.txt", "normalize=none", source="large.npy")[0] == 2
    assert "must have the size 8x8, got 28x28" in capsys.readouterr().err
    assert command_line(predict.COMMAND, ["study.name=small"], predict.main) == 2
    assert "needs input=PATH and output=PATH, got no input" in capsys.readouterr().err
    assert (
        command_line(predict.COMMAND, ["input=a", "output=b", f"bundle={tmp_path}"], predict.main)
        == 2
    )
    assert "folder with manifest.json" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to(
    run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    assert run("file/out.txt")[0] == 2
    assert "output must be a file that can be written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["=cmd()", "+A1", "@x", "-2+3", "\tx", "a\nb"])
def test_ids_that_a_spreadsheet_would_run_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="an id must"):
        safe_cell(name)


def test_formula_ids_of_a_contest_file_are_refused_and_plain_ones_kept(
    run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    header, row = "id," + ",".join(f"p{k}" for k in range(64)), ",".join(["0"] * 64)
    (tmp_path / "ids.csv").write_text(f"{header}\n7,{row}\n=cmd(),{row}\n")
    assert run("x.csv", source="ids.csv")[0] == 2 and "=cmd()" in capsys.readouterr().err
    (tmp_path / "ids.csv").write_text(f"{header}\n-7,{row}\nimg_2.png,{row}\n")
    _, output = run("x.csv", source="ids.csv")
    assert [row[0] for row in csv.reader(output.read_text().splitlines())] == [
        "id",
        "-7",
        "img_2.png",
    ]


def _drift(agreement: float, confidence: float, labels: np.ndarray) -> Drift:
    rng = np.random.default_rng(0)
    drift = Drift(Expected(agreement=0.98, confidence=0.97, class_share=(0.25,) * 4))
    joined = np.full((len(labels), 4), (1 - confidence) / 3)
    joined[np.arange(len(labels)), labels] = confidence
    members = np.stack([joined, joined])
    for n in np.flatnonzero(rng.random(len(labels)) > agreement):
        members[1, n] = np.roll(members[1, n], 1)
    drift.add(members, joined)
    return drift


def test_drift_is_seen_without_labels_and_only_then() -> None:
    even = np.arange(2000) % 4
    assert _drift(0.98, 0.96, even).warnings() == []
    assert "agreement is" in _drift(0.7, 0.96, even).warnings()[0]
    assert "confidence is 60.0%, 97.0%" in _drift(0.98, 0.6, even).warnings()[0]
    assert (
        "balance of classes" in _drift(0.98, 0.96, np.minimum(np.arange(2000) % 6, 3)).warnings()[0]
    )
    assert _drift(0.98, 0.96, np.arange(60) % 4).warnings() == []


def test_an_input_without_a_picture_and_an_output_that_is_a_folder_are_refused(
    tmp_path: Path,
) -> None:
    bundle = in_memory(form_of(), ("a", "b"))
    with pytest.raises(InputError, match="the input must hold pictures, got none"):
        predict.predict_file(
            *(bundle, [], tmp_path / "y.csv"),
            lambda file: writer(file, bundle.class_names, None, None, "labels"),
            lambda count: None,
        )
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(InputError, match=f"output must be a file, got the folder {tmp_path}"),
        predict.whole_output(tmp_path),
    ):
        pass
    with pytest.raises(InputError, match="input: must be the path of a file or folder, got none"):
        open_asked(InputKeys(), bundle)
