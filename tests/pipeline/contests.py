"""Small contests in the forms that real ones have, made of scikit-learn's digits: a table, pictures
with a table of labels, colour pictures in one folder a class, an unbalanced one.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAIN, TEST = 400, 60


def digits(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return `TRAIN` + `TEST` digits, (N, 8, 8) of 0 to 255, and their labels, in random order."""
    bunch = load_digits()
    chosen = np.random.default_rng(seed).permutation(len(bunch.images))[: TRAIN + TEST]
    return np.rint(bunch.images[chosen] * (255 / 16)).astype(np.uint8), bunch.target[chosen]


def table_contest(folder: Path) -> dict[str, str]:
    """Write train.csv (an index, pixels, the label last), test.csv and sample_submission.csv;
    return the truth, id -> label.
    """
    images, labels = digits()
    names = [f"pixel{k}" for k in range(64)]
    rows = images.reshape(len(images), -1).tolist()
    train = [[k, *row, label] for k, (row, label) in enumerate(zip(rows, labels, strict=True))]
    _write(folder / "train.csv", ["", *names, "letter"], train[:TRAIN])
    tested = [[f"t{k}", *row] for k, row in enumerate(rows[TRAIN:])]
    _write(folder / "test.csv", ["Id", *names], tested)
    order = np.random.default_rng(1).permutation(TEST)
    _write(folder / "sample_submission.csv", ["Id", "letter"], [[f"t{k}", 0] for k in order])
    return {f"t{k}": str(label) for k, label in enumerate(labels[TRAIN:])}


def picture_contest(folder: Path) -> dict[str, str]:
    """Write train/ and test/ with dark figures on light paper in files of several kinds, train.csv
    with ids without endings and labels in words, sample_submission.csv; return the truth.
    """
    images, labels = digits(2)
    endings = ("png", "webp", "tif", "bmp")
    rows: list[list[str]] = []
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        part = "train" if k < TRAIN else "test"
        place = folder / part / f"img_{k:04d}.{endings[k % 4]}"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(255 - image).resize((20, 24 + 2 * (k % 2)))
        picture.save(place, **({"lossless": True} if place.suffix == ".webp" else {}))
        rows.append([f"img_{k:04d}", WORDS[label]])
    _write(folder / "train.csv", ["image", "kind"], rows[:TRAIN])
    asked = [[name, WORDS[0]] for name, _ in reversed(rows[TRAIN:])]
    _write(folder / "sample_submission.csv", ["image", "kind"], asked)
    return {row[0]: row[1] for row in rows[TRAIN:]}


def colour_pictures(folder: Path) -> None:
    """Write red, green and blue figures, one folder a colour."""
    images, _ = digits(3)
    for k, image in enumerate(images[:120]):
        planes = np.zeros((8, 8, 3), np.uint8)
        planes[:, :, k % 3] = image
        place = folder / ("red", "green", "blue")[k % 3] / f"{k:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(planes).resize((16, 16), Image.Resampling.NEAREST).save(place)


def unbalanced_pictures(folder: Path) -> None:
    """Write 40 zeros and 12 ones, one folder a class."""
    images, labels = digits(4)
    for word, kept in (("zero", 40), ("one", 12)):
        chosen = np.flatnonzero(labels == WORDS.index(word))[:kept]
        for k in chosen:
            place = folder / word / f"{k:03d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[k]).save(place)


@contextmanager
def changed(path: Path) -> Iterator[list[list[str]]]:
    """Yield a table's cells, header first, and write back what became of them."""
    cells = [line.split(",") for line in path.read_text().splitlines()]
    yield cells
    path.write_text("".join(",".join(row) + "\n" for row in cells))


def _write(path: Path, header: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
