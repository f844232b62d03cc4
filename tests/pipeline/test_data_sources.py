"""Every data source: what is read is what was written, splits are disjoint, damaged files are
refused by name.
"""

from pathlib import Path

import numpy as np
import pytest

from cnn_core.data.prepared import open_prepared
from cnn_core.data.splits import split
from cnn_core.errors import InputError
from cnn_core.spec import DataSpec
from pipeline.configuration import compose
from pipeline.configuration.data_settings import DataSettings
from pipeline.data import opened_for_evaluation, prepare, prepare_test
from tests.pipeline.sources import CLASSES, COUNT, made, write_csv, write_idx, write_pictures


def settings(*overrides: str) -> DataSettings:
    return compose(overrides).data


def write(kind: str, folder: Path, count: int = COUNT, seed: int = 0) -> list[str]:
    """Write a data set; return the overrides that read it, without a held-out share."""
    images, labels = made(count, seed=seed)
    if kind == "idx":
        write_idx(folder / "images.gz", images)
        write_idx(folder / "labels", labels)
        keys = [f"data.images={folder}/images.gz", f"data.labels={folder}/labels"]
    elif kind == "csv":
        write_csv(folder / "train.csv", images, labels, header=True)
        keys = [f"data.file={folder}/train.csv"]
    elif kind == "npz":
        np.savez(folder / "data.npz", images=images, labels=labels)
        keys = [f"data.file={folder}/data.npz"]
    elif kind == "images":
        write_pictures(folder / "pictures", images, labels)
        keys = [f"data.folder={folder}/pictures"]
    else:
        np.savetxt(folder / "rows.txt", images.reshape(count, -1), fmt="%d")
        np.savetxt(folder / "labels.txt", labels, fmt="%d")
        keys = [f"data.file={folder}/rows.txt", f"data.labels={folder}/labels.txt"]
    return [f"data={kind}", *keys, "data.test_fraction=0"]


