"""CIFAR-10, with few pictures in its place: each form of its files gives the same set, anything
else is refused.
"""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from pipeline.configuration import compose
from pipeline.configuration.data_settings import DataSettings
from pipeline.data import cifar10, download, opened_for_evaluation, prepare, prepare_test
from pipeline.data.preparation import source_of
from pipeline.data.source import PartToRead

Bytes = NDArray[np.uint8]


def pictures(count: int, seed: int) -> tuple[Bytes, Bytes]:
    """Return (N, 32, 32, 3) with smooth and noisy parts, and labels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    images[: count // 2, 8:] = np.arange(32, dtype=np.uint8)[:, None] * 7
    return images, (np.arange(count) % 10).astype(np.uint8)


def record(image: Bytes, label: int) -> bytes:
    """One picture as the authors' page says: the label, the red, green and blue plane."""
    return bytes([label]) + b"".join(image[:, :, plane].tobytes() for plane in range(3))


def residual(images: Bytes) -> Bytes:
    """The residual form, value by value."""
    result = np.zeros((len(images), 3, 32, 32), np.uint8)
    for n, image in enumerate(images.astype(int)):
        red, green, blue = image[:, :, 0], image[:, :, 1], image[:, :, 2]
        for plane, values in enumerate((green, (red - green) % 256, (blue - green) % 256)):
            for y in range(32):
                for x in range(32):
                    a = values[y, x - 1] if x else None
                    b = values[y - 1, x] if y else None
                    if a is not None and b is not None:
                        guess = sorted((a, a + b - values[y - 1, x - 1], b))[1]
                    else:
                        guess = a if a is not None else b if b is not None else 0
                    result[n, plane, y, x] = (values[y, x] - guess) % 256
    return result


SHARED = os.environ.get("CNN_DATA_DIR", "")
PUBLISHED = dict(cifar10.SHA256)
TRAIN, TEST = pictures(20, 0), pictures(10, 1)


@pytest.fixture(autouse=True)
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other digests in place of CIFAR-10's; no $CNN_DATA_DIR, an empty cache, no network."""
    digests = {}
    for part, (images, labels) in (("train", TRAIN), ("test", TEST)):
        records = [record(*pair) for pair in zip(images, labels.tolist(), strict=True)]
        inner = b"".join(sorted(hashlib.sha256(content).digest() for content in records))
        digests[part] = hashlib.sha256(inner).hexdigest()
    monkeypatch.setattr(cifar10, "SHA256", digests)
    monkeypatch.setattr(cifar10, "ADDRESS", "http://127.0.0.1:9/cifar-10-binary.tar.gz")
    monkeypatch.delenv("CNN_DATA_DIR", raising=False)
    monkeypatch.setattr(download, "user_cache", lambda: tmp_path / "cache")


def batches(reverse: bool = False) -> dict[str, bytes]:
    order = slice(None, None, -1 if reverse else 1)
    records = [record(*pair) for pair in zip(TRAIN[0], TRAIN[1].tolist(), strict=True)][order]
    files = {f"data_batch_{k + 1}.bin": b"".join(records[4 * k : 4 * k + 4]) for k in range(5)}
    files["test_batch.bin"] = b"".join(
        record(*pair) for pair in zip(TEST[0], TEST[1].tolist(), strict=True)
    )
    return files


