"""A bundle's command as the module that it is joined from: what it reads, and what it refuses."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.bundle import standalone
from tests.pipeline.made_bundle import stripe, striped

PICTURES = np.array([stripe(k, 2) for k in (1, 0, 1)], np.uint8)
IDX = b"\0\0\x08\x03" + struct.pack(">3I", *PICTURES.shape) + PICTURES.tobytes()
ROWS = [",".join(map(str, picture.ravel())) for picture in PICTURES]


def npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, PICTURES)


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command of a bundle that tells whether the left or the right half is bright."""
    striped(tmp_path / "bundle", ("left", "right"))
    monkeypatch.setattr(standalone, "__file__", str(tmp_path / "bundle" / "predict.py"))
    return lambda *arguments: standalone.main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "write",
    [
        npy,
        lambda path: path.write_bytes(IDX),
        lambda path: path.write_bytes(gzip.compress(IDX)),
        lambda path: path.write_text("\n \n".join(ROWS).replace(",", " ", 9)),
    ],
    ids=["npy", "idx", "idx.gz", "text"],
)
def test_every_form_is_read_and_a_name_a_line_is_written(
    predict: Callable[..., int], tmp_path: Path, write: Callable[[Path], Any]
) -> None:
    write(tmp_path / "x")
    assert predict(tmp_path / "x", tmp_path / "y.txt") == 0
    assert (tmp_path / "y.txt").read_bytes() == b"right\nleft\nright\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2 3\n4 5\n", "every row must have 3 numbers as the first, got 2 in row 2 of"),
        ("1 2\nx 2\n", "input must be .npy, IDX or rows of numbers, got b'x 2"),
        (" \n\n", "input must hold 1 to 1,000,000 pictures in 536,870,912 bytes"),
    ],
)
def test_a_text_that_is_no_picture_a_row_is_refused(
    predict: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    says: str,
) -> None:
    (tmp_path / "x").write_text(text)
    assert predict(tmp_path / "x", tmp_path / "y.txt") == 2
    assert says in capsys.readouterr().err and not (tmp_path / "y.txt").exists()


@pytest.mark.parametrize(
    ("limit", "most", "text", "says"),
    [
        ("LONGEST_LINE", 9, "1 2\n" + "9" * 10, "a line may have 9 bytes .* got more after 1 rows"),
        ("MOST_INPUT_BYTES", 9, "    \n" * 2, "and a text 9, got more after 0 rows"),
        ("MOST_INPUT_BYTES", 31, "1 2\n3 4", "pictures in 31 bytes .* got 2 in 32 bytes"),
        ("MOST_PICTURES", 2, "1\n2\n3\n", "input must hold 1 to 2 pictures .* got 3 in"),
    ],
)
def test_a_text_beyond_a_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int, text: str, says: str
) -> None:
    (tmp_path / "x").write_text(text)
    monkeypatch.setattr(standalone, limit, most)
    with pytest.raises(standalone.InputError, match=says):
        standalone.read_images(tmp_path / "x")


def test_arguments_and_an_output_that_cannot_be_are_refused(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    npy(tmp_path / "x")
    assert predict(tmp_path / "x") == 2
    assert capsys.readouterr().err == "usage: python predict.py INPUT OUTPUT [FULL_SCALE]\n"
    assert predict(tmp_path / "x", tmp_path) == 2
    assert f"predict: output must be a file, got the folder {tmp_path}" in capsys.readouterr().err
