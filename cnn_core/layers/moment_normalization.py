"""Moment normalisation: every image is resampled so that its figure, as its moments describe it,
has a standard position, size and slant: the normalised frame.
"""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.layers.layer import Arrays, GraphWriter, Layer, Operation
from cnn_core.layers.normalized_frame import (
    frame_extent,
    frame_nodes,
    frame_of,
    moment_powers,
    normalized_frame,
)

# The standard deviations of the ink in the normalised frame, as shares of the side: about an MNIST
# digit's height, more than its width, and its width.
HEIGHT, WIDTH, NARROW = 5.2 / 28, 4.2 / 28, 3.4 / 28
ZOOM = (0.5, 1.6)  # source pixels that one step of the output may take
LEAN = 1.0  # tangent of the largest slant that is removed
TINY = 1e-6  # keeps the moments of an image without ink finite


class MomentNormalization(Layer):
    """y(r, c) = x(cy + a r, cx + k a r + b c), interpolated bilinearly, 0 outside; r and c are
    counted from the middle of the image.

    For bright figures on black. The moments are those of the ink w = s^3, where s is the mean over
    channels and over 3x3 pixels: isolated specks and noise hardly count. With its centre (cy, cx)
    and its central second moments vyy, vyx and vxx, in pixels:

        k = vyx / vyy,    vxx' = vxx - 2 k vyx + k^2 vyy,
        a = sqrt(vyy) / height,    b = sqrt(vxx') / width

    `frame` chooses what is normalised: ``box`` all of it; ``similar`` keeps the proportions, a = b
    = sqrt((vyy + vxx') / (height^2 + width^2)); ``width`` keeps the slant, k = 0, and makes figures
    narrower than ``box``. a and b stay within `ZOOM`, k within `LEAN`, so a figure as thin as a 1
    keeps its proportions. In training the normalised frame varies, since it would otherwise undo
    the shifts and zooms of augmentation: each image's centre moves by up to `jitter` of the side, a
    and b by a factor of up to e^(2 jitter), k by up to 2 jitter. x: (C, H, W, N), y as well; with
    `beside`, y is x followed by its normalised copy, (2 C, H, W, N), so that the net sees both. No
    derivative is implemented, so no layer before it may have parameters: `Sequential` refuses such
    a net. Source: Casey (1970), moment normalization of handprinted characters; Ciresan, Meier and
    Schmidhuber (2012), nets that see digits at different widths err differently. Departs from both:
    weights s^3 instead of ink, bounds, one bilinear interpolation instead of two.
    """

    kind = "moment_normalization"
    differentiable = False
    FRAMES = ("similar", "box", "width")

    def __init__(self, frame: str, jitter: float = 0.0, beside: bool = False) -> None:
        super().__init__()
        if frame not in self.FRAMES:
            raise InputError(
                f"{self.kind}: frame must be one of {', '.join(self.FRAMES)}, got {frame!r}"
            )
        if not 0 <= jitter < 0.5:
            raise InputError(f"{self.kind}: jitter must be at least 0 and below 0.5, got {jitter}")
        self.frame, self.jitter, self.beside = frame, jitter, beside
        self.rng = np.random.default_rng(0)
        self.lean = 0.0 if frame == "width" else LEAN
        self.wide = NARROW if frame == "width" else WIDTH

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        if len(in_shape) != 3:
            raise InputError(
                f'{self.kind} "{self.name}": input must be (C, H, W), got shape {in_shape}'
            )
        channels, height, width = self.in_shape = in_shape
        self.out_shape = (2 * channels, height, width) if self.beside else in_shape
        self.rows, self.columns = (np.arange(side) - (side - 1) / 2 for side in (height, width))
        self.powers = moment_powers(height, width)
        return self.out_shape

    def forward(self, x: Array, *, training: bool) -> Array:
        cy, cx, a, b, lean = (
            self.jittered(self.placement(x)) if training and self.jitter else self.placement(x)
        )
        channels, height, width, n = x.shape
        rows, columns = self.rows.astype(x.dtype)[:, None], self.columns.astype(x.dtype)[:, None]
        source_y = cy + a * rows
        source_y += x.dtype.type((height - 1) / 2)
        source_x = np.multiply(
            columns, b, out=self._workspace.take("source_x", (height, width, n), x.dtype)
        )
        source_x += (cx + lean * a * rows + x.dtype.type((width - 1) / 2))[:, None]
        y = self._workspace.take("y", (*self.out_shape, n), x.dtype)
        if self.beside:
            y[:channels] = x
        self._read(x, source_y, source_x, y[-channels:])
        return y

    def placement(self, x: Array) -> Array:
        """Return cy, cx, a, b and k, (5, N), of images (C, H, W, N); the centre is counted from the
        middle of the image.
        """
        ink = self._workspace.take("ink64", (self.powers.shape[1], x.shape[3]), np.float64)
        np.copyto(ink, self._ink(x).reshape(ink.shape))
        operation, _ = self.at_inference()
        return frame_of(self.powers @ ink, operation).astype(x.dtype)

    def jittered(self, placement: Array) -> Array:
        """Return other centres, zooms and slants, each image's drawn around its own."""
        drawn = (self.jitter * self.rng.uniform(-1, 1, placement.shape)).astype(placement.dtype)
        cy, cx, a, b, lean = placement
        _, height, width = self.in_shape
        return np.stack(
            [
                cy + drawn[0] * height,
                cx + drawn[1] * width,
                a * np.exp(2 * drawn[2]),
                b * np.exp(2 * drawn[3]),
                lean + 2 * drawn[4],
            ]
        )

    def reseed(self, rng: Generator) -> None:
        self.rng = rng

    def describe(self) -> dict[str, Any]:
        return {"frame": self.frame, "jitter": self.jitter, "beside": self.beside}

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]]:
        _, height, width = self.in_shape
        operation = {
            "op": self.kind,
            "image_shape": list(self.in_shape),
            "size": [HEIGHT * height, self.wide * width],
            "beside": self.beside,
            "together": self.frame == "similar",
            "lean": self.lean,
            "zoom": list(ZOOM),
            "tiny": TINY,
        }
        return operation, {}

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        return frame_extent(shape, op)

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        return normalized_frame(x, op)

    @classmethod
    def add_nodes(cls, writer: GraphWriter, x: str, op: Operation, arrays: Arrays) -> str:
        return frame_nodes(writer, x, op)

    def _ink(self, x: Array) -> Array:
        """Return the cube of the mean over channels and over 3x3 pixels, 0 outside: (H, W, N)."""
        channels, height, width, n = x.shape
        padded = self._workspace.take("padded", (height + 2, width + 2, n), x.dtype, zeroed=True)
        np.copyto(padded[1:-1, 1:-1], x[0])
        for channel in x[1:]:
            padded[1:-1, 1:-1] += channel
        tall = self._workspace.take("tall", (height, width + 2, n), x.dtype)
        np.add(padded[:-2], padded[2:], out=tall)
        tall += padded[1:-1]
        mean = self._workspace.take("mean", (height, width, n), x.dtype)
        np.add(tall[:, :-2], tall[:, 2:], out=mean)
        mean += tall[:, 1:-1]
        mean *= x.dtype.type(1 / (9 * channels))
        ink = np.multiply(mean, mean, out=self._workspace.take("ink", mean.shape, x.dtype))
        ink *= mean
        return ink

    def _read(self, x: Array, source_y: Array, source_x: Array, y: Array) -> None:
        """Write x at (source_y (H, N), source_x (H, W, N)), overwritten, into y, bilinearly; x is
        surrounded by zeros for what lies outside.
        """
        channels, height, width, n = x.shape
        across = width + 3
        padded = self._workspace.take(
            "bordered", (channels, height + 3, across, n), x.dtype, zeroed=True
        )
        padded[:, 1:-2, 1:-2] = x
        np.clip(source_y, -1, height, out=source_y)
        np.clip(source_x, -1, width, out=source_x)
        top, left = (
            np.floor(source_y),
            np.floor(source_x, out=self._workspace.take("left", source_x.shape, x.dtype)),
        )
        down, right = (source_y - top)[:, None], np.subtract(source_x, left, out=source_x)
        index: Any = self._workspace.take("index", source_x.shape, np.intp)
        np.copyto(index, left, casting="unsafe")
        index *= n
        index += ((top.astype(np.intp) + 1) * (across * n) + n + np.arange(n))[:, None]
        corners = [self._workspace.take(f"corner{k}", source_x.shape, x.dtype) for k in range(3)]
        for plane, out in zip(padded.reshape(channels, -1), y, strict=True):
            upper_right, lower, lower_right = corners
            for offset, corner in (
                (0, out),
                (n, upper_right),
                (across * n, lower),
                ((across + 1) * n, lower_right),
            ):
                plane[offset:].take(
                    index, out=corner, mode="clip"
                )  # mode="raise" would buffer; indices are within bounds
            upper_right -= out
            upper_right *= right
            out += upper_right
            lower_right -= lower
            lower_right *= right
            lower += lower_right
            lower -= out
            lower *= down
            out += lower
