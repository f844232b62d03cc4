"""A bundle's command: read images, write labels. `predict.py` in a bundle is this file joined with
those that it needs. What it reads may be a stranger's, as in `pipeline.predict`; what it takes is
bounded instead of read in parts.
"""

import os
import sys
import tempfile
from array import array
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.idx import idx_header, open_idx, read_idx
from cnn_core.data.npy import npy_header, read_npy
from cnn_core.errors import InputError
from cnn_core.plain_text import safe_cell
from pipeline.bundle.predictor import load

MOST_INPUT_BYTES = 512 << 20  # of values, in the file and as the nets see them
MOST_PICTURES = 1_000_000
LONGEST_LINE = 4 << 20


def read_images(path: Path) -> NDArray[Any]:
    """Return the pictures of a .npy file, an IDX file (also .gz), or text rows of numbers with
    blanks or commas between. Raises InputError for anything else, and for more than 512 MB of
    values or a million pictures.
    """
    with open_idx(path) as stream:
        start = stream.read(6)
    if start == b"\x93NUMPY":
        header = npy_header(path)
        _check_amount(header.shape[0] if header.shape else 0, header.size_bytes, path)
        return read_npy(path)
    if start[:3] == b"\0\0\x08":
        shape = idx_header(path).shape
        _check_amount(shape[0], int(np.prod(shape)), path)
        return read_idx(path, len(shape))
    return _text_rows(path)


def _check_amount(pictures: int, size: int, where: Path | str) -> None:
    if not 1 <= pictures <= MOST_PICTURES or size > MOST_INPUT_BYTES:
        raise InputError(
            f"input must hold 1 to {MOST_PICTURES:,} pictures in {MOST_INPUT_BYTES:,} bytes "
            "(python -m pipeline.predict reads more), got "
            f"{pictures:,} in {size:,} bytes in {where}"
        )


def _text_rows(path: Path) -> NDArray[Any]:
    values, width, rows, read = array("d"), 0, 0, 0
    with open_idx(path) as stream:
        while line := stream.readline(LONGEST_LINE + 1):
            read += len(line)
            if len(line) > LONGEST_LINE or read > MOST_INPUT_BYTES:
                raise InputError(
                    f"a line may have {LONGEST_LINE:,} bytes and a text {MOST_INPUT_BYTES:,}, got "
                    f"more after {rows} rows of {path}"
                )
            cells = line.replace(b",", b" ").split()
            if not cells:
                continue
            rows += 1
            try:
                values.extend(map(float, cells))
            except ValueError:
                raise InputError(
                    f"input must be .npy, IDX or rows of numbers, got {line[:40]!r} in row {rows} "
                    f"of {path}"
                ) from None
            width = width or len(cells)
            if len(cells) != width:
                raise InputError(
                    f"every row must have {width} numbers as the first, got {len(cells)} in row "
                    f"{rows} of {path}"
                )
            _check_amount(rows, 8 * len(values), path)
    _check_amount(rows, 8 * len(values), path)
    return np.frombuffer(values, np.float64).reshape(rows, width)


def write_names(output: Path, names: Sequence[str]) -> None:
    """Write a name a line into a file that appears whole or not at all."""
    if output.is_dir():
        raise InputError(f"output must be a file, got the folder {output}")
    handle, name = tempfile.mkstemp(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{name}\n" for name in names)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> int:
    """Read pictures, write the name of a class a line; return the exit code."""
    if len(arguments) not in (2, 3):
        print("usage: python predict.py INPUT OUTPUT [FULL_SCALE]", file=sys.stderr)
        return 2
    try:
        full_scale = float(arguments[2]) if len(arguments) == 3 else None
        bundle = load(Path(__file__).parent)
        names = [safe_cell(name, "a label") for name in bundle.class_names]
        pictures = read_images(Path(arguments[0]))
        count, size = len(pictures), len(pictures) * prod(bundle.image_shape)
        _check_amount(count, size, f"{arguments[0]}, as the nets see them")
        images = bundle.prepared(pictures, full_scale)
        labels: list[int] = []  # in parts, since all answers together may be many
        for start in range(0, len(images), bundle.block):
            part = bundle.predict_proba(images[start : start + bundle.block])
            labels += part.argmax(axis=1).tolist()
        write_names(Path(arguments[1]), [names[label] for label in labels])
    except (ValueError, OSError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"predict: {reason}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
