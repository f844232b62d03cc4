"""The form that own pictures get where they are light, damaged, of several kinds, or beside a test
set that does not fit; and what is said of it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnn_core.data.image_form import ImageForm
from cnn_core.data.prepared import Prepared, open_prepared
from cnn_core.errors import InputError
from pipeline.configuration import compose
from pipeline.configuration.data_settings import DataSettings, FileSettings, HeldOutSettings
from pipeline.data import digits, opened_for_evaluation, own_files, prepare, prepare_test, survey
from pipeline.data.download import download
from pipeline.data.source import DataSource, Labelled, PartToRead
from pipeline.data.survey import Survey, form_of
from tests.pipeline.sources import made, write_csv, write_pictures


def settings(*overrides: str) -> DataSettings:
    return compose(overrides).data


def prepared(root: Path, *overrides: str, said: list[str] | None = None) -> Prepared:
    data = prepare(settings(*overrides), root, None if said is None else said.append)
    return open_prepared(data.folder, data.digest)


def on_paper(count: int = 8, shape: tuple[int, ...] = (6, 6), light: int = 255) -> Any:
    """Return figures of values up to 99 inside a border of `light`, (N, *shape)."""
    pictures = np.full((count, *shape), light, np.uint8)
    pictures[:, 1:-1, 1:-1] = made(count, (shape[0] - 2, shape[1] - 2, *shape[2:]))[0] // 3
    return pictures


@pytest.mark.parametrize(
    ("lit", "polarity", "invert"),
    [(5, "light_on_dark", True), (4, "light_on_dark", False), (8, "keep", False)],
)
def test_most_backgrounds_decide_whether_pictures_are_inverted(
    tmp_path: Path, lit: int, polarity: str, invert: bool
) -> None:
    pictures = np.concatenate([on_paper(lit), on_paper(8 - lit, light=0)])
    np.savez(tmp_path / "x.npz", images=pictures, labels=np.arange(8) % 2)
    words = ["data=npz", f"data.file={tmp_path}/x.npz", "data.test_fraction=0"]
    found = prepared(tmp_path / "root", *words, f"data.polarity={polarity}")
    assert found.form.invert is invert
    np.testing.assert_array_equal(found.images[:, 0], 255 - pictures if invert else pictures)


@pytest.mark.parametrize("more", [[], ["data.normalize=mnist"]])
def test_colours_and_mnists_form_need_no_polarity(tmp_path: Path, more: list[str]) -> None:
    pictures = on_paper(shape=(6, 6) if more else (6, 6, 3))
    np.savez(tmp_path / "x.npz", images=pictures, labels=np.arange(8) % 2)
    words = ["data=npz", f"data.file={tmp_path}/x.npz", "data.test_fraction=0", *more]
    found = prepared(tmp_path / "root", *words, "data.polarity=light_on_dark")
    assert not found.form.invert
    if not more:
        np.testing.assert_array_equal(found.images, pictures.transpose(0, 3, 1, 2))


def test_damaged_pictures_are_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_files, "BLOCK", 1)  # so that one block holds no picture at all
    monkeypatch.setattr(survey, "BLOCK", 1)
    pictures, labels = on_paper(), np.arange(8) % 2
    write_pictures(tmp_path / "all", pictures, labels)
    (tmp_path / "all" / "0" / "0002.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    words = ["data=images", f"data.folder={tmp_path}/all", "data.test_fraction=0"]
    said: list[str] = []
    skipped = [*words, "data.on_damaged=skip", "data.polarity=light_on_dark"]
    found = prepared(tmp_path / "root", *skipped, said=said)
    kept = [0, 4, 6, 1, 3, 5, 7]  # the files come class by class
    np.testing.assert_array_equal(found.images[:, 0], 255 - pictures[kept])
    np.testing.assert_array_equal(found.labels, labels[kept])
    assert "1 damaged pictures left out" in said
    assert any(line.startswith("7 images, 6x6, grey") for line in said), said
    with pytest.raises(InputError, match=r"0002\.png"):
        prepared(tmp_path / "root", *words)


def seen(**channels: int) -> Survey:
    """Return a survey of pictures of 6x6 with those numbers of channels."""
    counts = Counter({int(name[1:]): count for name, count in channels.items()})
    return Survey(count=9, sizes=Counter({(6, 6): 9}), channels=counts, largest=200.0)


@pytest.mark.parametrize(
    ("found", "words", "says"),
    [
        (seen(c1=9), ["size=[6,6,1]"], r"data\.size: must be \[height, width\], got .*6, 6, 1"),
        (
            seen(c1=9),
            ["normalize=mnist", "colour=rgb"],
            r"data\.normalize: mnist needs grey pictures, got data\.colour=rgb",
        ),
        (seen(c2=4, c4=5), [], r"as many channels each, got \[2, 4\] in here"),
        (seen(c1=4, c4=5), [], r"as many channels each, got \[1, 4\] in here"),
    ],
)
def test_a_form_that_cannot_be_is_refused(found: Survey, words: list[str], says: str) -> None:
    asked = settings("data=images", *(f"data.{word}" for word in words))
    assert isinstance(asked, FileSettings)
    with pytest.raises(InputError, match=says):
        form_of(found, asked, "here")


def test_arrays_keep_their_number_of_channels() -> None:
    asked = settings("data=npz")
    assert isinstance(asked, FileSettings)
    assert form_of(seen(c4=9), asked, "here").shape == (4, 6, 6)


@pytest.mark.parametrize(
    ("duplicates", "copies", "says"),
    [
        ("report", 1, "left where they are"),
        ("keep", 9, "left where they are, since they fill a class"),
        ("keep", 1, "kept in one fold"),
    ],
)
def test_what_becomes_of_copies_is_said(
    tmp_path: Path, duplicates: str, copies: int, says: str
) -> None:
    images, labels = made(60)
    images[4 : 4 + 4 * copies : 4] = images[0]  # of one class
    write_csv(tmp_path / "train.csv", images, labels, header=True)
    words = ["data=csv", f"data.file={tmp_path}/train.csv", "data.test_fraction=0"]
    if duplicates != "keep":
        words.append(f"data.duplicates={duplicates}")
    said: list[str] = []
    groups = prepared(tmp_path / "root", *words, said=said).groups
    assert [line for line in said if line.endswith(f"; {says}")], said
    assert (groups is not None and groups[4] == 0) == (says == "kept in one fold")


@pytest.mark.parametrize("duplicates", ["ignore", "report"])
def test_test_pictures_of_the_training_are_told_unless_nobody_asks(
    tmp_path: Path, duplicates: str
) -> None:
    images, labels = made(60, (16, 16))
    write_csv(tmp_path / "train.csv", images, labels, header=True)
    write_csv(tmp_path / "test.csv", images[8:12], labels[8:12], header=True)
    files = [f"data.file={tmp_path}/train.csv", f"data.test_file={tmp_path}/test.csv"]
    said: list[str] = []
    with opened_for_evaluation():
        asked = settings("data=csv", *files, f"data.duplicates={duplicates}")
        prepare_test(asked, tmp_path / "root", said.append)
    told = [line for line in said if line.startswith("leak: 4 pictures of the test are also")]
    assert bool(told) == (duplicates != "ignore"), said


def read_made(asked: Any, files: Sequence[Path], part: PartToRead) -> Labelled:
    shape, classes = (asked.test_shape, asked.test_classes) if part.test else ((1, 6, 6), 4)
    images, labels = made(20, shape)
    return Labelled(images, labels % classes, classes, tuple("abcdefgh"[:classes]))


@dataclass(frozen=True, kw_only=True)
class MadeSettings(HeldOutSettings):
    """A plug-in's data with a test set of its own, which may not fit."""

    test_shape: tuple[int, ...] = (1, 6, 6)
    test_classes: int = 4
    source = DataSource(lambda asked, test: (), read_made, own_test=lambda asked: True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"test_shape": (1, 6, 7)},
            "test images must be 1x6x6 .* training images, got 1x6x7",
        ),
        ({"test_classes": 5}, "test labels must be from 0 to 3 as in training, got 4"),
        ({}, None),
    ],
)
def test_a_plug_ins_test_set_must_fit_its_training(
    tmp_path: Path, changes: dict[str, Any], says: str | None
) -> None:
    asked = MadeSettings(name="made", **changes)
    with opened_for_evaluation():
        if says is None:
            assert prepare_test(asked, tmp_path).image_shape == (1, 6, 6)
            return
        with pytest.raises(InputError, match=f"^data=made: {says}"):
            prepare_test(asked, tmp_path)


