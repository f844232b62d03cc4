"""python -m pipeline.contest: its keys reach training and prediction, its refusals name them and
leave nothing behind.
"""

from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline import predict
from pipeline.configuration import command_line
from pipeline.contest import COMMAND, main
from tests.pipeline.contests import changed, digits, table_contest
from tests.pipeline.made_bundle import save_pictures, stripe, striped


def _dry(folder: Path, root: Path, *words: str) -> int:
    return command_line(COMMAND, [f"folder={folder}", f"root={root}", "dry=true", *words], main)


def _preset(root: Path, folder: Path) -> dict[str, object]:
    data = yaml.safe_load((root / "presets" / "experiment" / f"{folder.name}.yaml").read_text())
    return data["data"]  # type: ignore[no-any-return]


def _two_labels(folder: Path) -> None:
    """Add a second column that could be the label, to training and test."""
    table_contest(folder)
    with changed(folder / "train.csv") as (header, *rows):
        header[-1:] = ["kind", "group"]
        for k, row in enumerate(rows):
            row.append("ab"[k % 2])


def test_a_refusal_names_the_key_that_contest_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    _two_labels(folder)
    assert _dry(folder, root) == 2
    said = capsys.readouterr()
    assert "label='kind' or label='group'" in said.err and "data." not in said.err
    assert "preset" not in said.out
    assert not (root / "presets").exists() and not (root / "mine").exists()
    root = tmp_path / "next"
    assert _dry(folder, root, "label=kind") == 0
    assert "label: column 'kind'" in capsys.readouterr().out
    assert _preset(root, folder)["label"] == "kind"
    assert not (root / "mine").exists(), "a study that has not begun has no folder"


def test_an_uncertain_test_table_is_decided_by_the_key_that_its_refusal_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    table_contest(folder)
    with changed(folder / "test.csv") as (header, *rows):
        header[0] = "alpha"
        header.append("beta")
        for k, row in enumerate(rows):
            row.append(f"n{k}")
    assert _dry(folder, root) == 2
    said = capsys.readouterr().err
    assert "test_id='alpha' or test_id='beta'" in said and "`test_id` says which" in said
    assert _dry(folder, root, "test_id=alpha") == 0
    assert "ids: column 'alpha'" in capsys.readouterr().out


def test_a_refusal_keeps_the_preset_of_a_run_before(tmp_path: Path) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    table_contest(folder)
    assert _dry(folder, root) == 0
    before = _preset(root, folder)
    assert _dry(folder, root, "on_damaged=skip", "format=labels") == 2
    assert _preset(root, folder) == before


def test_settings_of_the_training_data(tmp_path: Path) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    table_contest(folder)
    assert _dry(folder, root, "id=none", "shape=[1,8,8]", "on_damaged=skip") == 0
    found = _preset(root, folder)
    assert (found["id"], found["shape"], found["on_damaged"]) == ("none", [1, 8, 8], "skip")


def test_the_form_of_the_submission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    table_contest(folder)
    sample = folder / "sample_submission.csv"
    sample.write_text(sample.read_text().replace(",0", ",00"))
    assert _dry(folder, root) == 2
    assert "got 00 for 0 in column 'letter'" in capsys.readouterr().err
    assert _dry(folder, root, "format=submission") == 0
    assert _dry(folder, root, "format=labels") == 2
    assert _dry(folder, root, "format=labels", "template=none") == 0
    capsys.readouterr()
    assert _dry(folder, root, "template=none", f"output={tmp_path / 'a.npy'}") == 0
    assert "60 images to label\n" in capsys.readouterr().out


def test_the_full_scale_of_the_test_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    images, labels = digits()
    np.savez(folder / "train.npz", images=images[:200].astype(np.uint16) * 257, labels=labels[:200])
    np.save(folder / "test.npy", images[200:])
    assert _dry(folder, root) == 2
    assert "set full_scale=" in capsys.readouterr().err
    assert _dry(folder, root, "full_scale=255") == 0


def test_test_pictures_on_two_backgrounds_are_kept_by_the_key_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    table_contest(folder)
    with changed(folder / "test.csv") as (_, *rows):
        for row in rows[::2]:
            row[1:] = [str(255 - int(pixel)) for pixel in row[1:]]
    assert _dry(folder, root) == 2
    assert "one background" in (said := capsys.readouterr().err) and "polarity=keep" in said
    assert _dry(folder, root, "polarity=keep") == 0


def test_one_archive_of_training_and_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    images, labels = digits()
    parts = {"x_train": images[:200], "y_train": labels[:200], "x_test": images[200:230]}
    np.savez(folder / "all.npz", allow_pickle=False, **parts)
    assert _dry(folder, root) == 0
    assert "30 images to label" in capsys.readouterr().out
    assert _preset(root, folder)["images_key"] == "x_train"


def test_warnings_of_prediction_are_said_before_the_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    striped(tmp_path / "bundle", ("cat", "cow"))
    folder = save_pictures(tmp_path / "test", {f"{n}.png": stripe(n % 2, 2) for n in range(4)})
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = [f"bundle={tmp_path / 'bundle'}", f"input={folder}", f"root={tmp_path / 'root'}"]
    words += [f"output={tmp_path / 'out.csv'}", "on_damaged=skip"]
    assert command_line(predict.COMMAND, words, lambda c: predict.predict(c, print)) == 0
    said = capsys.readouterr()
    assert "warning: 1 pictures cannot be read" in said.err
    assert "warning: 1 pictures cannot be read" in said.out.splitlines()[-2]


