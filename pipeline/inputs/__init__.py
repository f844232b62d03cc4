"""Every form in which images to predict can come; `open_input` detects it by content rather than by
name.
"""

from pathlib import Path

from cnn_core.errors import InputError
from pipeline.inputs.arrays import MAGIC, ArraySource, IdxSource
from pipeline.inputs.pictures import SUFFIXES, PictureSource
from pipeline.inputs.rows import RowSource
from pipeline.inputs.wanted import Block, InputSource, Wanted

__all__ = ["Block", "InputSource", "Wanted", "open_input"]

NORMALIZE = ("auto", "mnist", "none")
LABEL = ("auto", "none", "first", "last")
_GZIP = b"\x1f\x8b"


def open_input(path: str | Path, wanted: Wanted, normalize: str = "auto") -> InputSource:
    """Return the source of images at `path`: IDX (.gz), CSV or text (.gz), .npy, .npz, a picture,
    or a folder of pictures.

    `normalize` "mnist" centres and scales every image as MNIST was; "auto" does so for pictures of
    another size than the model's. Raises InputError, with rule, value and place, for whatever
    cannot be read.
    """
    path = Path(path).expanduser()
    try:
        source = _open(path, wanted, normalize)
    except OSError as error:
        raise InputError(
            f"input must be a readable file or folder, got {path} ({error.strerror or error})"
        ) from None
    if normalize == "mnist" and not isinstance(source, PictureSource):
        from pipeline.inputs.normalize import NormalizedSource

        return NormalizedSource(source, wanted)
    return source


def _open(path: Path, wanted: Wanted, normalize: str) -> InputSource:
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return PictureSource(path, wanted, normalize)
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise InputError(f"input must not be empty, got 0 bytes in {path}")
    if start.startswith((b"\x93NUMPY", b"PK")):
        return ArraySource(path, wanted)
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM")):
        return PictureSource(path, wanted, normalize)
    if start.startswith(b"\x00\x00") or (
        start.startswith(_GZIP) and _unpacked_start(path) == MAGIC
    ):
        return IdxSource(path, wanted)
    return RowSource(path, wanted)


def _unpacked_start(path: Path) -> bytes:
    import gzip
    import zlib

    try:
        with gzip.open(path, "rb") as file:
            return file.read(4)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"compressed data must be whole, got {error} in {path}") from None
