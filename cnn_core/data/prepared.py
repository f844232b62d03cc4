"""Prepared data: plain arrays in a folder with a manifest of digests, mapped into memory so that
all workers share one copy.
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Images, Labels
from cnn_core.data.checks import check_labelled
from cnn_core.data.image_form import ImageForm
from cnn_core.errors import InputError

VERSION = 1
CHUNK = 1 << 20


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
    classes: int
    name: str
    digest: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the classes' names, by number."""
        return tuple(map(str, range(self.classes)))

    @property
    def form(self) -> ImageForm:
        """Return what was done to every picture."""
        channels, height, width = self.image_shape
        return ImageForm(channels=channels, height=height, width=width)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.images.shape[1:]
        return channels, height, width


def digest_of(images_sha256: str, labels_sha256: str, shape: tuple[int, ...], classes: int) -> str:
    """Return the digest of a labelled set, 64 hexadecimal digits: of its values, shape and number
    of classes, not of its name or folder.
    """
    return hashlib.sha256(
        f"prepared {VERSION} {images_sha256} {labels_sha256} {shape} {classes}".encode()
    ).hexdigest()


def array_sha256(array: npt.NDArray[Any]) -> str:
    """Return the sha256 of an array's values in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def write_prepared(folder: Path, images: Images, labels: Labels, *, classes: int, name: str) -> str:
    """Write the set into `folder` and return its digest; the folder appears whole or not at all,
    and an existing one is kept.

    Written: images.npy, labels.npy, manifest.json. Raises InputError for arrays that are not a
    labelled set, OSError where nothing can be written.
    """
    check_labelled(images, labels, classes, name)
    arrays: dict[str, npt.NDArray[Any]] = {"images": np.ascontiguousarray(images), "labels": labels}
    hashes = {key: array_sha256(array) for key, array in arrays.items()}
    digest = digest_of(hashes["images"], hashes["labels"], images.shape, classes)
    if _digest_in(folder) == digest:
        return digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for key, array in arrays.items():
            with (temporary / f"{key}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                _sync(file.fileno())
        manifest = {
            "version": VERSION,
            "digest": digest,
            "name": name,
            "classes": classes,
            "shape": list(images.shape),
            "sha256": hashes,
        }
        with (temporary / "manifest.json").open("w") as text:
            json.dump(manifest, text, indent=1)
            text.flush()
            _sync(text.fileno())
        _move(temporary, folder, digest)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return digest


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)


def _digest_in(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / "manifest.json").read_text())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _move(temporary: Path, folder: Path, digest: str) -> None:
    """Give the folder its final name; an older or damaged one of that name is removed first.

    If another process has written the same set meanwhile, its folder stays: it may be in use.
    """
    temporary.chmod(0o755)
    if folder.exists():
        if _digest_in(folder) == digest:
            return
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        folder.rename(aside / folder.name)
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
        manifest = json.loads((root / "manifest.json").read_text())
        # A plain array over the map: indexing a memmap costs more at every batch.
        images = np.asarray(np.load(root / "images.npy", mmap_mode="r", allow_pickle=False))
        labels = np.load(root / "labels.npy", allow_pickle=False)
        hashes = [
            _file_sha256(root / "images.npy", images.nbytes),
            _file_sha256(root / "labels.npy", labels.nbytes),
        ]
        classes, name = int(manifest["classes"]), str(manifest["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: prepared data must be whole (delete the folder to mend it), got: {error}"
        ) from error
    found = digest_of(hashes[0], hashes[1], images.shape, classes)
    if found != digest:
        raise InputError(
            f"{folder}: prepared data must have the digest {digest[:12]}, got {found[:12]}; delete "
            "the folder to mend it"
        )
    check_labelled(images, labels, classes, folder)
    return Prepared(images, labels, classes, name, digest)


def _file_sha256(path: Path, values_bytes: int) -> str:
    """Hash the values of a .npy by reading the file: touching the map instead would count every
    page as this process's memory.
    """
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(path.stat().st_size - values_bytes)
        while chunk := file.read(CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()
