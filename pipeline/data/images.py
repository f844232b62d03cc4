"""A folder of PNG or JPEG files a class, read by Pillow; bombs, broken files and mixed sizes are refused by name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from cnn_core.errors import InputError
from pipeline.data.places import resolve
from pipeline.data.settings import ImagesSettings
from pipeline.data.source import MOST_CLASSES, Labelled, Source, required

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 16 << 20  # of one file; its header says so before anything is decompressed
MAX_BYTES = 4 << 30  # of all images together, as they are kept
MODES = {"grey": "L", "rgb": "RGB"}


def read_image(path: Path, colour: str = "grey", size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """Return one PNG or JPEG as (C, H, W) uint8, resized to `size` (height, width) where given; transparency lies on black.

    Raises InputError for a file that is no such image, is damaged, or has more than MAX_PIXELS pixels.
    """
    try:
        with path.open("rb") as file, Image.open(file, formats=("PNG", "JPEG")) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InputError(f"{path}: an image may have at most {MAX_PIXELS:,} pixels, got {width} x {height}")
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                visible = image.convert("RGBA")
                black = Image.new("RGBA", visible.size, (0, 0, 0, 255))
                plain = Image.alpha_composite(black, visible).convert(MODES[colour])
            else:
                plain = _eight_bits(image).convert(MODES[colour])
            if size is not None and plain.size != (size[1], size[0]):
                plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            array = np.asarray(plain, dtype=np.uint8)
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: must be a PNG or JPEG image of at most {MAX_PIXELS:,} pixels, got {_first(error)}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: must be a whole PNG or JPEG image, got: {_first(error)}") from error
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return 16-bit greys scaled to 8 bits, which convert() would clip; other modes as they are."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    return image


def _first(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _image_files(settings: ImagesSettings, test: bool) -> Sequence[Path]:
    name = "test_folder" if test else "folder"
    folder = resolve(required(settings, name), settings.root, settings.name)
    if not folder.is_dir():
        raise InputError(f"data.{name}: must be a folder with one folder a class, got {folder}")
    return [path for _, paths in _by_class(folder, name) for path in paths]


def _by_class(folder: Path, name: str) -> list[tuple[str, list[Path]]]:
    """Return class -> files, classes by number where all names are numbers, else by name."""
    classes = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise InputError(f"data.{name}: must have 2 to {MOST_CLASSES} folders, one a class, got {len(classes)} in {folder}")
    numbers = all(path.name.isdecimal() for path in classes)
    classes.sort(key=lambda path: (int(path.name), path.name) if numbers else (0, path.name))
    found = []
    for path in classes:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise InputError(f"data.{name}: every class must have an image ({', '.join(SUFFIXES)}), got none in {path}")
        found.append((path.name, files))
    return found


def _read_images(settings: ImagesSettings, files: Sequence[Path], test: bool) -> Labelled:
    if settings.size and len(settings.size) != 2:
        raise InputError(f"data.size: must be [height, width], got {settings.size}")
    size = (settings.size[0], settings.size[1]) if settings.size else None
    names = list(dict.fromkeys(path.parent.name for path in files))
    kept: list[npt.NDArray[np.uint8]] = []
    for path in files:
        image = read_image(path, settings.colour, size)
        if kept and image.shape != kept[0].shape:
            shapes = f"{image.shape[1]}x{image.shape[2]} after {kept[0].shape[1]}x{kept[0].shape[2]} of {files[0].name}"
            raise InputError(f"{path}: images must have one size, or data.size=[height,width] resizes them, got {shapes}")
        kept.append(image)
        if image.nbytes * len(files) > MAX_BYTES:
            raise InputError(
                f"{path}: all images together may have {MAX_BYTES:,} bytes, got {len(files)} of {image.nbytes:,}; give data.size"
            )
    labels = np.array([names.index(path.parent.name) for path in files], np.int64)
    return Labelled(np.stack(kept), labels, len(names))


IMAGES: Source[ImagesSettings] = Source(
    _image_files, _read_images, own_test=lambda settings: bool(settings.test_folder), options=("colour", "size")
)
