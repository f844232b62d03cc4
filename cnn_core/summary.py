"""The table of a net's layers, in the columns of the course slides: filters, padding, activation shape and size, parameters."""

from collections.abc import Sequence
from typing import Any

from cnn_core.axes import Shape
from cnn_core.layers.base import Layer

COLUMNS = ("layer", "filters", "padding", "activation shape", "activation size", "parameters")


def summary_table(image_shape: Shape, layers: Sequence[Layer]) -> str:
    """Return the table as text; a layer that neither learns nor changes the shape (ReLU, dropout) stands behind the one before it."""
    rows: list[list[str]] = [["input", "", "", *_shape_and_size(image_shape), "0"]]
    shape = tuple(image_shape)
    for layer in layers:
        count = sum(p.size for p in layer.params.values())
        if count == 0 and layer.out_shape == shape:
            rows[-1][0] += f" + {_title(layer, layer.describe())}"
        else:
            about = layer.describe()
            rows.append([_title(layer, about), _filters(about), _padding(about), *_shape_and_size(layer.out_shape), f"{count:,}"])
        shape = layer.out_shape
    rows[-1][0] += " + softmax"
    total = sum(p.size for layer in layers for p in layer.params.values())
    rows.append(["total", "", "", "", "", f"{total:,}"])
    return _align([list(COLUMNS), *rows])


def _title(layer: Layer, about: dict[str, Any]) -> str:
    size = about.get("kernel") or about.get("size")
    if size:
        return f"{layer.name} {size[0]}x{size[1]}"
    if "frame" not in about:
        return layer.name
    return f"{layer.name} ({about['frame']}{' beside the image' if about['beside'] else ''})"


def _filters(about: dict[str, Any]) -> str:
    return str(about.get("filters", ""))


def _padding(about: dict[str, Any]) -> str:
    padding = about.get("padding", "")
    return "x".join(map(str, padding)) if isinstance(padding, tuple) else str(padding)


def _shape_and_size(shape: Shape) -> tuple[str, str]:
    """Write (C, H, W) as the slides do, HxWxC."""
    size = 1
    for n in shape:
        size *= n
    text = f"{shape[1]}x{shape[2]}x{shape[0]}" if len(shape) == 3 else "x".join(map(str, shape))
    return text, f"{size:,}"


def _align(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = [row[i].ljust(widths[i]) if i < 3 else row[i].rjust(widths[i]) for i in range(len(COLUMNS))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
