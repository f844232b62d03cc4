"""Bombs and hostile files are refused in one line, with little memory, before anything of theirs
runs.
"""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from cnn_core.errors import InputError
from pipeline.inputs import rows
from tests.pipeline.test_inputs import _refused


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
    text = tmp_path / "bomb.csv.gz"
    row = (("0," * 783 + "0\n") * 40).encode()
    with gzip.open(text, "wb", compresslevel=9) as file:
        for _ in range(1200):  # 75 MB
            file.write(row)
    one_line = tmp_path / "line.csv.gz"
    _bomb(one_line, b"1", 64)
    with _Peak() as peak:
        _refused(one_line, "at most 25152 characters|zero byte")
    assert peak.bytes < 50e6
    lines = 0
    with _Peak() as peak, pytest.raises(InputError, match="may grow at most 100 times"):
        for _ in rows._lines(text, 25152):
            lines += 1
    assert lines > 1000 and peak.bytes < 50e6