def test_digits_that_are_not_installed_or_are_others_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digits.csv.gz"
    asked = settings("data=digits")
    np.savetxt(path, np.ones((3, 65)), delimiter=",", fmt="%d")
    part = PartToRead(test=False, scratch=tmp_path)
    with pytest.raises(InputError, match=r"\(1797, 65\) numbers, got \(3, 65\)"):
        digits.read_digits(asked, [path], part)  # type: ignore[arg-type]
    for spec in (None, SimpleNamespace(submodule_search_locations=[str(tmp_path)])):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, spec=spec: spec)
        with pytest.raises(InputError, match="scikit-learn must be installed with its data"):
            digits.find_digits(asked, False)  # type: ignore[arg-type]


FORM = ImageForm(channels=1, height=6, width=4)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (2, "9 images, 6x4, grey; 2 classes: c0, c1"),
        (10, "9 images, 6x4, grey; 10 classes: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9"),
        (11, "9 images, 6x4, grey; 11 classes: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, ..."),
    ],
)
def test_up_to_ten_classes_are_named(classes: int, words: str) -> None:
    names = tuple(f"c{number}" for number in range(classes))
    assert list(own_files._lines(Survey(9, Counter({(6, 4): 9})), FORM, names)) == [words]


@pytest.mark.parametrize(
    ("sizes", "damaged", "lines"),
    [
        ({(6, 4): 5, (4, 6): 3}, [], ["3 images resampled to 6x4 (sizes: 6x4, 4x6)"]),
        (
            {(8, 8): 4, (4, 6): 2, (6, 4): 2},
            [],
            ["6 images resampled to 6x4 (sizes: 8x8, 4x6, 6x4)"],
        ),
        (
            {(8, 8): 4, (4, 6): 3, (6, 4): 2, (9, 9): 1},
            [3, 7],
            [
                "8 images resampled to 6x4 (sizes: 8x8, 4x6, 6x4, ...)",
                "2 damaged pictures left out",
            ],
        ),
    ],
)
def test_the_three_most_frequent_sizes_are_named(
    sizes: dict[tuple[int, int], int], damaged: list[int], lines: list[str]
) -> None:
    count = sum(sizes.values()) + len(damaged)
    survey = Survey(count, Counter(sizes), damaged=damaged)
    first, *rest = own_files._lines(survey, FORM, ("a", "b"))
    assert first == f"{sum(sizes.values())} images, 6x4, grey; 2 classes: a, b" and rest == lines


def test_a_download_shows_no_bar_of_its_own_and_gives_up_a_silent_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def downloader(**settings: Any) -> Any:
        asked.append(settings)
        return lambda address, file, pooch: Path(file).write_text(address)

    monkeypatch.setattr("pooch.HTTPDownloader", downloader)
    target = tmp_path / "sub" / "set.zip"
    download("http://127.0.0.1/set.zip", target, lambda file: None)
    assert target.read_text() == "http://127.0.0.1/set.zip"
    assert asked == [{"progressbar": False, "timeout": 20.0}]
    assert [path.name for path in target.parent.iterdir()] == ["set.zip"]
