"""All pictures of an input have one depth and one background: what is decided for all at once is
refused where it fits but some.
"""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnn_core.data.agreement import Agreement
from cnn_core.data.image_form import ImageForm
from cnn_core.errors import InputError
from pipeline.configuration import compose
from pipeline.data import opened_for_evaluation, prepare_test
from pipeline.data.survey import survey_of
from pipeline.inputs import Hints, open_input, reading
from pipeline.inputs.reading import open_as_trained

FORM = ImageForm(channels=1, height=8, width=8, background="dark")
RNG = np.random.default_rng(1)


def figure() -> np.ndarray:
    """Return a light figure on a dark ground."""
    grey = np.zeros((8, 8), np.uint8)
    grey[2:6, 2:6] = RNG.integers(100, 256, (4, 4))
    return grey


def save(folder: Path, pictures: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, grey in enumerate(pictures):
        ending = "tif" if grey.dtype == np.float32 else "png"
        Image.fromarray(grey).save(folder / f"{number:03}.{ending}")
    return folder


def consume(folder: Path, polarity: str = "auto") -> np.ndarray:
    reading = open_as_trained(folder, FORM, Hints(), polarity=polarity)
    return np.concatenate([batch.images for batch in reading.batches()])


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_pictures_of_two_depths_are_refused(kind: type, tmp_path: Path) -> None:
    scale = 257 if kind is np.uint16 else 1 / 255
    deep = [(figure() * float(scale)).astype(kind) for _ in range(10)]
    folder = save(tmp_path / "a", [figure() for _ in range(20)] + deep)
    with pytest.raises(InputError, match=f"one depth, got .*{kind.__name__}.* in {folder}"):
        consume(folder)
    with pytest.raises(InputError, match=f"one depth, got .*{kind.__name__}.* in {folder}"):
        survey_of(open_input(folder), str(folder))  # as training data


def test_encoded_pictures_in_a_table_of_two_depths_are_refused(tmp_path: Path) -> None:
    def encoded(picture: np.ndarray) -> bytes:
        Image.fromarray(picture).save(content := io.BytesIO(), "PNG")
        return content.getvalue()

    deep = figure().astype(np.uint16) * 257
    table = pd.DataFrame({"image": [encoded(figure()), encoded(deep), encoded(deep)]})
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="pictures must have one depth"):
        consume(tmp_path / "a.parquet")


def test_pictures_on_two_backgrounds_are_refused(tmp_path: Path) -> None:
    plain, turned = [figure() for _ in range(30)], [255 - figure() for _ in range(30)]
    assert (consume(save(tmp_path / "dark", plain))[:, 0, 0, 0] == 0).all()
    assert (consume(save(tmp_path / "light", turned))[:, 0, 0, 0] == 0).all()
    both = save(tmp_path / "both", turned[:20] + plain[:10])
    with pytest.raises(InputError, match=r"one background.*10 of 30.*polarity=keep"):
        consume(both)
    assert len(consume(both, "keep")) == 30
    noise = [RNG.integers(0, 256, (8, 8), dtype=np.uint8) for _ in range(30)]
    assert len(consume(save(tmp_path / "noise", noise))) == 30
    few = save(tmp_path / "few", plain[:20] + turned[:3])
    assert len(consume(few)) == 23  # as some figures touch the border


def test_colours_and_sets_without_one_background_have_none_to_agree_on() -> None:
    light = np.full((9, 1, 8, 8), 255, np.uint8)
    Agreement(ImageForm(channels=1, height=8, width=8), separate=True).add_backgrounds(light)
    Agreement(FORM, separate=True).add_backgrounds(np.repeat(light, 3, axis=1))
    with pytest.raises(InputError, match="9 of 9"):
        Agreement(FORM, separate=True).add_backgrounds(light)


def test_a_test_set_on_two_backgrounds_is_refused(tmp_path: Path) -> None:
    def prepared(pictures: list[np.ndarray]) -> str:
        labels = np.arange(len(pictures)) % 2
        path = tmp_path / f"{pictures[0][0, 0]}{len(pictures)}.npz"
        np.savez(path, images=np.stack(pictures), labels=labels)
        return str(path)

    train = prepared([figure() for _ in range(40)])
    mixed = prepared([255 - figure() for _ in range(20)] + [figure() for _ in range(10)])
    chosen = ["data=npz", f"data.file={train}", f"data.test_file={mixed}"]
    with opened_for_evaluation(), pytest.raises(InputError, match=r"one background.* of 30"):
        prepare_test(compose(chosen).data, tmp_path / "root")


@pytest.mark.parametrize("damaged", [{0}, {2, 3}, {4}, {0, 1, 2, 3}])
def test_a_batch_may_hold_nothing_but_damaged_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: set[int]
) -> None:
    monkeypatch.setattr(reading, "_FIRST_PICTURES", 1)
    monkeypatch.setattr(reading, "MOST_PICTURES", 2)
    grey = [figure() for _ in range(5)]
    folder = save(tmp_path / "x", grey)
    for number in damaged:
        (folder / f"{number:03}.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    batches = list(open_as_trained(folder, FORM, Hints(on_damaged="skip")).batches())
    assert [len(batch.ids) for batch in batches] == [2, 2, 1]
    found = np.concatenate([batch.images[:, 0] for batch in batches])
    black = np.zeros((8, 8), np.uint8)
    np.testing.assert_array_equal(found, [black if k in damaged else grey[k] for k in range(5)])
    marked = [
        batch.ids[k]
        for batch in batches
        if batch.damaged is not None
        for k in np.flatnonzero(batch.damaged)
    ]
    assert marked == [f"{number:03}.png" for number in sorted(damaged)]
