"""Small data sets of one's own, written in each format that can be read."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

COUNT, CLASSES = 60, 4


def made(
    count: int = COUNT, shape: tuple[int, ...] = (6, 6), seed: int = 0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return images (N, *shape) and labels, each class as frequent as the others."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % CLASSES


def idx_bytes(array: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(path: Path, array: npt.NDArray[np.integer]) -> str:
    """Write an IDX file (compressed if the name says so); return the sha256 of what is inside."""
    content = idx_bytes(array.astype(np.uint8))
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return hashlib.sha256(content).hexdigest()


def write_csv(
    path: Path,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    *,
    header: bool,
    label_last: bool = False,
) -> None:
    flat = images.reshape(len(images), -1)
    names = [f"pixel{n}" for n in range(flat.shape[1])]
    columns = [*names, "label"] if label_last else ["label", *names]
    rows = [
        [*row, label] if label_last else [label, *row]
        for row, label in zip(flat.tolist(), labels.tolist(), strict=True)
    ]
    lines = [",".join(columns)] if header else []
    path.write_text("\n".join([*lines, *(",".join(map(str, row)) for row in rows)]) + "\n")


def write_pictures(
    folder: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], suffix: str = ".png"
) -> None:
    from PIL import Image

    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:04d}{suffix}")
