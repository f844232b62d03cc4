"""One folder of PNG, JPEG or BMP files per class, read by Pillow; decompression bombs, broken files
and mixed sizes are refused by name.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnn_core.errors import InputError
from pipeline.configuration.data_settings import ImagesSettings
from pipeline.data.source import MOST_CLASSES, DataSource, Labelled, required, resolve
from pipeline.inputs.normalize import as_mnist
from pipeline.inputs.pictures import SUFFIXES, read_picture

MAX_BYTES = 4 << 30  # of all images together, as they are kept


def _image_files(settings: ImagesSettings, test: bool) -> Sequence[Path]:
    found = _by_class(settings, "test_folder" if test else "folder")
    if test:
        known = [name for name, _ in _by_class(settings, "folder")]
        strange = [name for name, _ in found if name not in known]
        if strange:
            raise InputError(
                f"data.test_folder: must have classes of data.folder, {', '.join(known[:20])}, got "
                f"{strange[0]}"
            )
    return [path for _, paths in found for path in paths]


def _by_class(settings: ImagesSettings, name: str) -> list[tuple[str, list[Path]]]:
    """Return class -> files, classes by number where all names are numbers, else by name."""
    folder = resolve(required(settings, name), settings.root, settings.name)
    if not folder.is_dir():
        raise InputError(f"data.{name}: must be a folder with one folder a class, got {folder}")
    classes = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise InputError(
            f"data.{name}: must have 2 to {MOST_CLASSES} folders, one a class, got {len(classes)} "
            f"in {folder}"
        )
    numbers = all(path.name.isdecimal() for path in classes)
    classes.sort(key=lambda path: (int(path.name), path.name) if numbers else (0, path.name))
    found = []
    for path in classes:
        files = sorted(
            file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()
        )
        if not files:
            raise InputError(
                f"data.{name}: every class must have an image ({', '.join(SUFFIXES)}), got none in "
                f"{path}"
            )
        found.append((path.name, files))
    return found


def _read_images(settings: ImagesSettings, files: Sequence[Path], test: bool) -> Labelled:
    size = _size(settings)
    names = [name for name, _ in _by_class(settings, "folder")]  # a test folder may lack some
    kept: list[npt.NDArray[np.uint8]] = []
    for path in files:
        image = _fitted(
            read_picture(path, 3 if settings.colour == "rgb" else 1), size, settings.normalize
        )
        if kept and image.shape != kept[0].shape:
            shapes = (
                f"{image.shape[1]}x{image.shape[2]} after {kept[0].shape[1]}x{kept[0].shape[2]} "
                f"of {files[0].name}"
            )
            raise InputError(
                f"{path}: images must have one size, or data.size=[height,width] resizes them, got "
                f"{shapes}"
            )
        kept.append(image)
        if image.nbytes * len(files) > MAX_BYTES:
            raise InputError(
                f"{path}: all images together may have {MAX_BYTES:,} bytes, got {len(files)} of "
                f"{image.nbytes:,}; give data.size"
            )
    labels = np.array([names.index(path.parent.name) for path in files], np.int64)
    return Labelled(np.stack(kept), labels, len(names))


def _size(settings: ImagesSettings) -> tuple[int, int] | None:
    if settings.size and len(settings.size) != 2:
        raise InputError(f"data.size: must be [height, width], got {settings.size}")
    if settings.normalize == "mnist" and (not settings.size or settings.colour != "grey"):
        raise InputError(
            "data.normalize: mnist needs data.size and data.colour=grey, got "
            f"size={settings.size}, colour={settings.colour}"
        )
    return (settings.size[0], settings.size[1]) if settings.size else None


def _fitted(
    image: npt.NDArray[np.uint8], size: tuple[int, int] | None, normalize: str
) -> npt.NDArray[np.uint8]:
    """Return (C, H, W) in the requested size; pixels that need no change are not touched."""
    if normalize == "mnist" and size is not None:
        return as_mnist(image[0], size)[None]
    if size is None or image.shape[1:] == size:
        return image
    planes = [
        np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.LANCZOS))
        for plane in image
    ]
    return np.stack(planes)


IMAGES: DataSource[ImagesSettings] = DataSource(
    _image_files,
    _read_images,
    own_test=lambda settings: bool(settings.test_folder),
    options=("colour", "size", "normalize"),
)
