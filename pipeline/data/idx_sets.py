"""MNIST and its family: sets published as four IDX files, found in the user's folders or
downloaded, and always verified by the digests of the uncompressed files.

Sources: Y. LeCun, C. Cortes, C. Burges, the MNIST database of handwritten digits; H. Xiao,
K. Rasul, R. Vollgraf, Fashion-MNIST (arXiv:1708.07747); G. Cohen, S. Afshar, J. Tapson,
A. van Schaik, EMNIST (arXiv:1702.05373).
"""

import hashlib
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.idx import read_idx, read_idx_labels
from cnn_core.data.image_form import ImageForm
from cnn_core.errors import InputError
from pipeline.configuration.data_settings import IdxSetSettings
from pipeline.data.download import fetch, places
from pipeline.data.source import DataSource, Labelled, PartToRead

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True, kw_only=True)
class IdxSet:
    """What is known about a set: its files and where they come from.

    sha256: of each file's uncompressed bytes; compressed copies vary, their content does not.
    turned: the same of a published form whose pictures are transposed and whose labels begin at 1.
    mirrors: folders that hold the files; or archive, one zip, and members, its names of the files.
    """

    title: str
    folder: str  # below $CNN_DATA_DIR and the user's cache
    sha256: Mapping[str, str]
    turned: Mapping[str, str] = field(default_factory=dict)
    mirrors: Sequence[str] = ()
    archive: str = ""
    members: Mapping[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = tuple("0123456789")
    other_sizes: str = "resample"  # of ImageForm: what other pictures become


_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
_MEMBERS = {
    name: "gzip/" + name.replace("train", "emnist-letters-train").replace(
        "t10k", "emnist-letters-test"
    ) + ".gz"
    for name in (*TRAIN, *TEST)
}  # fmt: skip
SETS = {
    "mnist": IdxSet(
        title="MNIST",
        folder="mnist",
        sha256={
            TRAIN[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST[0]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST[1]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        other_sizes="mnist",
    ),
    "fashion_mnist": IdxSet(
        title="Fashion-MNIST",
        folder="fashion-mnist",
        sha256={
            TRAIN[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            TRAIN[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            TEST[0]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            TEST[1]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        class_names=_CLOTHES,
    ),
    "emnist_letters": IdxSet(
        title="EMNIST",
        folder="emnist-letters",
        sha256={
            TRAIN[0]: "2adc8ab6cb53714bdfb602ff1b3c433309b639cd5f03f24d85b0042e8a0efb0f",
            TRAIN[1]: "509e19c1bd3ff36c969c5c5d337ded9a17a5f3921c58119c935ccf962601ee41",
            TEST[0]: "1c1afc110467d292c27c82e78b664d1e36a6f6c15d95d704fabbf42c8bbb30fe",
            TEST[1]: "ba7b93c861c55b367ed8ee27f251b7798c4cc295a1316109623f27a5e7e016c8",
        },
        turned={
            TRAIN[0]: "7a786db773b2096a7b9a3f3275388a27711f4451548c3ca8be96f09ae94371ae",
            TRAIN[1]: "e8e94c3f4353d5532fd9604b939cb4c76e7847945b9b0d9ff7884d881dead6bc",
            TEST[0]: "d5895e82d14765b22a84342337bc5c25f1affd61cc97d3821d4e65504bbf8dbc",
            TEST[1]: "22dbcde0a929a7f166bdac863b9195b2994d840a1e082f8f6daaeac5606376a6",
        },
        archive="https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
        members=_MEMBERS,
        class_names=tuple(ascii_uppercase),
        other_sizes="mnist",
    ),
}


def find_set(settings: IdxSetSettings, test: bool) -> Sequence[Path]:
    """Return the two files, from data.root, $CNN_DATA_DIR, the user's cache, or a download. Raises
    InputError.
    """
    kind, names = SETS[settings.name], TEST if test else TRAIN
    folders = places(settings, kind.folder)
    for folder in folders:
        if (found := _both(kind, folder, names)) is not None:
            return found
    if settings.root is not None:
        wanted = f"{' and '.join(names)}, also .gz"
        raise InputError(f"data.root: must hold {wanted}, got {folders[0]}")
    return _fetch(kind, settings, folders[-1], names)


def _both(kind: IdxSet, folder: Path, names: Sequence[str]) -> list[Path] | None:
    found = []
    for name in names:
        spellings = [name, name.replace("-idx", ".idx")]
        if name in kind.members:
            spellings.append(Path(kind.members[name]).stem)
        variants = [folder / f"{spelling}{end}" for spelling in spellings for end in ("", ".gz")]
        path = next((variant for variant in variants if variant.is_file()), None)
        if path is None:
            return None
        found.append(path)
    return found


def _fetch(kind: IdxSet, settings: IdxSetSettings, cache: Path, names: Sequence[str]) -> list[Path]:
    if kind.archive:
        # One large zip of several sets: its members of this one stay, the zip does not.
        files = {name: Path(member).name for name, member in kind.members.items()}
        advice = f"put {', '.join(files.values())} into a folder and give data.root=FOLDER"
        archive = cache / Path(kind.archive).name
        fetch(settings, [kind.archive], archive, lambda path: _unpack(kind, path, cache), advice)
        archive.unlink()
        return [cache / files[name] for name in names]
    advice = (
        "put the four files into a folder and give data.root=FOLDER, or use data=digits, which "
        "needs no files"
    )
    for name in names:
        addresses = [f"{mirror}{name}.gz" for mirror in kind.mirrors]
        target = cache / f"{name}.gz"

        def verify(path: Path, name: str = name) -> None:
            _verified(kind, name, path)

        fetch(settings, addresses, target, verify, advice)
    return [cache / f"{name}.gz" for name in names]


def _unpack(kind: IdxSet, archive: Path, cache: Path) -> None:
    """Write the set's members of a zip into the cache. Raises InputError where they are not the
    set's.
    """
    try:
        with zipfile.ZipFile(archive) as members:
            for name, member in kind.members.items():
                target = cache / Path(member).name
                temporary = target.with_name(f".{archive.name}-{target.name}")
                try:
                    temporary.write_bytes(members.read(member))
                    _verified(kind, name, temporary)
                    temporary.replace(target)
                finally:
                    temporary.unlink(missing_ok=True)
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(
            f"{kind.archive}: must be the zip of {kind.title}, got: {error}"
        ) from error


def _verified(kind: IdxSet, name: str, path: Path) -> NDArray[np.uint8]:
    """Return the array of a file whose uncompressed bytes have a known digest, upright, labels
    from 0.

    Raises InputError.
    """
    array = read_idx(path, 3 if "idx3" in name else 1)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    digest = hashlib.sha256(header)
    digest.update(array.data)
    found = digest.hexdigest()
    if found == kind.turned.get(name):
        return array.transpose(0, 2, 1) if array.ndim == 3 else array - 1
    if found != kind.sha256[name]:
        raise InputError(
            f"{path}: must be {kind.title}'s own, sha256 {kind.sha256[name][:12]}... uncompressed, "
            f"got {found[:12]}..."
        )
    return array


def read_set(settings: IdxSetSettings, files: Sequence[Path], part: PartToRead) -> Labelled:
    """Return the training or the test images with the set's class names and form."""
    kind, names = SETS[settings.name], TEST if part.test else TRAIN
    images = np.ascontiguousarray(_verified(kind, names[0], files[0]))[:, None]
    classes = len(kind.class_names)
    read_idx_labels(files[1], classes + bool(kind.turned))  # names the place of a wrong one
    labels = _verified(kind, names[1], files[1]).astype(np.int64)
    channels, height, width = images.shape[1:]
    form = ImageForm(channels=channels, height=height, width=width, other_sizes=kind.other_sizes)
    return Labelled(images, labels, classes, kind.class_names, form)


def _source(licence: str) -> DataSource[IdxSetSettings]:
    return DataSource(find_set, read_set, own_test=lambda settings: True, licence=licence)


MNIST = _source("MNIST (Y. LeCun, C. Cortes, C. J. C. Burges), made available under CC BY-SA 3.0")
FASHION_MNIST = _source(
    "Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf), MIT licence, (c) 2017 Zalando SE"
)
EMNIST_LETTERS = _source(
    "EMNIST (G. Cohen, S. Afshar, J. Tapson, A. van Schaik), from NIST Special Database 19, a work "
    "of the US government"
)
