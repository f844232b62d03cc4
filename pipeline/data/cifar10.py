"""CIFAR-10: 60,000 colour pictures of 32 x 32, found in the user's folders or downloaded, and
verified whatever their order.

Read are the authors' binary version, as it is or in its archive; a .npz of x_train, y_train,
x_test, y_test, x (N, 32, 32, 3); and a .npz of prediction residuals (r_train, r_test instead of
x, (N, 3, 32, 32)), two thirds of the size. These hold the pictures in different orders. So the
digest is that of the sorted digests of all pictures, and pictures are put into the order of theirs:
every form gives the same prepared set. Python pickles are not read: they can run any code.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009), and its page,
which gives the binary format: 3,073 bytes a picture, the label, then the planes.
"""

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.image_form import ImageForm
from cnn_core.data.npz import read_npz
from cnn_core.errors import InputError
from pipeline.configuration.data_settings import Cifar10Settings
from pipeline.data.download import fetch, places
from pipeline.data.source import DataSource, Labelled, PartToRead

Bytes = NDArray[np.uint8]
# sha256 of the sorted sha256 of all records
SHA256 = {
    "train": "55a61f79a40ece2ceda9fb5f9f7078f6ea2fc4952489cef56682bcf92cfcc260",
    "test": "325704b01eb92e1e2a6215ae6a916bb7db7de054af0c496be1c7be2e0fcfbf5f",
}
BATCHES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
ARCHIVE = "cifar-10-binary.tar.gz"
ADDRESS = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
FOLDER = "cifar10"  # below $CNN_DATA_DIR and the user's cache
UNPACKED = "cifar-10-batches-bin"
PICKLED = ("data_batch_1", "cifar-10-batches-py", "cifar-10-python.tar.gz")
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # bytes
CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def find_cifar10(settings: Cifar10Settings, test: bool) -> Sequence[Path]:
    """Return the batches, the archive or the .npz, from data.root, $CNN_DATA_DIR/cifar10, the
    user's cache, or a download. Raises InputError.
    """
    folders = places(settings, FOLDER)
    for folder in folders:
        if (found := _in(folder, test)) is not None:
            return found
    forms = f"{', '.join(BATCHES['train'])} and {BATCHES['test'][0]}, {ARCHIVE}, or a .npz"
    if settings.root is not None:
        pickled = any((folders[0] / name).exists() for name in PICKLED)
        refused = " with Python pickles, which are not read" if pickled else ""
        raise InputError(f"data.root: must hold {forms}, got {folders[0]}{refused}")
    archive = folders[-1] / ARCHIVE
    advice = f"put {forms} into a folder and give data.root=FOLDER"
    fetch(settings, [ADDRESS], archive, _verify_archive, advice)
    return [archive]


def _in(folder: Path, test: bool) -> list[Path] | None:
    for place in (folder, folder / UNPACKED):
        batches = [place / name for name in BATCHES["test" if test else "train"]]
        if all(path.is_file() for path in batches):
            return batches
    others = [folder / ARCHIVE, *sorted(folder.glob("*.npz"))]
    return next(([path] for path in others if path.is_file()), None)


def _verify_archive(path: Path) -> None:
    for part in BATCHES:
        _ordered(_records([path], part), part, path)


def read_cifar10(settings: Cifar10Settings, files: Sequence[Path], wanted: PartToRead) -> Labelled:
    """Return 50,000 training or 10,000 test images, in the order of their digests."""
    part = "test" if wanted.test else "train"
    records = _ordered(_records(files, part), part, files[0])
    images = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    form = ImageForm(channels=3, height=SIDE, width=SIDE)
    labels = records[:, 0].astype(np.int64)
    return Labelled(np.ascontiguousarray(images), labels, len(CLASS_NAMES), CLASS_NAMES, form)


def _ordered(records: Bytes, part: str, path: Path) -> Bytes:
    """Return the records in the order of their digests. Raises InputError where they are not
    CIFAR-10's.
    """
    digests = [hashlib.sha256(record.tobytes()).digest() for record in records]
    order = sorted(range(len(records)), key=digests.__getitem__)
    found = hashlib.sha256(b"".join(digests[index] for index in order)).hexdigest()
    if found != SHA256[part]:
        raise InputError(
            f"{path}: must be CIFAR-10's own {part} pictures in any order, sha256 "
            f"{SHA256[part][:12]}... of their sorted sha256, got {found[:12]}... of "
            f"{len(records):,} pictures"
        )
    return records[order]


