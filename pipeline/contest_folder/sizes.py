"""The size that a folder's pictures are brought to, where they differ or are larger than a net on a
CPU should see.
"""

from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from PIL import ExifTags, Image

from pipeline.contest_folder.roles import ContestFiles

_LOOKED_AT = 500  # pictures whose headers are read
_ON_THEIR_SIDE = (5, 6, 7, 8)  # EXIF's orientations that exchange width and height
_SMALLEST, _LARGEST = 8, 64  # pixels of a side


def fitting_size(roles: ContestFiles) -> dict[str, Any]:
    """Return ``size`` for the data's settings: the median height and width, at most 64 pixels on
    the longer side; nothing where all pictures have one such size, or the data are no pictures.
    """
    if roles.training is None or not roles.training.is_dir():
        return {}
    found = [size for path in _spread(roles.training) if (size := _size_of(path)) is not None]
    if not found:
        return {}
    height, width = (median(size[axis] for size in found) for axis in (0, 1))
    shrink = min(1.0, _LARGEST / max(height, width))
    fitting = [max(_SMALLEST, round(side * shrink)) for side in (height, width)]
    return {} if {tuple(fitting)} == set(found) else {"size": fitting}


def _spread(folder: Path) -> list[Path]:
    """Return some of a folder's files, evenly spread over it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return list(islice(files, 0, None, max(1, len(files) // _LOOKED_AT)))


def _size_of(path: Path) -> tuple[int, int] | None:
    """Return (height, width) of the upright picture from a file's header, None where it is no
    picture.
    """
    try:
        with Image.open(path) as picture:
            on_its_side = picture.getexif().get(ExifTags.Base.Orientation, 1) in _ON_THEIR_SIDE
            return picture.size if on_its_side else (picture.height, picture.width)
    except Exception:  # the readers of forty formats raise anything
        return None
