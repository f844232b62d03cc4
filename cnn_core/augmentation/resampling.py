"""One gather per batch: bilinear or nearest-neighbour reading of byte images at arbitrary
coordinates.
"""

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Images

Float32 = NDArray[np.float32]


def _pack_neighbours(channel: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Pack each pixel of (N, H, W) with its right, lower and lower-right neighbour into one word:
    (N, H + 2, W + 2) uint32.

    One row and column of zeros surround the image, so entry (y, x) begins at source pixel (y - 1, x
    - 1). Bilinear interpolation then costs one gather instead of four.
    """
    count, height, width = channel.shape
    packed = np.zeros((count, height + 2, width + 2), np.uint32)
    corners = packed.view(np.uint8).reshape(count, height + 2, width + 2, 4)
    corners[:, 1:-1, 1:-1, 0] = channel
    corners[:, 1:-1, :-2, 1] = channel
    corners[:, :-2, 1:-1, 2] = channel
    corners[:, :-2, :-2, 3] = channel
    return packed


def resample(
    images: Images,
    source_y: Float32,
    source_x: Float32,
    nearest: NDArray[np.bool_] | None,
    out: Float32,
) -> Float32:
    """Read each image at its own grid, 0 outside; write values of 0 to 255 into `out`.

    images: (N, C, H, W) uint8; source_y, source_x: (H, W, N) float32, overwritten; nearest: (N,)
    bool, the images that are read by nearest neighbour, or None; out: (C, H, W, N) float32. Equal
    to ``scipy.ndimage.map_coordinates(order=1 or 0, mode="grid-constant")``.
    """
    count, _, height, width = images.shape
    if nearest is not None and nearest.any():
        np.floor(source_y + np.float32(0.5), out=source_y, where=nearest)
        np.floor(source_x + np.float32(0.5), out=source_x, where=nearest)
    # Beyond one pixel outside everything is 0, so the grid is clipped to the padded image.
    np.clip(source_y, -1.0, height, out=source_y)
    np.clip(source_x, -1.0, width, out=source_x)
    top, left = np.floor(source_y), np.floor(source_x)
    source_y -= top
    source_x -= left
    # Exact in float32: a batch holds far fewer than 2^24 pixels; `_check_batch` ensures it.
    _check_batch(count, height, width)
    top += 1.0
    top *= width + 2
    top += left
    top += np.arange(count, dtype=np.float32) * ((height + 2) * (width + 2)) + 1
    index = top.astype(np.intp)
    for channel in range(images.shape[1]):
        _interpolate(
            _pack_neighbours(images[:, channel]), index, source_y, source_x, out[channel], left
        )
    return out


def _interpolate(
    packed: NDArray[np.uint32],
    index: NDArray[np.intp],
    fy: Float32,
    fx: Float32,
    out: Float32,
    scratch: Float32,
) -> None:
    """Write ``top + fy (bottom - top)``, both interpolated along x by fx, into out (H, W, N);
    overwrite `scratch`.
    """
    words = packed.ravel().take(
        index, mode="clip"
    )  # mode="raise" would buffer; the coordinates are clipped already
    corner = words.view(np.uint8).reshape(*words.shape, 4)
    lower_left = corner[..., 2].astype(np.float32)
    np.subtract(corner[..., 3], lower_left, out=scratch)
    scratch *= fx
    lower_left += scratch
    np.copyto(out, corner[..., 0])
    np.subtract(corner[..., 1], out, out=scratch)
    scratch *= fx
    out += scratch
    lower_left -= out
    lower_left *= fy
    out += lower_left


def _check_batch(count: int, height: int, width: int) -> None:
    if count * (height + 2) * (width + 2) >= 1 << 24:
        raise ValueError(
            f"a batch must hold fewer than 2^24 padded pixels, got {count} images of "
            f"{height}x{width}"
        )
