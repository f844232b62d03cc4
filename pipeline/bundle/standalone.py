"""A bundle's command: read images, write labels. `predict.py` in a bundle is this file joined with
those that it needs.
"""

import gzip
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.bundle.predictor import load
from pipeline.records.manifest import BundleError


def read_images(path: Path) -> NDArray[Any]:
    """Return the images of a .npy file, an IDX file (also .gz), or text rows of integers with
    blanks or commas between.
    """
    if path.suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content[:3] == b"\x00\x00\x08":
        shape = np.frombuffer(content, ">u4", count=content[3], offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)
    lines = content.decode("ascii").replace(",", " ").splitlines()
    rows = np.array([line.split() for line in lines if line.strip()], dtype=np.int64)
    if rows.size and not 0 <= rows.min() <= rows.max() <= 255:
        raise BundleError(
            f"pixels must be integers from 0 to 255, got {rows.min()} to {rows.max()} in {path}"
        )
    return rows.astype(np.uint8)


def main(arguments: Sequence[str]) -> int:
    """Read images, write one label a line; return the exit code."""
    if len(arguments) != 2:
        print("usage: python predict.py INPUT OUTPUT", file=sys.stderr)
        return 2
    try:
        labels = (
            load(Path(__file__).parent)
            .predict_proba(read_images(Path(arguments[0])))
            .argmax(axis=1)
        )
    except (BundleError, OSError, ValueError) as error:
        print(f"predict: {error}", file=sys.stderr)
        return 2
    Path(arguments[1]).write_text("".join(f"{label}\n" for label in labels))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
