"""Bombs and hostile files are refused in one line, with little memory, before anything of theirs
runs.
"""

import gzip
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_core.errors import InputError
from pipeline.inputs import pictures as picture_reader
from pipeline.inputs import rows
from tests.pipeline.test_inputs import _npy, _npz, _refused


class _Peak:
    """Python's own peak of memory within the block, in bytes."""

    def __enter__(self) -> "_Peak":
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def _bomb(path: Path, start: bytes, megabytes: int) -> None:
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(start)
        for _ in range(megabytes):
            file.write(bytes(1 << 20))


def test_gzip_bombs_are_refused_with_little_memory(tmp_path: Path) -> None:
    idx = tmp_path / "bomb-images-idx3-ubyte.gz"
    _bomb(idx, b"\0\0\x08\x03" + struct.pack(">3I", 1_370_000, 28, 28), 128)
    text = tmp_path / "bomb.csv.gz"
    row = (("0," * 783 + "0\n") * 40).encode()
    with gzip.open(text, "wb", compresslevel=9) as file:
        for _ in range(1200):  # 75 MB
            file.write(row)
    one_line = tmp_path / "line.csv.gz"
    _bomb(one_line, b"1", 64)
    with _Peak() as peak:
        _refused(idx, "may hold at most")
        _refused(one_line, "at most 25152 characters|zero byte")
    assert peak.bytes < 50e6
    lines = 0
    with _Peak() as peak, pytest.raises(InputError, match="may grow at most 100 times"):
        for _ in rows._lines(text, 25152):
            lines += 1
    assert lines > 1000 and peak.bytes < 50e6


def test_hostile_archives_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(_npz(images=np.array([{"a": 1}], dtype=object)))
    _refused(path, "bad.npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.npy", _npy(np.zeros((1, 28, 28), np.uint8)))
    _refused(path, "inside the archive")
    assert not (tmp_path.parent / "evil.npy").exists()
    with zipfile.ZipFile(path, "w") as archive:
        header = _npy(np.zeros((1, 28, 28), np.uint8))[:8] + struct.pack("<H", 60000)
        archive.writestr("images.npy", header + bytes(100))
    _refused(path, "header may have at most")
    content = _npz(images=np.zeros((1, 28, 28), np.uint8))
    path.write_bytes(
        content.replace(struct.pack("<H", 1) + struct.pack("<H", 1), struct.pack("<H", 60000) * 2)
    )
    _refused(path, "members")


def test_pictures_that_are_bombs_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = tmp_path / "big.png"
    Image.new("1", (9000, 9000)).save(big)  # 81 million pixels in 10 KB
    with _Peak() as peak:
        _refused(big, "at most 40,000,000 pixels, got 9000x9000")
    assert peak.bytes < 10e6
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)).save(
        whole, format="PNG"
    )
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.getvalue()[:-500])
    _refused(cut, "whole and readable")
    monkeypatch.setattr(picture_reader, "MAX_PIXELS", 3000)
    cut.write_bytes(whole.getvalue())
    _refused(cut, "at most 3,000 pixels")
