"""Pixels stand where their names' numbers say, whatever the order of the columns in a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.inputs import Hints, open_input
from tests.pipeline.test_inputs_tables import (
    IMAGES,
    LABELS,
    PIXELS,
    TRAINING,
    check,
    pixel_names,
    read,
    refused,
    rows,
    text,
    with_columns,
)

KNOWN = Hints(class_names=tuple(map(str, range(10))), shape=(1, 8, 8))
GRID = [(row, column) for row in range(8) for column in range(8)]
SAID = "pixels in the order of their names"
NAMES = {
    "from 0": pixel_names(),
    "from 1": [f"p_{n}" for n in range(1, 65)],
    "zeros": [f"px{n:03}" for n in range(64)],
    "numbers": [str(n) for n in range(64)],
    "R": [f"V{n}" for n in range(2, 66)],
    "again": ["pixel", *(f"pixel.{n}" for n in range(1, 64))],
    "grid": [f"{row + 1}x{column + 1}" for row, column in GRID],
    "letters": [f"r{row}_c{column}" for row, column in GRID],
    "x first": [f"x{column}y{row}" for row, column in GRID],
    "a number beside": [f"img8_{n}" for n in range(64)],
}
SHUFFLED = [int(n) for n in np.random.default_rng(8).permutation(PIXELS)]
COLUMNS = [8 * (n % 8) + n // 8 for n in range(PIXELS)]


def _moved(names: Sequence[str], order: Sequence[int], labelled: bool) -> bytes:
    cells = [[row[n] for n in order] for row in rows()]
    header = [names[n] for n in order]
    if not labelled:
        return text(cells, header)
    labels = [str(label) for label in LABELS]
    return text([[a, *b] for a, b in zip(labels, cells, strict=True)], ["label", *header])


@pytest.mark.parametrize("kind", NAMES)
def test_any_order_of_columns_gives_the_same_pictures(tmp_path: Path, kind: str) -> None:
    names, path = NAMES[kind], tmp_path / "a.csv"
    by_text = sorted(range(PIXELS), key=lambda n: names[n])
    for order in (SHUFFLED, COLUMNS, by_text):
        moved = list(order) != list(range(PIXELS))
        assert (SAID in check(path, _moved(names, order, True), LABELS)) == moved
        assert (SAID in check(path, _moved(names, order, False), None, hints=KNOWN)) == moved
    assert SAID not in check(path, _moved(names, range(PIXELS), True), LABELS)


def test_a_parquet_table_has_its_pixels_by_name_too(tmp_path: Path) -> None:
    frame = pd.DataFrame(IMAGES.reshape(len(IMAGES), -1), columns=pixel_names())
    frame = frame.iloc[:, SHUFFLED].assign(label=LABELS)
    frame.to_parquet(tmp_path / "a.parquet")
    found, _, labels = read(tmp_path / "a.parquet")
    np.testing.assert_array_equal(found[:, 0], IMAGES)
    assert labels == [str(label) for label in LABELS]
    assert SAID in open_input(tmp_path / "a.parquet", TRAINING).understood


def test_planes_of_colours_are_put_in_order_each(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(8), np.arange(8))
    base = np.random.default_rng(1).integers(0, 40, (60, 1, 1, 1))
    images = ramp * 12 + base + np.array([0, 3, 6])[:, None, None]
    cells = [
        [str(value) for value in image[:, COLUMNS].ravel()] for image in images.reshape(60, 3, -1)
    ]
    names = [f"{colour}{n}" for colour in "rgb" for n in COLUMNS]
    said = check(tmp_path / "a.csv", text(cells, names), None, hints=Hints(), images=images)
    assert SAID in said and "plane by plane" in said
    turned = [n + 64 * plane for plane in (2, 0, 1) for n in range(64)]
    for order in (turned, [64 * plane + n for n in range(64) for plane in (2, 1, 0)]):
        content = text([[row[n] for n in order] for row in cells], [names[n] for n in order])
        assert SAID in check(tmp_path / "a.csv", content, None, hints=Hints(), images=images)
    order = [int(n) for n in np.random.default_rng(2).permutation(3 * PIXELS)]
    content = text([[row[n] for n in order] for row in cells], [names[n] for n in order])
    refused(tmp_path / "a.csv", content, "pixels named in 3 ways .* a mixture", Hints())


def test_another_column_never_fills_the_gap_of_a_missing_pixel(tmp_path: Path) -> None:
    path, numbers = tmp_path / "a.csv", range(1, len(IMAGES) + 1)
    without = [[cell for n, cell in enumerate(row) if n != 20] for row in rows()]
    names = [name for name in pixel_names() if name != "pixel20"]
    grid = [name for n, name in enumerate(NAMES["grid"]) if n != 20]
    counted = [str(n) for n in range(PIXELS) if n != 20]
    for given, gap in ((names, "pixel20"), (grid, "3x5"), (counted, "20")):
        first = [[str(n), *row] for n, row in zip(numbers, without, strict=True)]
        last = [[*row, str(label)] for row, label in zip(without, LABELS, strict=True)]
        for lines, header in ((first, ["nr", *given]), (last, [*given, "what"])):
            other = "nr" if lines is first else "what"
            for hints in (KNOWN, TRAINING, Hints()):
                refused(path, text(lines, header), f"missing: {gap}.*'{other}'", hints)
        refused(path, text(without, given), f"missing: {gap}", KNOWN)
    content = text(
        [[str(n), *row[:-1]] for n, row in zip(numbers, rows(), strict=True)],
        ["nr", *pixel_names(63)],
    )
    refused(path, content, "63 of them numbers .* beside 'nr'", KNOWN)


def test_a_label_among_numbered_columns_is_no_gap(tmp_path: Path) -> None:
    content = text(with_columns(LABELS, at=30), [f"V{n}" for n in range(1, 66)])
    check(tmp_path / "a.csv", content, LABELS, hints=Hints(need_labels=True, label="V31"))
