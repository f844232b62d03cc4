"""Readers of pictures, tables, arrays and labels as targets, by what the bytes are, and envelopes
(gzip, zip, MATLAB's compressed elements) whose checksums are made right.
"""

import gzip
import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.fuzz.mutations import of_table
from tests.fuzz.target import SEPARATOR, Target, place, written

NAMES = ("images", "labels", "more")


def stored_zip(members: dict[str, bytes]) -> bytes:
    """Return a zip archive of these members, their CRC right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def npz_of(data: bytes, names: Sequence[str] = NAMES) -> bytes:
    """Return an archive whose members are the parts of `data`."""
    parts = data.split(SEPARATOR)[: len(names)]
    return stored_zip({f"{name}.npy": part for name, part in zip(names, parts, strict=False)})


def with_png_checksums(data: bytes) -> bytes:
    """Return a PNG with the checksum of each of its chunks right; other bytes as they are."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    done, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            break
        done += [data[at:end], struct.pack(">I", zlib.crc32(data[at + 4 : end]))]
        at = end + 4
    return b"".join([*done, data[at:]])


def opened(path: Path, variant: int) -> None:
    """Read an input as training and prediction do, with hints by `variant`, to its end."""
    from cnn_core.errors import InputError
    from pipeline.inputs import Hints, open_input

    hints = (
        Hints(),
        Hints(need_labels=True, class_names=("0", "1", "2")),
        Hints(label="none", on_damaged="skip"),
        Hints(shape=(1, 2, 2)),
    )[variant % 4]
    with suppress(InputError):
        source, count = open_input(path, hints), 0
        for block in source.blocks(3):
            count += len(block.ids)
            assert len(block.pictures) == len(block.ids)
            assert block.labels is None or len(block.labels) == len(block.ids)
            assert all(picture.ndim == 3 for picture in block.pictures)
            assert all(picture.dtype.kind in "biuf" for picture in block.pictures)
        assert source.count in (None, count)


def whole(data: bytes) -> None:
    opened(written(data), len(data))


def picture(data: bytes) -> None:
    opened(written(with_png_checksums(data)), len(data))


def packed_table(data: bytes) -> None:
    opened(written(gzip.compress(data, 1, mtime=0)), len(data))


def zipped_table(data: bytes) -> None:
    opened(written(stored_zip({"table.csv": data})), len(data))


def npz_members(data: bytes) -> None:
    opened(written(npz_of(data)), len(data))


def packed_mat(data: bytes) -> None:
    """Compress each part as an element of a MATLAB file."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    elements = (zlib.compress(part, 1) for part in data.split(SEPARATOR)[:3])
    content = b"".join(struct.pack("<II", 15, len(one)) + one for one in elements)
    opened(written(header + content), len(data))


def labels(data: bytes) -> None:
    from cnn_core.errors import InputError
    from pipeline.inputs.labels.label_files import read_labels

    path = written(data if len(data) % 2 else gzip.compress(data, 1, mtime=0))
    with suppress(InputError):
        found = read_labels(path)
        assert found.ids is None or len(found.ids) == len(found.labels)
        found.in_order(len(found.labels), "images")


def template(data: bytes) -> None:
    from cnn_core.errors import InputError
    from pipeline.predictions.template import read_template

    with suppress(InputError):
        read_template(written(data), ("a", "b", "c"), "id").lines(("a", "b", "c"))


def contest_file(data: bytes) -> None:
    """Look at a file of a contest's folder: what is wrong with it is told, nothing is raised."""
    from pipeline.contest_folder.array_parts import array_parts
    from pipeline.contest_folder.found_files import look_at

    array_parts(look_at(written(data, "train.bin")))


def folder(data: bytes) -> None:
    """Read a folder of one small picture under each line's name."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (2, 2)).save(buffer, "PNG")
    root = Path(place().name) / "folder"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for line in data.decode(errors="surrogateescape").split("\n")[:8]:
        parts = [part for part in line.split("/") if part not in ("", ".", "..")]
        with suppress(OSError, ValueError):  # names that no file can have
            inside = root.joinpath(*parts)
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_bytes(buffer.getvalue())
    opened(root, len(data))


def archive(data: bytes) -> None:
    """Read an archive of arrays, whatever its bytes, by each of its readers."""
    from cnn_core.data.npz import arrays_of, npz_headers, npz_values, read_npz
    from cnn_core.errors import InputError

    path = written(data)
    with suppress(InputError):
        arrays_of(data, "archive")
    with suppress(InputError):
        read_npz(path)
    with suppress(InputError):
        for name in npz_headers(path):
            with npz_values(path, name) as values:
                values.read(100)
    opened(path, len(data))


def npy(data: bytes) -> None:
    from cnn_core.data.npy import npy_header, read_npy
    from cnn_core.errors import InputError

    path = written(data)
    with suppress(InputError):
        assert read_npy(path).nbytes == npy_header(path).size_bytes
    opened(path, len(data))


INPUT_TARGETS = (
    Target("table", whole, of_table),
    Target("table_in_gzip", packed_table, of_table),
    Target("table_in_zip", zipped_table, of_table),
    Target("labels", labels, of_table),
    Target("template", template, of_table),
    Target("idx", whole),
    Target("npy", npy),
    Target("npz_members", npz_members),
    Target("npz_archive", archive),
    Target("mat", whole),
    Target("mat_packed", packed_mat),
    Target("parquet", whole),
    Target("picture", picture),
    Target("contest_file", contest_file),
    Target("picture_folder", folder, longest=400),
)