@pytest.mark.parametrize("name", ["contest", "mnist"])
def test_a_folder_called_like_a_preset_is_not_taken_for_it(name: str, tmp_path: Path) -> None:
    folder, root = tmp_path / name, tmp_path / "out"
    table_contest(folder)
    assert _dry(folder, root) == 0
    made = yaml.safe_load((root / "presets" / "experiment" / f"{name}-files.yaml").read_text())
    assert made["data"]["images"] == str(folder / "train.csv")
    assert made["study"]["name"] == name


@pytest.mark.parametrize("name", ["nan", "null", "true", "123", "1e5"])
def test_a_folder_may_be_called_like_a_number(name: str, tmp_path: Path) -> None:
    folder, root = tmp_path / name, tmp_path / "out"
    table_contest(folder)
    assert _dry(folder, root) == 0
    made = yaml.safe_load((root / "presets" / "experiment" / f"{name}-files.yaml").read_text())
    assert made["data"]["images"] == str(folder / "train.csv")
    assert made["study"]["name"] == name


def test_a_preset_changed_by_hand_or_by_another_folder_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    table_contest(folder)
    assert _dry(folder, root) == 0 and _dry(folder, root, "base=contest_quick") == 0
    preset = root / "presets" / "experiment" / "mine.yaml"
    other = tmp_path / "elsewhere" / "mine"
    table_contest(other)
    before = preset.read_text()
    assert _dry(other, root) == 2
    assert f"{other} did not make" in capsys.readouterr().err
    assert preset.read_text() == before
    assert _dry(other, root, "study.name=yours") == 0
    changed = before + "train:\n  epochs: 3\n"
    preset.write_text(changed)
    assert _dry(folder, root) == 2
    assert "changed by hand" in capsys.readouterr().err
    assert preset.read_text() == changed


def test_what_no_submission_can_hold_is_said_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    table_contest(folder)
    with changed(folder / "train.csv") as (_, *rows):
        for row in rows:
            row[-1] = f"=class{row[-1]}"
    (folder / "sample_submission.csv").unlink()
    assert _dry(folder, root) == 2
    assert "a label must not begin with = + - @" in capsys.readouterr().err


def test_columns_of_the_test_table_in_another_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    squares = [f"{letter}{row}" for row in range(1, 9) for letter in "abcdefgh"]
    plain, folder, root = tmp_path / "plain", tmp_path / "mine", tmp_path / "out"
    for place in (plain, folder):
        table_contest(place)
    assert _dry(plain, root) == 0  # the same pictures, whose columns count
    with changed(folder / "train.csv") as (header, *_):
        header[1:65] = squares
    with changed(folder / "test.csv") as (header, *rows):
        for row in (header, *rows):
            row[1:] = reversed(squares if row is header else row[1:])
    capsys.readouterr()
    assert _dry(folder, root) == 0
    assert "order of training's columns" in capsys.readouterr().out


def test_the_shape_that_is_given_is_that_of_the_test_table_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    noise = np.random.default_rng(1).integers(0, 256, (60, 192)).tolist()
    names = [f"pixel{k}" for k in range(192)]
    train = [["label", *names], *([k % 2, *row] for k, row in enumerate(noise[:40]))]
    for name, rows in (("train.csv", train), ("test.csv", [names, *noise[40:]])):
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        (folder / name).write_text(text)
    assert _dry(folder, root) == 2
    assert "order of a row's colours must be certain" in capsys.readouterr().err
    assert _dry(folder, root, "shape=[3,8,8]") == 0
    assert capsys.readouterr().out.count("3 channels plane by plane") == 2


def test_a_test_table_of_other_pictures_has_a_shape_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    table_contest(folder)
    (folder / "sample_submission.csv").unlink()
    values = np.random.default_rng(1).integers(0, 256, (20, 16 * 32)).tolist()
    (folder / "test.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in values))
    assert _dry(folder, root) == 2
    said = capsys.readouterr().err
    assert "`test_shape`, `test_label` or `test_id` say" in said and "`shape`" not in said
    assert _dry(folder, root, "test_shape=[16,32]") == 0
    said = capsys.readouterr().out
    assert "64 pixels (8x8 grey)" in said and "512 pixels (16x32 grey)" in said


def test_arrays_of_the_test_archive_have_keys_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    images, labels = digits()
    np.savez(folder / "train.npz", allow_pickle=False, images=images[:200], labels=labels[:200])
    parts = {"a": images[200:230], "b": images[230:270]}
    answers = {"kind": labels[230:270], "other": labels[230:270]}
    np.savez(folder / "test.npz", allow_pickle=False, **parts, **answers)
    assert _dry(folder, root) == 2
    assert "give test_images_key (and test_labels_key), one of a, b" in capsys.readouterr().err
    assert _dry(folder, root, "test_images_key=b") == 2
    assert "give test_labels_key, one of kind, other" in capsys.readouterr().err
    assert _dry(folder, root, "test_images_key=b", "test_labels_key=kind") == 0
    assert "40 images to label" in capsys.readouterr().out
