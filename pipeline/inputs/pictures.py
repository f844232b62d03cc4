"""PNG, JPEG and BMP files: one, a folder of them, or one folder per class."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cnn_core.errors import InputError
from pipeline.inputs.normalize import as_mnist
from pipeline.inputs.wanted import Block, Wanted

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
MAX_PIXELS = 40_000_000  # of one picture: 160 MB while it is decoded in colour
_FORMATS = ("PNG", "JPEG", "BMP")


class PictureSource:
    """Pictures in natural order of their names (2 before 10); the id is the file's name.

    A folder of folders named by classes (``0/ 1/ ...``) is a labelled set. normalize: "mnist"
    centres and scales every picture as MNIST was, "none" requires the model's size, "auto"
    normalises all of them unless all have the model's size.
    """

    def __init__(self, path: Path, wanted: Wanted, normalize: str) -> None:
        self.wanted, self.normalize = wanted, normalize
        self.files, self.labels = _find(path, wanted)
        if normalize == "auto" and any(
            picture_size(file) != wanted.image_shape[1:] for file in self.files
        ):
            self.normalize = "mnist"
        self.count: int | None = len(self.files)

    def blocks(self, size: int) -> Iterator[Block]:
        for start in range(0, len(self.files), size):
            files = self.files[start : start + size]
            images = np.stack([self._image(file) for file in files])
            labels = (
                None
                if self.labels is None
                else np.array(self.labels[start : start + size], np.int64)
            )
            yield Block(images=images, ids=tuple(file.name for file in files), labels=labels)

    def _image(self, file: Path) -> NDArray[np.uint8]:
        channels, height, width = self.wanted.image_shape
        picture = read_picture(file, channels)
        if picture.shape[1:] == (height, width) and self.normalize != "mnist":
            return picture
        if self.normalize == "none":
            got = f"{picture.shape[1]}x{picture.shape[2]}"
            raise InputError(
                f"pictures must have the model's size {height}x{width} (normalize=none), got {got} "
                f"in {file}"
            )
        if channels == 1:
            return as_mnist(picture[0], (height, width))[None]
        resized = Image.fromarray(picture.transpose(1, 2, 0)).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        return np.asarray(resized).transpose(2, 0, 1)


def picture_size(file: Path) -> tuple[int, int] | None:
    """Return (height, width) from the file's header, None where it cannot be read; a later read
    reports why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as picture:
                return picture.size[1], picture.size[0]
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return None


def read_picture(file: Path, channels: int) -> NDArray[np.uint8]:
    """Return (C, H, W) uint8. Raises InputError for a file that is not a picture, is truncated, or
    is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise InputError(
                        f"a picture must have at most {MAX_PIXELS:,} pixels, got {width}x{height} "
                        f"in {file}"
                    )
                return _planes(picture, channels)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(
            f"a picture must be PNG, JPEG or BMP, got something else in {file}"
        ) from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        reason = str(error).partition("\n")[0][:120] or type(error).__name__
        raise InputError(f"a picture must be whole and readable, got {reason} in {file}") from None


def _planes(picture: Image.Image, channels: int) -> NDArray[np.uint8]:
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 bits per pixel
        values = np.asarray(picture).astype(np.float64)
        grey = np.clip(values / 257 if values.max(initial=0) > 255 else values, 0, 255).astype(
            np.uint8
        )
        return np.repeat(grey[None], channels, axis=0)
    if picture.has_transparency_data:
        picture = _on_paper(picture.convert("RGBA"))
    planes = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    return planes[None] if channels == 1 else planes.transpose(2, 0, 1)


def _on_paper(picture: Image.Image) -> Image.Image:
    """Lay a transparent drawing on white, or on black where its own colours are light."""
    grey, alpha = (
        np.asarray(picture.convert("L"), np.float64),
        np.asarray(picture.getchannel("A"), np.float64),
    )
    light = alpha.sum() > 0 and float((grey * alpha).sum() / alpha.sum()) > 127
    paper = Image.new("RGBA", picture.size, (0, 0, 0, 255) if light else (255, 255, 255, 255))
    return Image.alpha_composite(paper, picture)


def _find(path: Path, wanted: Wanted) -> tuple[list[Path], list[int] | None]:
    """Return the files, and labels where the folder holds one folder a class."""
    if path.is_file():
        return [path], None
    files = _pictures(path)
    if files:
        return files, None
    folders = [
        folder
        for folder in path.iterdir()
        if folder.is_dir() and folder.name.isdigit() and int(folder.name) < wanted.classes
    ]
    labelled = [
        (file, int(folder.name))
        for folder in sorted(folders, key=lambda f: int(f.name))
        for file in _pictures(folder)
    ]
    if not labelled:
        raise InputError(
            f"a folder of pictures must hold {', '.join(SUFFIXES)} files, or folders of them named "
            f"by class, got none in {path}"
        )
    labels = None if wanted.label == "none" else [label for _, label in labelled]
    return [file for file, _ in labelled], labels


def _pictures(folder: Path) -> list[Path]:
    found = (
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )
    return sorted(found, key=_natural)


def _natural(file: Path) -> list[tuple[int, int, str]]:
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"([0-9]+)", file.name)
    ]
