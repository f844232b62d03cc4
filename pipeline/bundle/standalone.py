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
    """Return the pictures of a .npy file, an IDX file (also .gz), or text rows of numbers with
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
    rows = np.array([line.split() for line in lines if line.strip()], dtype=np.float64)
    return rows


def main(arguments: Sequence[str]) -> int:
    """Read pictures, write the name of a class a line; return the exit code."""
    if len(arguments) not in (2, 3):
        print("usage: python predict.py INPUT OUTPUT [FULL_SCALE]", file=sys.stderr)
        return 2
    try:
        full_scale = float(arguments[2]) if len(arguments) == 3 else None
        bundle = load(Path(__file__).parent)
        images = bundle.prepared(read_images(Path(arguments[0])), full_scale)
        labels = bundle.predict_proba(images).argmax(axis=1)
    except (BundleError, OSError, ValueError) as error:
        print(f"predict: {error}", file=sys.stderr)
        return 2
    names = "".join(f"{bundle.class_names[label]}\n" for label in labels)
    Path(arguments[1]).write_text(names, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
