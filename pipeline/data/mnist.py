"""MNIST: found in the user's folders or downloaded, and always verified by the digests of the
uncompressed files.

Source: Y. LeCun, C. Cortes, C. Burges, the MNIST database of handwritten digits.
"""

import hashlib
import secrets
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_core.data.idx import read_idx, read_idx_labels
from cnn_core.errors import InputError
from pipeline.configuration.data_settings import MnistSettings
from pipeline.data.source import DataSource, Labelled, Reading, shared_folder, user_cache

# File -> sha256 of its uncompressed bytes; compressed copies vary, their content does not.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def find_mnist(settings: MnistSettings, test: bool) -> Sequence[Path]:
    """Return the two files, from data.root, $CNN_DATA_DIR/mnist, the user's cache, or a download.
    Raises InputError.
    """
    names = TEST if test else TRAIN
    if settings.root is not None:
        folder = Path(settings.root).expanduser()
        found = _both(folder, names)
        if found is None:
            raise InputError(f"data.root: must hold {' and '.join(names)}, also .gz, got {folder}")
        return found
    cache = user_cache() / "mnist"
    places = [place for place in (shared_folder("mnist"), cache) if place is not None]
    for place in places:
        if (found := _both(place, names)) is not None:
            return found
    return [_fetch(name, cache, settings.download, places) for name in names]


def _both(folder: Path, names: Sequence[str]) -> list[Path] | None:
    found = []
    for name in names:
        variants = (
            name,
            f"{name}.gz",
            name.replace("-idx", ".idx"),
            name.replace("-idx", ".idx") + ".gz",
        )
        path = next(
            (folder / variant for variant in variants if (folder / variant).is_file()), None
        )
        if path is None:
            return None
        found.append(path)
    return found


def _fetch(name: str, cache: Path, allowed: bool, places: Sequence[Path]) -> Path:
    looked = f"not in {' or '.join(map(str, places))}"
    advice = (
        "put the four files into a folder and give data.root=FOLDER, or use data=digits, which "
        "needs no files"
    )
    if not allowed:
        raise InputError(
            f"data=mnist: {name} must be there, {looked}, and data.download=false: {advice}"
        )
    target = cache / f"{name}.gz"
    reasons = []
    for mirror in MIRRORS:
        try:
            download(f"{mirror}{name}.gz", target, lambda path: _verify(name, path))
            return target
        except (OSError, ValueError) as error:
            unreached = f"cannot be reached ({type(error).__name__})"
            reasons.append(f"{mirror}: {error if isinstance(error, InputError) else unreached}")
    raise InputError(
        f"data=mnist: {name} must be there or be downloaded, {looked}; {'; '.join(reasons)}. "
        f"Offline? Then {advice}"
    )


def _verify(name: str, path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of a file whose uncompressed bytes have the known digest.

    Raises InputError.
    """
    array = read_idx(path, 3 if "idx3" in name else 1)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    digest = hashlib.sha256(header)
    digest.update(array.data)
    if digest.hexdigest() != SHA256[name]:
        raise InputError(
            f"{path}: must be MNIST's own, sha256 {SHA256[name][:12]}... uncompressed, got "
            f"{digest.hexdigest()[:12]}..."
        )
    return array


def read_mnist(settings: MnistSettings, files: Sequence[Path], reading: Reading) -> Labelled:
    """Return 60,000 training or 10,000 test images."""
    names = TEST if reading.test else TRAIN
    images = _verify(names[0], files[0])[:, None]
    labels = read_idx_labels(files[1], 10)
    _verify(names[1], files[1])
    return Labelled(images, labels, 10)


MNIST: DataSource[MnistSettings] = DataSource(
    find_mnist, read_mnist, own_test=lambda settings: True
)


TIMEOUT_S = 20.0  # without receiving a byte


def download(address: str, target: Path, verify: Callable[[Path], object]) -> None:
    """Fetch `address` into `target`; `verify` raises ValueError for wrong bytes, and nothing is
    then left behind.

    Raises OSError where the address cannot be reached (requests' errors are OSErrors) or answers
    with an error.
    """
    import pooch  # and with it requests: imported for a download only

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    fetch = pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT_S)
    try:
        fetch(address, str(temporary), None)
        verify(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
