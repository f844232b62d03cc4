"""Test-time views: small turns, zooms and shifts of an image whose predictions are averaged."""

import math

_SHIFT = 1 / 28  # of the side: one pixel of 28
_TURN = math.radians(10)
_ZOOM = 1.08


def views_of(count: int, image_size: tuple[int, int]) -> list[list[float]]:
    """Return the first `count` of nine views: the image itself, two turns, two zooms, four shifts.

    Turns come first, for a net behind a frame sees the same image whatever the shift, and nearly so whatever the zoom (docs/LOG.md).
    A view is (yy, yx, ty, xy, xx, tx): where an output pixel is read, counted from the centre, in pixels.
    """
    dy, dx = _SHIFT * image_size[0], _SHIFT * image_size[1]
    cos, sin = math.cos(_TURN), math.sin(_TURN)
    views = [
        [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        [cos, sin, 0.0, -sin, cos, 0.0],
        [cos, -sin, 0.0, sin, cos, 0.0],
        [_ZOOM, 0.0, 0.0, 0.0, _ZOOM, 0.0],
        [1 / _ZOOM, 0.0, 0.0, 0.0, 1 / _ZOOM, 0.0],
        [1.0, 0.0, dy, 0.0, 1.0, 0.0],
        [1.0, 0.0, -dy, 0.0, 1.0, 0.0],
        [1.0, 0.0, 0.0, 0.0, 1.0, dx],
        [1.0, 0.0, 0.0, 0.0, 1.0, -dx],
    ]
    return views[:count]
