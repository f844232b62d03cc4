"""From a drawing or a picture to the model's input, and to what its first layer makes of it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from cnn_core.errors import InputError
from cnn_core.layers import OPERATIONS
from pipeline.bundle.predictor import Bundle, Net
from pipeline.inputs.normalize import as_mnist, ink_of
from pipeline.inputs.pictures import read_picture

MOST_MAPS = 32
_WINDOWED = (
    "moment_normalization",
    "convolution",
    "scale_shift",
)  # what may stand before the first activation


def input_of(content: bytes, bundle: Bundle) -> NDArray[np.uint8]:
    """The model's input (1, C, H, W) from the bytes of a PNG, JPEG or BMP. Raises InputError for
    anything else.
    """
    channels, height, width = bundle.image_shape
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        file = Path(folder) / "picture"
        file.write_bytes(content)
        try:
            picture = read_picture(file, channels)
        except InputError as error:
            raise InputError(str(error).replace(f" in {file}", "")) from None
    if picture.shape == bundle.image_shape:
        return picture[None]
    if channels != 1:
        resized = Image.fromarray(picture.transpose(1, 2, 0)).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        return np.asarray(resized, np.uint8).transpose(2, 0, 1)[None]
    centre = fill_box if bundle.manifest.data.name == "digits" else as_mnist
    return centre(picture[0], (height, width))[None, None]


def fill_box(grey: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W) as the embedded digits were made: the digit fills the height, each pixel
    counts the ink of its block.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits": 32x32 bitmaps, ink
    counted in blocks of 4x4.
    """
    ink = ink_of(grey)
    rows, columns = np.flatnonzero((ink > 0.2).any(axis=1)), np.flatnonzero((ink > 0.2).any(axis=0))
    height, width = size
    if not rows.size:
        return np.zeros(size, np.uint8)
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    fitting = min(width, max(2, round(cut.shape[1] * height / cut.shape[0])))
    digit = np.asarray(
        Image.fromarray(cut.astype(np.float32)).resize((fitting, height), Image.Resampling.BOX)
    )
    canvas = np.zeros(size, np.float32)
    left = (width - fitting + 1) // 2
    canvas[:, left : left + fitting] = digit / max(float(digit.max()), 1e-6)
    return np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def _framed(net: Net, image: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The image (1, C, H, W) as the net's first convolution sees it: in the normalised frame, where
    the net has one.
    """
    first = net.operations[0]
    if first["op"] != "moment_normalization":
        return image.astype(np.float32)
    seen = OPERATIONS[first["op"]].infer(
        image.transpose(1, 2, 3, 0).astype(np.float32), first, net.arrays
    )
    return seen[-image.shape[1] :].transpose(3, 0, 1, 2)


def first_maps(net: Net, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Activations of the first layer (maps, H, W), each scaled to 0..255 by the largest of all;
    none for a net without convolution.

    image: (1, C, H, W).
    """
    x = image.transpose(1, 2, 3, 0).astype(np.float32) / np.float32(255)
    convolved = False
    for operation in net.operations:
        if not convolved and operation["op"] not in _WINDOWED:
            return np.zeros((0, 1, 1), np.uint8)
        if convolved and operation["op"] in (
            "pooling",
            "flatten",
            "global_average_pooling",
            "convolution",
        ):
            break
        x = OPERATIONS[operation["op"]].infer(x, operation, net.arrays)
        convolved = convolved or operation["op"] == "convolution"
        if convolved and operation["op"] not in _WINDOWED:
            break
    maps = np.maximum(x[:MOST_MAPS, :, :, 0], 0)
    scaled: NDArray[np.uint8] = np.rint(maps * (255 / max(float(maps.max()), 1e-6))).astype(
        np.uint8
    )
    return scaled


def answer(bundle: Bundle, content: bytes) -> dict[str, Any]:
    """What the page shows: probabilities of ensemble and members, the input, the first layer's
    maps. Raises InputError.
    """
    image = input_of(content, bundle)
    with threadpool_limits(1):  # more threads only wait for each other on one image
        members = bundle.member_proba(image)
    together = bundle.combine(members)[0]
    return {
        "prediction": int(together.argmax()),
        "empty": not bool(image.any()),
        "ensemble": _rounded(together),
        "members": [
            {"name": about.name, "probabilities": _rounded(chances)}
            for about, chances in zip(bundle.manifest.members, members[:, 0], strict=True)
        ],
        "seen": np.rint(_framed(bundle.nets[0][0], image)[0].mean(axis=0)).astype(int).tolist(),
        "maps": first_maps(bundle.nets[0][0], image).tolist(),
    }


def _rounded(values: Sequence[float] | NDArray[np.floating]) -> list[float]:
    return [round(float(value), 6) for value in values]
