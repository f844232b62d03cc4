"""Every form in which images come, for training and for prediction; `open_input` tells them by
content, never by name.
"""

from pathlib import Path

from cnn_core.errors import InputError
from pipeline.inputs.input_source import Block, Hints, InputSource

__all__ = ["Block", "Hints", "InputSource", "open_input"]


def open_input(path: str | Path, hints: Hints | None = None) -> InputSource:
    """Return the source of images at `path`: a table (CSV, text, parquet), arrays (.npy, .npz, IDX,
    MATLAB 5), a picture, or a folder of pictures.

    Raises InputError, with rule, value and place, for whatever cannot be read or understood.
    """
    path = Path(path).expanduser()
    try:
        return _open(path, hints or Hints())
    except OSError as error:
        raise InputError(
            f"input must be a readable file or folder, got {path} ({error.strerror or error})"
        ) from None


def _open(path: Path, hints: Hints) -> InputSource:
    if (path / path.name).is_file():  # a folder of one file's name, as some archives unpack
        path = path / path.name
    kind = _kind(path, hints)
    # Each reader loads libraries of its own: the others are not waited for.
    if kind == "picture":
        from pipeline.inputs.pictures.picture_folder import PictureSource

        return PictureSource(path, hints)
    if kind == "table":
        from pipeline.inputs.tables.table_source import TableSource

        return TableSource(path, hints)
    if kind == "parquet":
        from pipeline.inputs.tables.parquet import ParquetSource

        return ParquetSource(path, hints)
    if kind == "idx":
        from pipeline.inputs.arrays.idx_files import IdxSource

        return IdxSource(path, hints)
    from pipeline.inputs.arrays.arrays import ArraySource

    return ArraySource(path, hints)


def _kind(path: Path, hints: Hints) -> str:
    from pipeline.inputs.contents import check_folder, recognise

    if path.is_dir():
        check_folder(path)
        return "picture"
    if path.exists() and not path.is_file():
        raise InputError(f"input must be a file or folder, got a pipe or a device, {path}")
    if hints.only is not None:
        raise InputError(
            f"`only` must go with a folder of pictures, got {hints.only} for the file {path}"
        )
    return recognise(path)
