"""Many small images on one sheet, with captions; and the sheet that shows what a net will see, a
class a row.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cnn_core.data.prepared import Prepared, open_prepared
from cnn_core.spec import DataSpec
from pipeline.files import atomic_write_bytes

CONTACT_SHEET = "contact_sheet.png"  # in a study's folder
MOST_ROWS, A_ROW = 26, 12  # classes shown, and images of each
_GAP = 2  # pixels between tiles
_CAPTION = 11  # height of a line of text, pixels


def sheet_png(
    images: NDArray[np.uint8],
    *,
    columns: int = 20,
    zoom: int = 2,
    captions: Sequence[str] | None = None,
) -> bytes:
    """Return a PNG of images (N, C, H, W) uint8 in rows of `columns`, each enlarged `zoom` times,
    with a caption below where given.

    Three channels are shown in colour, any other number as the grey of their mean.
    """
    count, channels, height, width = images.shape
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    step_y, step_x = height * zoom + _GAP + (_CAPTION if captions else 0), width * zoom + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP), (70, 90, 120))
    draw = ImageDraw.Draw(sheet)
    for n, image in enumerate(images):
        pixels = image.transpose(1, 2, 0) if channels == 3 else image.mean(axis=0).astype(np.uint8)
        tile = Image.fromarray(pixels).resize(
            (width * zoom, height * zoom), Image.Resampling.NEAREST
        )
        left, top = _GAP + (n % columns) * step_x, _GAP + (n // columns) * step_y
        sheet.paste(tile, (left, top))
        if captions:
            draw.text((left + 1, top + height * zoom), captions[n], fill=(255, 255, 255))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_sheet(
    path: Path,
    images: NDArray[np.uint8],
    *,
    columns: int = 20,
    zoom: int = 2,
    captions: Sequence[str] | None = None,
) -> Path:
    """Write `sheet_png` atomically and return the path."""
    atomic_write_bytes(path, sheet_png(images, columns=columns, zoom=zoom, captions=captions))
    return path


def contact_sheet(prepared: Prepared) -> bytes:
    """Return a PNG of a prepared set as a net will see it: a class a row, with its name; the first
    images of each, of the first 26 classes.
    """
    labels = np.asarray(prepared.labels)
    tiles, captions = [], []
    for number, name in enumerate(prepared.class_names[:MOST_ROWS]):
        chosen = np.flatnonzero(labels == number)[:A_ROW]
        tiles += [prepared.images[index] for index in chosen]
        tiles += [np.zeros(prepared.image_shape, np.uint8)] * (A_ROW - len(chosen))
        captions += [f"{name} ({int((labels == number).sum())})"] + [""] * (A_ROW - 1)
    zoom = max(1, 56 // prepared.image_shape[2])
    return sheet_png(np.stack(tiles), columns=A_ROW, zoom=zoom, captions=captions)


def write_contact_sheet(folder: Path, data: DataSpec) -> None:
    """Write the sheet of what the nets will see into a study's folder, unless it is there."""
    path = folder / CONTACT_SHEET
    if not path.exists():
        atomic_write_bytes(path, contact_sheet(open_prepared(data.folder, data.digest)))