def _records(files: Sequence[Path], part: str) -> Bytes:
    """Return (N, 3073) of one part, in the order of the files. Raises InputError for files that are
    damaged or of another kind.
    """
    try:
        if files[0].suffix == ".npz":
            return _from_arrays(files[0], part)
        if len(files) == 1 and files[0].suffix != ".bin":
            batches = _from_archive(files[0], part)
        else:
            batches = [path.read_bytes() for path in files]
    except (OSError, EOFError, ValueError, KeyError, *_DAMAGED) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{files[0]}: must be a whole file of CIFAR-10, got: {error}") from error
    content = b"".join(batches)
    if not content or any(len(batch) % RECORD for batch in batches):
        sizes = ", ".join(f"{len(batch):,}" for batch in batches) or "none"
        raise InputError(
            f"{files[0]}: batches must hold whole pictures of {RECORD:,} bytes, got {sizes} bytes"
        )
    return np.frombuffer(content, np.uint8).reshape(-1, RECORD)


_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error)


def _from_archive(path: Path, part: str) -> list[bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = Path(member.name).name
            if name in BATCHES[part] and member.isfile():
                file = archive.extractfile(member)
                assert file is not None, "an ordinary file"
                found[name] = file.read()
    return [found[name] for name in BATCHES[part]]


def _from_arrays(path: Path, part: str) -> Bytes:
    arrays = read_npz(path)
    residual = f"r_{part}" in arrays
    images = arrays[f"r_{part}" if residual else f"x_{part}"]
    labels = arrays[f"y_{part}"].reshape(-1)
    shape = (len(labels), 3, SIDE, SIDE) if residual else (len(labels), SIDE, SIDE, 3)
    if images.shape != shape or images.dtype != np.uint8 or labels.dtype.kind not in "ui":
        raise InputError(
            f"{path}: pictures must be {shape} uint8 with whole labels, got {images.shape} "
            f"{images.dtype}, {labels.dtype}"
        )
    planes = decoded(images) if residual else images.transpose(0, 3, 1, 2)
    return np.hstack([labels.astype(np.uint8)[:, None], planes.reshape(len(labels), -1)])


def decoded(residuals: Bytes, chunk: int = 5000) -> Bytes:
    """Return the pictures (N, 3, 32, 32) of prediction residuals of that shape.

    Planes are green, red less green, blue less green, modulo 256. Every value is the residual plus
    what is predicted from its neighbours a (left), b (above), c (above a): a + b - c, limited to
    the range of a and b.
    """
    result = np.empty_like(residuals)
    for start in range(0, len(residuals), chunk):
        # Pixels first, so that each step works on adjacent values: (32, 32, 3, n).
        values = residuals[start : start + chunk].transpose(2, 3, 1, 0).astype(np.int16, "C")
        for y in range(SIDE):
            for x in range(SIDE):
                values[y, x] = (values[y, x] + _predicted(values, y, x)) & 255
        green, red, blue = values[:, :, 0], values[:, :, 1], values[:, :, 2]
        planes = np.stack([red + green, green, blue + green]) & 255
        result[start : start + chunk] = planes.transpose(3, 0, 1, 2)
    return result


def _predicted(values: NDArray[np.int16], y: int, x: int) -> NDArray[np.int16]:
    if x == 0 and y == 0:
        return np.zeros_like(values[0, 0])
    if x == 0 or y == 0:
        return np.asarray(values[y, x - 1] if x else values[y - 1, x])
    a, b, c = values[y, x - 1], values[y - 1, x], values[y - 1, x - 1]
    limited: NDArray[np.int16] = np.clip(a + b - c, np.minimum(a, b), np.maximum(a, b))
    return limited


CIFAR10: DataSource[Cifar10Settings] = DataSource(
    find_cifar10,
    read_cifar10,
    own_test=lambda settings: True,
    licence="CIFAR-10 (A. Krizhevsky, V. Nair, G. Hinton, 2009), public for research; its authors "
    "state no licence",
)