def write_batches(folder: Path, reverse: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in batches(reverse).items():
        (folder / name).write_bytes(content)


def write_archive(folder: Path) -> None:
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in {"readme.html": b"<html>", **batches()}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_arrays(folder: Path) -> None:
    np.savez(
        folder / "my-cifar.npz",
        x_train=TRAIN[0],
        y_train=TRAIN[1].astype(np.int64)[:, None],
        x_test=TEST[0],
        y_test=TEST[1],
    )


def write_residuals(folder: Path) -> None:
    np.savez_compressed(
        folder / "cifar10-residual.npz",
        r_train=residual(TRAIN[0]),
        y_train=TRAIN[1],
        r_test=residual(TEST[0]),
        y_test=TEST[1],
    )


def settings(root: Path, *more: str) -> DataSettings:
    return compose(["data=cifar10", f"data.root={root}", *more]).data


def test_every_form_gives_the_same_set(tmp_path: Path) -> None:
    forms = {
        "batches": write_batches,
        "another order": lambda folder: write_batches(folder, reverse=True),
        "unpacked": lambda folder: write_batches(folder / "cifar-10-batches-bin"),
        "archive": write_archive,
        "arrays": write_arrays,
        "residuals": write_residuals,
    }
    digests = set()
    for name, write in forms.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        chosen = settings(tmp_path / name)
        train = prepare(chosen, tmp_path / "root")
        with opened_for_evaluation():
            test = prepare_test(chosen, tmp_path / "root")
        digests.add((train.digest, test.digest))
    assert len(digests) == 1
    for data, (images, labels) in ((train, TRAIN), (test, TEST)):
        found = open_prepared(data.folder, data.digest)
        assert found.images.shape == (len(images), 3, 32, 32)
        expected = {record(*pair) for pair in zip(images, labels.tolist(), strict=True)}
        assert {
            record(image.transpose(1, 2, 0), int(label))
            for image, label in zip(found.images, found.labels, strict=True)
        } == expected


def test_class_names_and_form(tmp_path: Path) -> None:
    write_batches(tmp_path)
    chosen = settings(tmp_path)
    source = source_of(chosen)
    part = source.read(chosen, source.files(chosen, True), PartToRead(test=True, scratch=Path()))
    assert part.class_names[0] == "airplane" and part.class_names[-1] == "truck"
    assert part.classes == 10 and len(part.class_names) == 10
    assert part.form is not None and part.form.shape == (3, 32, 32)
    assert part.form.other_sizes == "resample"


def test_one_pixel_or_one_label_of_another_set_is_refused(tmp_path: Path) -> None:
    write_batches(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    content = bytearray(path.read_bytes())
    for place in (0, 3073 + 500):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(InputError, match=r"must be CIFAR-10's own train pictures in any order"):
            prepare(settings(tmp_path), tmp_path / "root")
    path.write_bytes(bytes(content[:-1]))
    with pytest.raises(InputError, match=r"whole pictures of 3,073 bytes, got .*12,291"):
        prepare(settings(tmp_path), tmp_path / "root")


def test_a_folder_of_pickles_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.root: must hold data_batch_1.bin, .*, or a .npz"):
        prepare(settings(tmp_path), tmp_path / "root")
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(InputError, match=r"with Python pickles, which are not read"):
        prepare(settings(tmp_path), tmp_path / "root")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cifar-10-binary.tar.gz", b"\x1f\x8b\x08 cut"),
        ("cifar-10-binary.tar.gz", b"<html>"),
        ("x.npz", b"PK\x03\x04 cut"),
        ("x.npz", b"\x80\x04pickled"),
    ],
)
def test_damaged_files_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: must be a whole (file of|\.npz)"):
        prepare(settings(tmp_path), tmp_path / "root")


def test_arrays_of_another_shape_or_kind_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_train=TRAIN[0].transpose(0, 3, 1, 2), y_train=TRAIN[1])
    with pytest.raises(InputError, match=r"must be \(20, 32, 32, 3\) uint8 with whole labels, got"):
        prepare(settings(tmp_path), tmp_path / "root")
    np.savez(tmp_path / "x.npz", images=TRAIN[0])
    with pytest.raises(
        InputError, match=r"x.npz: must be a whole file of CIFAR-10, got: .*x_train"
    ):
        prepare(settings(tmp_path), tmp_path / "root")


def test_offline_says_where_to_get_it(tmp_path: Path) -> None:
    for more, says in ((), "cannot be reached"), (("data.download=false",), "data.download=false"):
        with pytest.raises(InputError) as raised:
            prepare(compose(["data=cifar10", *more]).data, tmp_path / "root")
        assert says in str(raised.value) and "data.root=FOLDER" in str(raised.value)
    assert not list((tmp_path / "cache").rglob("*.gz"))


# Of the training pictures, of 255: means and standard deviations of red, green and blue as they
# are widely published.
MEANS, DEVIATIONS = (0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)


@pytest.mark.slow
@pytest.mark.skipif(
    not SHARED or not Path(SHARED, "cifar10").is_dir(),
    reason="CIFAR-10 itself is not here ($CNN_DATA_DIR/cifar10)",
)
def test_the_digests_are_of_cifar10_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "SHA256", PUBLISHED)
    chosen = settings(Path(SHARED, "cifar10"))
    source = source_of(chosen)
    for test, each in ((True, 1000), (False, 5000)):
        part = source.read(
            chosen, source.files(chosen, test), PartToRead(test=test, scratch=Path())
        )
        assert np.bincount(part.labels).tolist() == [each] * 10
    values = part.images.transpose(1, 0, 2, 3).reshape(3, -1)
    for plane, mean, deviation in zip(values, MEANS, DEVIATIONS, strict=True):
        counts = np.bincount(plane, minlength=256)
        levels = np.arange(256) / 255
        found = float((counts * levels).sum() / counts.sum())
        spread = float(np.sqrt((counts * (levels - found) ** 2).sum() / counts.sum()))
        assert (found, spread) == (
            pytest.approx(mean, abs=1e-8),
            pytest.approx(deviation, abs=1e-8),
        )


def test_what_is_downloaded_is_checked_whole(tmp_path: Path) -> None:
    write_archive(tmp_path)
    archive = tmp_path / cifar10.ARCHIVE
    cifar10._verify_archive(archive)
    with tarfile.open(archive) as whole:
        files = {name: whole.extractfile(name).read() for name in whole.getnames()}  # type: ignore[union-attr]
    test = next(name for name in files if name.endswith("test_batch.bin"))
    files[test] = bytes([files[test][0] ^ 1]) + files[test][1:]
    with tarfile.open(archive, "w:gz") as changed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            changed.addfile(member, io.BytesIO(content))
    with pytest.raises(InputError, match=r"must be CIFAR-10's own test pictures in any order"):
        cifar10._verify_archive(archive)
