"""What evaluate and export refuse, and what evaluate leaves out of a labelled input."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cnn_core.errors import InputError
from pipeline import evaluate, export
from pipeline.bundle.predictor import Bundle
from pipeline.configuration import command_line
from pipeline.evaluate import EvaluateKeys
from pipeline.inputs.reading import Batch
from tests.pipeline.made_bundle import stripe, striped


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return striped(tmp_path / "bundle", ("left", "right"))


class Given:
    """An opened input that holds these batches."""

    lines = ("as it is",)

    def __init__(self, *batches: Batch) -> None:
        self._batches = batches

    def batches(self) -> Iterator[Batch]:
        yield from self._batches


def batch(labels: tuple[str, ...], *, damaged: tuple[bool, ...] | None = None) -> Batch:
    images = np.stack([stripe(name == "right", 2) for name in labels])[:, None].astype(np.uint8)
    ids = tuple(f"{name}{n}.png" for n, name in enumerate(labels))
    marks = None if damaged is None else np.array(damaged)
    return Batch(images=images, ids=ids, labels=labels, damaged=marks)


def test_pictures_that_cannot_be_read_are_told_and_not_scored(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = batch(("left", "right", "left"), damaged=(False, True, False))
    given = Given(first, batch(("right",)))
    monkeypatch.setattr(evaluate, "open_asked", lambda *_, **__: given)
    (found,) = evaluate._file_set(bundle, EvaluateKeys(input="x"))
    np.testing.assert_array_equal(found.labels, [0, 0, 1])
    np.testing.assert_array_equal(found.images[2, 0], stripe(1, 2))
    said = capsys.readouterr()
    assert said.out == "as it is\n"
    assert said.err == "warning: 1 pictures cannot be read and are not scored: right1.png\n"
    given = Given(batch(("left",)))
    evaluate._file_set(bundle, EvaluateKeys(input="x"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("batches", [(), (batch(("left",), damaged=(True,)),)])
def test_an_input_of_no_readable_picture_is_refused(
    bundle: Bundle, batches: tuple[Batch, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "open_asked", lambda *_, **__: Given(*batches))
    with pytest.raises(InputError, match="must hold labelled pictures, got none in x"):
        evaluate._file_set(bundle, EvaluateKeys(input="x"))


def test_an_array_without_labels_is_refused(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.stack([stripe(k, 2) for k in (0, 1)]).astype(np.uint8))
    words = [f"bundle={tmp_path}/bundle", f"input={tmp_path}/x.npy", f"root={tmp_path}"]
    words.append("label=none")
    assert command_line(evaluate.COMMAND, words, evaluate.main) == 2
    error = capsys.readouterr().err
    assert "evaluate needs labels (a label column, a labels file, a folder a class), got " in error
    assert f"none in {tmp_path}/x.npy" in error
    assert not (tmp_path / "evaluation").exists()


def test_code_of_a_plug_in_is_put_into_a_bundle_only_where_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[Path] = []
    own = {"softsign": SimpleNamespace(path="mine.py")}
    monkeypatch.setattr(export, "assemble", lambda *_: SimpleNamespace(own=own))

    def write(folder: Path, _: object) -> None:
        written.append(folder)
        raise InputError("written")

    monkeypatch.setattr(export, "write_bundle", write)
    words = [f"root={tmp_path}", "study.name=s", "register=false"]
    assert command_line(export.COMMAND, words, export.main) == 2
    error = capsys.readouterr().err
    assert "carry_plugins: must be true" in error
    assert "got false with 'softsign' of mine.py" in error and not written
    assert command_line(export.COMMAND, [*words, "carry_plugins=true"], export.main) == 2
    assert written == [tmp_path / "s" / "bundle"]
