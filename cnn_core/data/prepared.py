"""Prepared data: plain arrays in a folder with a manifest of digests, mapped into memory so that
all workers share one copy.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Images, Indices, Labels
from cnn_core.data.about import About, about_from, numbered_classes
from cnn_core.data.checks import check_labelled, check_labels, open_regular, read_regular
from cnn_core.data.image_form import ImageForm
from cnn_core.data.npy import npy_header, read_npy
from cnn_core.errors import InputError
from cnn_core.plain_json import parse_json
from cnn_core.whole_files import naming, whole_file

VERSION = 1
CHUNK = 1 << 20
MOST_MANIFEST_BYTES = 64 << 20  # it lists all copies of pictures


class DataAbsentError(InputError):
    """Prepared data are not in their folder; a process that has them can send them (the digest says
    which).
    """


@dataclass(frozen=True)
class Prepared:
    """A labelled set: images (N, C, H, W) uint8, read-only and mapped; labels (N,) int64; what the
    manifest says.
    """

    images: Images
    labels: Labels
    about: About
    digest: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        return len(self.about.class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.about.class_names

    @property
    def form(self) -> ImageForm:
        return self.about.form

    @property
    def name(self) -> str:
        return self.about.name

    @property
    def groups(self) -> Indices | None:
        """Return, for each picture, the index of the first picture of its group, (N,); None where
        none occurs twice.
        """
        return self.about.firsts(len(self.labels))


def digest_of(images_sha256: str, labels_sha256: str, shape: tuple[int, ...], about: About) -> str:
    """Return the digest of a labelled set, 64 hexadecimal digits: of its values, shape, classes and
    form, not of its name or folder.
    """
    content = f"prepared {VERSION} {images_sha256} {labels_sha256} {shape} {len(about.class_names)}"
    return hashlib.sha256(f"{content}{about.of_its_own()}".encode()).hexdigest()


def write_prepared(folder: Path, images: Images, labels: Labels, *, classes: int, name: str) -> str:
    """Write a set of numbered classes, of the images as they are, into `folder`; return its digest.

    Raises InputError for arrays that are not a labelled set, OSError where nothing can be written.
    """
    check_labelled(images, labels, classes, name)
    channels, height, width = images.shape[1:]
    form = ImageForm(channels=channels, height=height, width=width)
    about = About(name=name, class_names=numbered_classes(classes), form=form)
    return store(folder.parent, [images], labels, about, lambda digest: folder.name)[1]


def store(
    parent: Path,
    blocks: Iterable[Images],
    labels: Labels,
    about: About,
    name_of: Callable[[str], str],
) -> tuple[Path, str]:
    """Write images that come block by block, and their labels, into a folder of `parent` named by
    the digest; return folder and digest. The folder appears whole or not at all, and an equal one
    is kept.

    Written: images.npy, labels.npy, manifest.json. Raises InputError for what is not a labelled
    set, OSError where nothing can be written.
    """
    with naming(parent):
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing.", dir=parent))
    try:
        shape = (len(labels), *about.form.shape)
        hashes = {
            "images": _write_images(temporary / "images.npy", blocks, shape),
            "labels": _write_labels(temporary / "labels.npy", labels, about),
        }
        digest = digest_of(hashes["images"], hashes["labels"], shape, about)
        folder = parent / name_of(digest)
        manifest = {
            "version": VERSION,
            "digest": digest,
            "name": about.name,
            "classes": len(about.class_names),
            "class_names": about.class_names,
            "form": asdict(about.form),
            "groups": about.groups,
            "shape": shape,
            "sha256": hashes,
        }
        with whole_file(temporary / "manifest.json", named=parent) as file:
            file.write(json.dumps(manifest, indent=1).encode())
        with naming(parent):
            _move(temporary, folder, digest)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder, digest


def _write_images(path: Path, blocks: Iterable[Images], shape: tuple[int, ...]) -> str:
    """Write (N, C, H, W) bytes as `numpy.save` does; return the sha256 of the values."""
    hashed, count = hashlib.sha256(), 0
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with whole_file(path, named=path.parents[1]) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            if block.dtype != np.uint8 or block.shape[1:] != shape[1:]:
                raise InputError(
                    f"images must be {shape[1:]} bytes, got {block.shape[1:]} {block.dtype}"
                )
            content = np.ascontiguousarray(block).data
            hashed.update(content)
            file.write(content)
            count += len(block)
    if count != shape[0] or not count:
        raise InputError(f"images and labels must be as many, got {count} and {shape[0]}")
    return hashed.hexdigest()


def _write_labels(path: Path, labels: Labels, about: About) -> str:
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise InputError(f"labels must be (N,) int64, got {labels.shape} {labels.dtype}")
    check_labels(labels, len(about.class_names), lambda i: f"{about.name}: image {i}")
    with whole_file(path, named=path.parents[1]) as file:
        # Not `numpy.save`: it does not notice that the disk is full.
        header = np.lib.format.header_data_from_array_1_0(labels)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(labels.tobytes())
    return array_sha256(labels)


def array_sha256(array: npt.NDArray[Any]) -> str:
    """Return the sha256 of an array's values in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _digest_in(folder: Path) -> str | None:
    try:
        return str(_manifest(folder)["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _manifest(folder: Path) -> Any:
    return parse_json(read_regular(folder / "manifest.json", MOST_MANIFEST_BYTES))


def _move(temporary: Path, folder: Path, digest: str) -> None:
    """Give the folder its final name; an older or damaged one of that name is removed first.

    If another process has written the same set meanwhile, its folder stays: it may be in use.
    """
    temporary.chmod(0o755)
    if folder.exists():
        if _digest_in(folder) == digest:
            return
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        try:
            folder.rename(aside / folder.name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    try:
        temporary.rename(folder)
    except OSError:
        if _digest_in(folder) != digest:
            raise


@lru_cache(maxsize=4)
def open_prepared(folder: str, digest: str) -> Prepared:
    """Map a prepared set into memory; its digest is verified once per process.

    Raises DataAbsentError where the folder is absent, InputError where its content does not match
    the digest.
    """
    root = Path(folder)
    if not (root / "manifest.json").is_file():
        raise DataAbsentError(f"data {digest[:12]}: the prepared folder must exist, got {folder}")
    try:
        images = _mapped(root / "images.npy")
        labels = read_npy(root / "labels.npy")
        hashes = [
            _file_sha256(root / "images.npy", images.nbytes),
            _file_sha256(root / "labels.npy", labels.nbytes),
        ]
        manifest = _manifest(root)
        about = about_from(manifest, images.shape)
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError),
        *(OverflowError, RecursionError),
    ) as error:
        raise InputError(
            f"{folder}: prepared data must be whole (delete the folder to mend it), got: {error}"
        ) from error
    found = digest_of(hashes[0], hashes[1], images.shape, about)
    if found != digest:
        raise InputError(
            f"{folder}: prepared data must have the digest {digest[:12]}, got {found[:12]}; delete "
            "the folder to mend it"
        )
    check_labelled(images, labels, len(about.class_names), folder)
    return Prepared(images, labels, about, digest)


def _mapped(path: Path) -> Images:
    """Return an array of bytes, (N, C, H, W), mapped from its file."""
    header = npy_header(path)
    if len(header.shape) != 4 or header.dtype != np.uint8 or header.fortran or 0 in header.shape:
        raise InputError(
            f"{path}: images must be (N, C, H, W) uint8 with no empty axis, in C order, got "
            f"{header.shape} {header.dtype}"
        )
    # A plain array over the map: indexing a memmap costs more at every batch.
    return np.asarray(np.memmap(path, np.uint8, "r", header.length, header.shape))


def _file_sha256(path: Path, values_bytes: int) -> str:
    """Hash the values of a .npy by reading the file: touching the map instead would count every
    page as this process's memory.
    """
    hashed = hashlib.sha256()
    with open_regular(path) as file:
        file.seek(path.stat().st_size - values_bytes)
        while chunk := file.read(CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()