HEAD = "label," + ",".join(f"p{k}" for k in range(36)) + "\n"
ROW = ",7" * 34 + "\n"
KINDS = ["idx", "csv", "npz", "images", "text"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_was_written(kind: str, tmp_path: Path) -> None:
    data = prepare(settings(*write(kind, tmp_path)), tmp_path / "root")
    images, labels = made()
    found = open_prepared(data.folder, data.digest)
    assert (data.image_shape, data.classes) == ((1, 6, 6), CLASSES)
    if kind == "images":  # the files come class by class
        order = np.argsort(labels, kind="stable")
        images, labels = images[order], labels[order]
    np.testing.assert_array_equal(found.images[:, 0], images)
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("kind", KINDS)
def test_same_source_same_digest_and_a_changed_one_is_noticed(kind: str, tmp_path: Path) -> None:
    overrides = write(kind, tmp_path)
    first = prepare(settings(*overrides), tmp_path / "a")
    assert prepare(settings(*overrides), tmp_path / "b").digest == first.digest
    write(kind, tmp_path, seed=1)
    assert prepare(settings(*overrides), tmp_path / "a").digest != first.digest


@pytest.mark.parametrize("kind", [*KINDS, "digits"])
def test_held_out_training_and_validation_images_share_none(kind: str, tmp_path: Path) -> None:
    overrides = (
        ["data=digits"]
        if kind == "digits"
        else [*write(kind, tmp_path)[:-1], "data.test_fraction=0.25"]
    )
    data = prepare(settings(*overrides), tmp_path / "root")
    with opened_for_evaluation():
        test = prepare_test(settings(*overrides), tmp_path / "root")
    kept, held = open_prepared(data.folder, data.digest), open_prepared(test.folder, test.digest)
    total = 1797 if kind == "digits" else COUNT
    assert len(held.labels) == round((0.2 if kind == "digits" else 0.25) * total)
    assert len(kept.labels) + len(held.labels) == total
    if kind != "digits":  # random images: none is there twice
        as_bytes = [{image.tobytes() for image in part.images} for part in (kept, held)]
        assert not as_bytes[0] & as_bytes[1]
    counts = np.bincount(held.labels, minlength=data.classes) / np.bincount(
        np.r_[kept.labels, held.labels]
    )
    np.testing.assert_allclose(counts, len(held.labels) / total, atol=0.05)  # stratified
    parts = split(kept.labels, data)
    assert not set(parts.train.tolist()) & set(parts.valid.tolist())


def test_the_held_out_share_depends_on_test_seed_alone(tmp_path: Path) -> None:
    def digest(*overrides: str) -> str:
        return prepare(settings("data=digits", *overrides), tmp_path).digest

    assert digest() == digest("data.split_seed=9", "data.train_size=100")
    assert digest() != digest("data.test_seed=1")


def test_digits_are_scikit_learns(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    data = prepare(settings("data=digits", "data.test_fraction=0"), tmp_path)
    found, bunch = open_prepared(data.folder, data.digest), load_digits()
    np.testing.assert_array_equal(found.labels, bunch.target)
    np.testing.assert_allclose(
        found.images[:, 0] / 255 * 16, bunch.images, atol=16 / 255 / 2 + 1e-9
    )


def test_settings_of_the_split_reach_the_spec(tmp_path: Path) -> None:
    data = prepare(
        settings(
            "data=digits",
            "data.train_size=70",
            "data.valid_size=30",
            "data.split_seed=4",
            "data.reserve=5",
        ),
        tmp_path,
    )
    assert isinstance(data, DataSpec)
    assert (
        data.train_size,
        data.valid_size,
        data.split_seed,
        data.reserve,
        data.valid_fraction,
    ) == (70, 30, 4, 5, 0.2)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(("label", "last"), [("auto", False), ("first", False), ("last", True)])
def test_label_column_of_a_csv(header: bool, label: str, last: bool, tmp_path: Path) -> None:
    images, labels = made()
    write_csv(tmp_path / "x.csv", images, labels, header=header, label_last=last)
    overrides = (
        "data=csv",
        f"data.file={tmp_path}/x.csv",
        f"data.label={label}",
        "data.test_fraction=0",
    )
    data = prepare(settings(*overrides), tmp_path / "root")
    np.testing.assert_array_equal(open_prepared(data.folder, data.digest).labels, labels)


def test_label_column_by_name_and_found_anywhere_by_its_usual_name(tmp_path: Path) -> None:
    images, labels = made()
    write_csv(tmp_path / "x.csv", images, labels, header=True, label_last=True)
    for label in ("auto", "label"):
        data = prepare(
            settings(
                "data=csv",
                f"data.file={tmp_path}/x.csv",
                f"data.label={label}",
                "data.test_fraction=0",
            ),
            tmp_path / "root",
        )
        np.testing.assert_array_equal(open_prepared(data.folder, data.digest).labels, labels)
    with pytest.raises(
        InputError,
        match=r"label must be auto, none, first, last or a column .*, got 'lable' for .*x.csv; did "
        r"you mean",
    ):
        prepare(
            settings("data=csv", f"data.file={tmp_path}/x.csv", "data.label=lable"),
            tmp_path / "root",
        )


def test_images_that_are_not_square_or_grey(tmp_path: Path) -> None:
    images, labels = made(shape=(3, 4, 5))
    for label in ("first", "last"):
        write_csv(tmp_path / "x.csv", images, labels, header=False, label_last=label == "last")
        overrides = (
            "data=csv",
            f"data.file={tmp_path}/x.csv",
            "data.shape=[3,4,5]",
            "data.test_fraction=0",
            f"data.label={label}",
        )
        data = prepare(settings(*overrides), tmp_path / "root")
        assert data.image_shape == (3, 4, 5)
        np.testing.assert_array_equal(open_prepared(data.folder, data.digest).images, images)
        np.testing.assert_array_equal(open_prepared(data.folder, data.digest).labels, labels)
    with pytest.raises(InputError, match=r"a row must hold 48 pixels \(3x4x4\)"):
        prepare(settings(*overrides[:2], overrides[-1], "data.shape=[3,4,4]"), tmp_path / "root")


@pytest.mark.parametrize("channels", [1, 3])
def test_npz_with_channels_last(channels: int, tmp_path: Path) -> None:
    images, labels = made(shape=(6, 5, channels))
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    data = prepare(
        settings("data=npz", f"data.file={tmp_path}/x.npz", "data.test_fraction=0"),
        tmp_path / "root",
    )
    np.testing.assert_array_equal(
        open_prepared(data.folder, data.digest).images, images.transpose(0, 3, 1, 2)
    )


def test_classes_of_test_pictures_are_those_of_the_training_pictures(tmp_path: Path) -> None:
    images, _ = made(6)
    write_pictures(tmp_path / "train", images, np.array([0, 1, 2, 0, 1, 2]))
    write_pictures(tmp_path / "test", images[:2], np.array([2, 0]))
    write_pictures(tmp_path / "other", images[:2], np.array([0, 7]))
    overrides = ("data=images", f"data.folder={tmp_path}/train")
    with opened_for_evaluation():
        test = prepare_test(
            settings(*overrides, f"data.test_folder={tmp_path}/test"), tmp_path / "root"
        )
        assert test.classes == 3
        np.testing.assert_array_equal(open_prepared(test.folder, test.digest).labels, [0, 2])
        with pytest.raises(
            InputError,
            match=r"a class of the training data, 0, 1, 2, got '7' at picture 2",
        ):
            prepare_test(
                settings(*overrides, f"data.test_folder={tmp_path}/other"), tmp_path / "root"
            )
        write_pictures(
            tmp_path / "train", images[:1], np.array([1000])
        )  # a class more: what was read before no longer counts
        (tmp_path / "train" / "1000").rename(tmp_path / "train" / "-1")
        test = prepare_test(
            settings(*overrides, f"data.test_folder={tmp_path}/test"), tmp_path / "root"
        )
        assert test.classes == 4
        np.testing.assert_array_equal(open_prepared(test.folder, test.digest).labels, [1, 3])


def test_test_images_have_the_training_images_form_and_classes(tmp_path: Path) -> None:
    images, labels = made()
    larger, _ = made(shape=(8, 8))
    np.savez(tmp_path / "x.npz", images=images, labels=labels, larger=larger, more=labels + 1)
    overrides = (
        *("data=npz", f"data.file={tmp_path}/x.npz"),
        *("data.images=images", "data.labels=labels"),
    )
    said: list[str] = []
    with opened_for_evaluation():
        resampled = [*overrides, "data.test_images=larger", "data.test_labels=labels"]
        test = prepare_test(settings(*resampled), tmp_path / "root", said.append)
        assert test.image_shape == (1, 6, 6)
        assert "60 images resampled to 6x6 (sizes: 8x8)" in said
        with pytest.raises(InputError, match=f"a class of the training data, .*, got '{CLASSES}'"):
            prepare_test(
                settings(*overrides, "data.test_images=images", "data.test_labels=more"),
                tmp_path / "root",
            )


@pytest.mark.parametrize(
    ("kind", "key", "says"),
    [
        ("csv", "data.test_file=/no/such.csv", "/no/such.csv must exist"),
        ("idx", "data.test_images=/no/such.gz", "/no/such.gz must exist"),
        ("npz", "data.test_images=x", "data.images=x must be one of images, labels"),
        ("images", "data.test_folder=/no/such", "/no/such must exist"),
        ("text", "data.test_file=/no/such.txt", "/no/such.txt must exist"),
    ],
)
def test_test_files_that_are_not_there_are_refused_before_anything_is_trained(
    kind: str, key: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as raised:
        prepare(settings(*write(kind, tmp_path), f"data.root={tmp_path}", key), tmp_path / "root")
    assert says in str(raised.value)


def test_npz_with_channels_last_and_arrays_of_the_test(tmp_path: Path) -> None:
    images, labels = made(shape=(6, 6, 3))
    np.savez(
        tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images[:8], y_test=labels[:8]
    )
    overrides = (
        "data=npz",
        f"data.file={tmp_path}/x.npz",
        "data.test_images=x_test",
        "data.test_labels=y_test",
    )
    data = prepare(settings(*overrides), tmp_path / "root")
    np.testing.assert_array_equal(
        open_prepared(data.folder, data.digest).images, images.transpose(0, 3, 1, 2)
    )
    with opened_for_evaluation():
        test = prepare_test(settings(*overrides), tmp_path / "root")
    np.testing.assert_array_equal(
        open_prepared(test.folder, test.digest).images, images[:8].transpose(0, 3, 1, 2)
    )


def test_pictures_are_resized_only_when_asked(tmp_path: Path) -> None:
    images, labels = made()
    write_pictures(tmp_path / "p", images, labels)
    write_pictures(tmp_path / "p", made(1, (9, 7))[0], np.array([0]), ".jpeg")
    with pytest.raises(
        InputError,
        match=r"images must have one size, or data.size=\[height,width\] resizes them, "
        r"got .*9x7|.*6x6",
    ):
        prepare(settings("data=images", f"data.folder={tmp_path}/p"), tmp_path / "root")
    data = prepare(
        settings("data=images", f"data.folder={tmp_path}/p", "data.size=[8,8]", "data.colour=rgb"),
        tmp_path / "root",
    )
    assert data.image_shape == (3, 8, 8)
    data = prepare(
        settings(
            "data=images", f"data.folder={tmp_path}/p", "data.size=[28,28]", "data.normalize=mnist"
        ),
        tmp_path / "root",
    )
    assert data.image_shape == (1, 28, 28)


def test_relative_paths_start_from_data_root_or_the_shared_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "csv").mkdir()
    write("csv", tmp_path / "csv")
    one = prepare(
        settings("data=csv", "data.file=train.csv", f"data.root={tmp_path}/csv"), tmp_path / "root"
    )
    monkeypatch.setenv("CNN_DATA_DIR", str(tmp_path))
    assert (
        prepare(settings("data=csv", "data.file=train.csv"), tmp_path / "root").digest == one.digest
    )


@pytest.mark.parametrize(
    ("kind", "damage", "says"),
    [
        (
            "idx",
            lambda f: (f / "images.gz").write_bytes((f / "images.gz").read_bytes()[:300]),
            "compressed data must be whole",
        ),
        (
            "idx",
            lambda f: (f / "labels").write_bytes(b"\0\0\x08\x01\0\0\0\x05abc"),
            "an IDX file must hold what its header says, 5 labels, got 3 bytes",
        ),
        (
            "idx",
            lambda f: write_idx(f / "labels", np.zeros(59)),
            "images and labels must be as many, got 60 images",
        ),
        (
            "csv",
            lambda f: (f / "train.csv").write_text("label,a,b\n1,2\n"),
            "every row must have 3 values as the first line has, got 2 on line 2 of",
        ),
        (
            "csv",
            lambda f: (f / "train.csv").write_text(HEAD + "1,2,-9" + ROW),
            "got '-9' on line 2, column 3",
        ),
        (
            "csv",
            lambda f: (f / "train.csv").write_text(HEAD + "-1,2,9" + ROW),
            "must have at least 2 classes, got -1 alone",
        ),
        (
            "csv",
            lambda f: (f / "train.csv").write_text("1,2,9,3\n"),
            "a row must hold a square number of pixels",
        ),
        (
            "csv",
            lambda f: (f / "train.csv").write_text(""),
            "input must not be empty, got 0 bytes",
        ),
        ("csv", lambda f: (f / "train.csv").unlink(), "train.csv must exist"),
        ("npz", lambda f: (f / "data.npz").write_bytes(b"PK nothing"), "data.npz"),
        (
            "npz",
            lambda f: np.savez(f / "data.npz", pictures=np.zeros(3)),
            "an archive must hold one array of images; give data.images",
        ),
        (
            "npz",
            lambda f: np.savez(
                f / "data.npz", images=np.array([{}], object), labels=np.zeros(1, int)
            ),
            "no objects",
        ),
        (
            "images",
            lambda f: (f / "pictures" / "0" / "0000.png").write_bytes(b"\x89PNG\r\n\x1a\nrest"),
            "0000.png",
        ),
        (
            "images",
            lambda f: (f / "pictures" / "0" / "0000.png").write_text("hello"),
            "must be one that Pillow reads, got 1 others: 0/0000.png",
        ),
        (
            "images",
            lambda f: (f / "pictures" / "9").mkdir(),
            "every folder of a class must hold a picture, got none in 9",
        ),
        ("text", lambda f: (f / "rows.txt").write_text("1 2 x 4\n"), "rows.txt"),
        (
            "text",
            lambda f: (f / "labels.txt").write_text("1\n" * 60),
            "must have at least 2 classes, got 1 alone",
        ),
        (
            "text",
            lambda f: (f / "labels.txt").write_text("1\n2\n"),
            "labels in order must be as many as images, got 2",
        ),
    ],
)
def test_damaged_files_are_refused_by_name(
    kind: str, damage: object, says: str, tmp_path: Path
) -> None:
    overrides = write(kind, tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(InputError) as raised:
        prepare(settings(*overrides), tmp_path / "root")
    assert says in str(raised.value)
    assert not list((tmp_path / "root" / "prepared").glob("*/manifest.json"))


def test_a_bomb_of_a_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    import struct
    import zlib

    overrides = write("images", tmp_path)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    (tmp_path / "pictures" / "0" / "0000.png").write_bytes(bomb)
    with pytest.raises(InputError, match=r"0000\.png"):
        prepare(settings(*overrides), tmp_path / "root")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data=csv"], "data.file: must be given with data=csv, as data.file=PATH"),
        (["data=images", "data.folder=/no/such/place"], "/no/such/place must exist"),
        (["data=digits", "data.test_fraction=0.0001"], None),
        (
            ["data=digits", "data.test_fraction=0.99999"],
            "data.test_fraction: must leave at least one training image",
        ),
    ],
)
def test_settings_that_cannot_be(overrides: list[str], says: str | None, tmp_path: Path) -> None:
    if says is None:
        prepare(settings(*overrides), tmp_path)  # nothing held out by rounding: training has all
        with (
            pytest.raises(InputError, match="must hold out at least one image"),
            opened_for_evaluation(),
        ):
            prepare_test(settings(*overrides), tmp_path)
        return
    with pytest.raises(InputError) as raised:
        prepare(settings(*overrides), tmp_path)
    assert says in str(raised.value)


def test_no_test_split_where_none_is_held_out(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="a test split must be given or held out"),
        opened_for_evaluation(),
    ):
        prepare_test(settings("data=digits", "data.test_fraction=0"), tmp_path)
