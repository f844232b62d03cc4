"""Arrays whose bytes end before what their headers state."""

import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_core.data.npy import npy_header, read_npy
from cnn_core.data.npz import read_npz
from cnn_core.errors import InputError


def test_a_member_whose_data_end_early_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(4))
    whole = (tmp_path / "a.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "cut.npz", "w") as file:
        file.writestr("a.npy", whole[:-8])
    content = bytearray((tmp_path / "cut.npz").read_bytes())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # what the archive states
        start = content.index(signature) + at
        content[start : start + 4] = struct.pack("<I", len(whole))
    (tmp_path / "cut.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npy: offset 152: the data ends, .* 8 bytes more"):
        read_npz(tmp_path / "cut.npz")


def test_a_file_that_shrinks_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(4))

    def then_cut(path: Path) -> Any:
        header = npy_header(path)
        os.truncate(path, header.length + 31)
        return header

    monkeypatch.setattr("cnn_core.data.npy.npy_header", then_cut)
    with pytest.raises(InputError, match=r"a\.npy: must not change while it is read"):
        read_npy(path)
