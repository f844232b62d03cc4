"""The first bytes decide what a file is; what cannot be read is refused by its name."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cnn_core.errors import InputError
from pipeline.inputs import Hints, open_input
from pipeline.inputs.contents import recognise
from tests.pipeline.test_inputs_tables import COUNT, IMAGES, LABELS, pixel_names, text, with_columns

TABLE = text(with_columns(LABELS), ["label", *pixel_names()])


def _npy() -> bytes:
    content = io.BytesIO()
    np.save(content, IMAGES.astype(np.uint8))
    return content.getvalue()


def _npz() -> bytes:
    content = io.BytesIO()
    np.savez(content, images=IMAGES.astype(np.uint8))
    return content.getvalue()


def _mat() -> bytes:
    from scipy.io import savemat

    content = io.BytesIO()
    savemat(content, {"images": IMAGES.astype(np.uint8)})
    return content.getvalue()


def _idx() -> bytes:
    return b"\0\0\x08\x03" + struct.pack(">3I", *IMAGES.shape) + IMAGES.astype(np.uint8).tobytes()


def _zip(*names: str, content: bytes = b"x") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return written.getvalue()


def _tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    return content.getvalue()


def _picture(form: str, mode: str = "RGB") -> bytes:
    content = io.BytesIO()
    Image.new(mode, (16, 16)).save(content, format=form)
    return content.getvalue()


def _joblib(compress: int) -> bytes:
    content = io.BytesIO()
    joblib.dump({"x": IMAGES}, content, compress=compress)
    return content.getvalue()


def _parquet() -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), content)
    return content.getvalue()


READ = {
    "table": [
        TABLE,
        b"\xef\xbb\xbf" + TABLE,
        gzip.compress(TABLE),
        b"BMI,label\n1,2\n",
        b"1 2\n3 4",
    ],
    "npy": [_npy()],
    "npz": [_npz()],
    "mat": [_mat()],
    "idx": [_idx(), gzip.compress(_idx())],
    "parquet": [_parquet()],
    "picture": [
        *map(_picture, ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA", "PCX", "ICO")),
        *(_picture(form) for form in ("SGI", "JPEG2000", "DDS")),
        _picture("PNG")[:60],
    ],
}
READ["table"] += [_zip("any", content=TABLE), _zip("any", "__MACOSX/._any", content=TABLE)]


@pytest.mark.parametrize("kind", sorted(READ))
@pytest.mark.parametrize("ending", [".csv", ".png", ".npz", ""])
def test_the_first_bytes_decide(kind: str, ending: str, tmp_path: Path) -> None:
    for n, content in enumerate(READ[kind]):
        path = tmp_path / f"{n}{ending}"
        path.write_bytes(content)
        assert recognise(path) == kind, n


REFUSED = {
    "a Python pickle, which can run code .*numpy.savez": [
        *(pickle.dumps({"x": [1, 2, 3], "y": "abc"}, protocol=n) for n in range(6)),
        *(pickle.dumps(IMAGES, protocol=n) for n in range(6)),
        *(pickle.dumps([(n, str(n)) for n in range(3000)], protocol=n) for n in range(6)),
        gzip.compress(pickle.dumps((IMAGES, LABELS), protocol=2)),
        _joblib(0),
    ],
    "zlib-compressed data, as joblib writes": [_joblib(3), zlib.compress(TABLE)],
    "a PyTorch file": [_zip("model/data.pkl", "model/data/0")],
    "a zip archive of 2 files .*unpack it": [_zip("a", "b", content=TABLE)],
    "a zip archive of an IDX file .*unpack it": [_zip("any", content=_idx())],
    "a zip archive of 0 files": [_zip()],
    "an Excel workbook .*CSV": [_zip("xl/workbook.xml", "_rels/.rels")],
    "an old Excel workbook": [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)],
    "a tar archive .*unpack it": [_tar(), gzip.compress(_tar()), _zip("any", content=_tar())],
    "a 7z archive": [b"7z\xbc\xaf\x27\x1c\0\4" + bytes(50)],
    "a RAR archive": [b"Rar!\x1a\7\1\0" + bytes(50)],
    "xz-compressed data": [lzma.compress(TABLE)],
    "bzip2-compressed data": [bz2.compress(TABLE)],
    "a MATLAB 7.3 file": [b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600)],
    "an HDF5 file": [b"\x89HDF\r\n\x1a\n" + bytes(600)],
    "a PDF document": [b"%PDF-1.7\n%\xe2\xe3"],
    "an HTML page .*saved in place": [b"<!DOCTYPE html>\n<html>", b"\n <html><body>"],
    "an SVG drawing .*PNG": [b"<svg xmlns='x'>", b"<?xml version='1.0'?>\n<!-- a -->\n<svg>"],
    "an XML document": [b"<?xml version='1.0'?><data/>"],
    "a JSON document": [json.dumps({"a": [1]}).encode(), b"[[1, 2], [3, 4]]"],
    "UTF-16 text .*UTF-8": [TABLE.decode().encode("utf-16")],
    "a pointer of Git LFS": [b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"],
    "a Feather file": [b"ARROW1\0\0" + bytes(80)],
    "gzip-compressed a NumPy array|a gzip-compressed NumPy array": [gzip.compress(_npy())],
    "no known kind .01 02 03 04": [b"\1\2\3\4" * 30],
    "must not be empty": [b"", gzip.compress(b""), _zip("any", content=b"")],
    "compressed data must be whole": [b"PK\3\4" + bytes(90), gzip.compress(TABLE)[:9]],
}


@pytest.mark.parametrize("match", sorted(REFUSED))
def test_what_cannot_be_read_is_called_by_its_name(match: str, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    for n, content in enumerate(REFUSED[match]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=match) as caught:
            open_input(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value), n


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"readable file or folder, got .*absent.csv \(No such"):
        open_input(tmp_path / "absent.csv")


def test_a_folder_that_holds_data_instead_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "train.csv").write_bytes(TABLE)
    (tmp_path / "LICENSE.pdf").write_bytes(b"%PDF-1.7\n")
    with pytest.raises(InputError, match=r"got files of data \(inner/train.csv\).*give the file"):
        open_input(tmp_path)


def test_a_folder_of_a_file_of_its_name_is_that_file(tmp_path: Path) -> None:
    folder = tmp_path / "train.csv"
    folder.mkdir()
    (folder / "train.csv").write_bytes(TABLE)
    assert sum(len(block.ids) for block in open_input(folder, Hints()).blocks(50)) == COUNT


def test_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "bomb.csv"
    row = (",".join(["0"] * 64) + "\n").encode()
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(700):
            file.write(row * 1000)
    assert path.stat().st_size < 500_000
    tracemalloc.start()
    with pytest.raises(InputError, match="may grow at most 100 times"):
        Counter(len(block.ids) for block in open_input(path, Hints()).blocks(1000))
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(64):
            file.write(b"1" * (1 << 20))
    with pytest.raises(InputError, match="a line must have at most"):
        open_input(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def _written(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=13)
    return path


def _png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(content, format="PNG")
    return content.getvalue()


def _all(path: Path, hints: Hints | None = None) -> tuple[np.ndarray, list[str], list[str]]:
    blocks = list(open_input(path, hints or Hints()).blocks(10))
    assert all(len(block.ids) <= 10 for block in blocks)
    return (
        np.concatenate([np.asarray(block.pictures) for block in blocks]),
        [name for block in blocks for name in block.ids],
        [label for block in blocks for label in block.labels or ()],
    )


def test_parquet_of_encoded_pictures(tmp_path: Path) -> None:
    encoded = [_png(image) for image in IMAGES]
    structures = [{"bytes": content, "path": None} for content in encoded]
    for cells in (structures, encoded):
        path = _written(tmp_path / "a.parquet", image=cells, label=LABELS)
        found, ids, labels = _all(path, Hints(need_labels=True))
        np.testing.assert_array_equal(found, IMAGES[:, None])
        assert labels == [str(label) for label in LABELS]
        assert ids == [str(n) for n in range(1, COUNT + 1)]
    source = open_input(path)
    assert source.count == COUNT
    assert source.understood == (
        "parquet; label: column 'label' (last); no ids; pictures: column 'image'"
    )
    names = [f"{n}.png" for n in range(COUNT)]
    found, ids, labels = _all(_written(path, filename=names, image=encoded))
    assert ids == names and labels == []
    assert _all(_written(path, image=encoded))[0].shape == (COUNT, 1, 8, 8)
    with pytest.raises(InputError, match="labels are needed"):
        open_input(path, Hints(need_labels=True))


def test_parquet_of_pixels(tmp_path: Path) -> None:
    flat = IMAGES.reshape(COUNT, -1)
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame(flat.astype(np.uint8), columns=pixel_names())
    frame["letter"] = ["ab"[n % 2] for n in LABELS]
    frame.to_parquet(path)
    found, _, labels = _all(path, Hints(need_labels=True))
    np.testing.assert_array_equal(found, IMAGES[:, None])
    assert labels == ["ab"[n % 2] for n in LABELS]
    for cells in (flat.tolist(), IMAGES.tolist()):
        found, _, labels = _all(_written(path, pixels=cells, y=LABELS))
        np.testing.assert_array_equal(found, IMAGES[:, None])
        assert labels == [str(label) for label in LABELS]
    frame = frame.astype({"pixel9": int})
    frame.loc[7, "pixel9"] = -1
    frame.to_parquet(path)
    with pytest.raises(InputError, match="got -1 in row 8, column 'pixel9'"):
        _all(path)


def test_parquet_without_a_label_in_a_row(tmp_path: Path) -> None:
    """NaN is refused as null is, unless it stands in what is only to be predicted."""
    encoded = [_png(image) for image in IMAGES]
    labels = [float(label) for label in LABELS]
    path = _written(tmp_path / "a.parquet", image=encoded, label=[*labels[:-1], float("nan")])
    with pytest.raises(InputError, match=f"got NaN in row {COUNT}, column 'label'"):
        _all(path, Hints(need_labels=True))
    names = tuple(map(str, sorted({*LABELS})))
    assert len(_all(path, Hints(class_names=names))[1]) == COUNT


def test_parquet_that_is_damaged_or_incomplete(tmp_path: Path) -> None:
    encoded = [_png(image) for image in IMAGES]
    path = _written(tmp_path / "a.parquet", image=encoded, label=LABELS)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="parquet file must be whole"):
        open_input(path)
    _written(path, image=[*encoded[:-1], b"no picture"], label=LABELS)
    with pytest.raises(InputError, match=f"row {COUNT} of"):
        _all(path)
    _written(path, image=encoded, label=[*LABELS[:-1], None])
    with pytest.raises(InputError, match=f"empty cell in row {COUNT}, column 'label'"):
        _all(path)
    _written(path, image=encoded, mask=encoded, label=LABELS)
    with pytest.raises(InputError, match="one column of pictures, got image, mask"):
        open_input(path)


def test_tables_do_not_wait_for_pyarrow_at_import() -> None:
    import subprocess
    import sys

    code = (
        "import sys, pipeline.inputs.tables.table_source, pipeline.inputs.contents; "
        "print({'pyarrow', 'PIL', 'scipy', 'pandas'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_pipe_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")
    for path in (tmp_path / "x.csv", Path("/dev/zero")):
        with pytest.raises(InputError, match="must be a file or folder, got a pipe or a device"):
            open_input(path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "a.png")
    (tmp_path / "folder" / "b.png").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"got 2 others: a\.png, b\.png"):
        open_input(tmp_path / "folder")


def test_a_zip_of_very_many_files_is_refused_unlisted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _zip(*(f"{k}.txt" for k in range(5000)))
    (tmp_path / "x.zip").write_bytes(content)
    monkeypatch.setattr(zipfile, "ZipFile", pytest.fail)  # it would make an object per file
    with pytest.raises(InputError, match=r"got 5,000 files in .*x\.zip; unpack it"):
        open_input(tmp_path / "x.zip")


def test_damaged_lzma_inside_a_zip_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.csv", TABLE)
    damaged = bytearray(content.getvalue())
    damaged[60:90] = bytes(30)
    (tmp_path / "x.zip").write_bytes(damaged)
    with pytest.raises(InputError, match="compressed data must be whole, got"):
        open_input(tmp_path / "x.zip")
