"""Moment normalisation: every image is read again from where its own moments say that the figure lies, how large it is and how it leans."""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.layers.base import Layer

# Standard deviations of an MNIST digit's ink, as shares of the side; what `frame` takes out of the images.
HEIGHT, WIDTH, NARROW = 5.2 / 28, 4.2 / 28, 3.4 / 28
ZOOM = (0.5, 1.6)  # source pixels that one step of the output may take
LEAN = 1.0  # tangent of the largest slant that is taken out
ROUND = 0.25  # how much longer than wide a figure has to be before it is turned: 0 turns all, 1 hardly any
LEAST = 0.5 / 28  # standard deviation of a figure that is hardly there, as a share of the side
TINY = 1e-6  # keeps an empty image's moments finite


class MomentNormalization(Layer):
    """y(r, c) = x(cy + yy r + yx c, cx + xy r + xx c), read bilinearly, 0 outside; r and c are counted from the middle of the image.

    The ink that counts is w = s^3, where s is the mean over channels and over 3x3 pixels: dirt of single pixels and noise hardly weigh.
    (cy, cx) is its centre; vyy, vyx and vxx are its central second moments, in pixels. `frame` says what they take out of an image:

    - ``box``     slant, height and width: k = vyx / vyy, vxx' = vxx - 2 k vyx + k^2 vyy,
                  yy = sqrt(vyy) / height, yx = 0, xx = sqrt(vxx') / width, xy = k yy
    - ``similar`` slant and size, keeping the proportions: likewise with yy = xx = sqrt((vyy + vxx') / (height^2 + width^2))
    - ``width``   height and width, keeping the slant (k = 0), and drawn narrower
    - ``turned``  the turn of the longer axis and the size: 2 t = atan2(2 vyx, vyy - vxx + ROUND (vyy + vxx)), so that what is nearly round
                  is hardly turned; yy = xx = s cos t, xy = -yx = s sin t, s = sqrt((vyy + vxx) / (height^2 + width^2))

    Zooms stay within `ZOOM`, k within `LEAN`. In training the frame varies, for behind it there would else be none of the shifts and zooms
    that augmentation drew before it: each image's centre moves by up to `jitter` of the side, its zooms and its slant by up to 2 jitter.
    x and y: (C, H, W, N). It has no derivative here, so nothing before it may be learned: `Sequential` refuses such a net.
    Source: Casey (1970), moment normalization of handprinted characters; Ciresan, Meier and Schmidhuber (2012), nets that see digits at
    different widths err differently. Departs from both: weights s^3 instead of ink, bounds, one bilinear reading instead of two.
    """

    kind = "moment_normalization"
    differentiable = False
    FRAMES = ("similar", "box", "width", "turned")

    def __init__(self, frame: str, jitter: float = 0.0) -> None:
        super().__init__()
        if frame not in self.FRAMES:
            raise InputError(f"{self.kind}: frame must be one of {', '.join(self.FRAMES)}, got {frame!r}")
        if not 0 <= jitter < 0.5:
            raise InputError(f"{self.kind}: jitter must be at least 0 and below 0.5, got {jitter}")
        self.frame, self.jitter = frame, jitter
        self.rng = np.random.default_rng(0)
        self.lean = 0.0 if frame == "width" else LEAN
        self.wide = NARROW if frame == "width" else WIDTH

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        if len(in_shape) != 3:
            raise InputError(f'{self.kind} "{self.name}": input must be (C, H, W), got shape {in_shape}')
        self.in_shape = self.out_shape = in_shape
        self.rows, self.columns = (np.arange(side) - (side - 1) / 2 for side in in_shape[1:])
        y, x = np.broadcast_arrays(self.rows[:, None], self.columns)
        self.powers = np.stack([np.ones_like(y), y, x, y * y, y * x, x * x]).reshape(6, -1)
        return in_shape

    def forward(self, x: Array, *, training: bool) -> Array:
        cy, cx, yy, yx, xy, xx = self._jittered(self.placement(x)) if training and self.jitter else self.placement(x)
        _, height, width, n = x.shape
        source = self._buffers.take("source", (2, height, width, n), x.dtype)
        rows, columns = self.rows.astype(x.dtype)[:, None], self.columns.astype(x.dtype)[:, None]
        for out, centre, down, across, side in zip(source, (cy, cx), (yy, xy), (yx, xx), (height, width), strict=True):
            np.add((down * rows)[:, None], across * columns, out=out)
            out += centre + x.dtype.type((side - 1) / 2)
        return self._read(x, *source)

    def placement(self, x: Array) -> Array:
        """Return cy, cx, yy, yx, xy and xx, (6, N), of images (C, H, W, N); the centre is counted from the middle of the image."""
        count = x.shape[3]
        mass, *first, yy, yx, xx = self.powers @ self._ink(x).reshape(-1, count).astype(np.float64)
        cy, cx = (moment / (mass + TINY) for moment in first)
        vyy, vyx, vxx = (m / (mass + TINY) - p for m, p in ((yy, cy * cy), (yx, cy * cx), (xx, cx * cx)))
        height, width = self.in_shape[1:]
        vyy = np.maximum(vyy, (LEAST * height) ** 2)
        tall, wide = HEIGHT * height, self.wide * width
        if self.frame == "turned":
            turn = np.arctan2(2 * vyx, vyy - vxx + ROUND * (vyy + vxx)) / 2
            zoom = np.clip(np.sqrt((vyy + vxx) / (tall**2 + wide**2)), *ZOOM)
            along, beside = zoom * np.cos(turn), zoom * np.sin(turn)
            return np.stack([cy, cx, along, -beside, beside, along]).astype(x.dtype)
        lean = np.clip(vyx / vyy, -self.lean, self.lean)
        vxx = np.maximum(vxx - 2 * lean * vyx + lean * lean * vyy, (LEAST * width) ** 2)
        if self.frame == "similar":
            a = b = np.clip(np.sqrt((vyy + vxx) / (tall**2 + wide**2)), *ZOOM)
        else:
            a, b = np.clip(np.sqrt(vyy) / tall, *ZOOM), np.clip(np.sqrt(vxx) / wide, *ZOOM)
        return np.stack([cy, cx, a, np.zeros(count), lean * a, b]).astype(x.dtype)

    def _jittered(self, placement: Array) -> Array:
        """Return other centres, zooms and slants, each image's drawn around its own."""
        height, width = self.in_shape[1:]
        cy, cx, yy, yx, xy, xx = placement
        move, slide, tall, wide, lean = (self.jitter * self.rng.uniform(-1, 1, (5, placement.shape[1]))).astype(placement.dtype)
        tall, wide, lean = np.exp(2 * tall), np.exp(2 * wide), 2 * lean
        return np.stack([cy + move * height, cx + slide * width, yy * tall + yx * lean, yx * wide, xy * tall + xx * lean, xx * wide])

    def reseed(self, rng: Generator) -> None:
        self.rng = rng

    def describe(self) -> dict[str, Any]:
        return {"frame": self.frame, "jitter": self.jitter}

    def _ink(self, x: Array) -> Array:
        """Return the cube of the mean over channels and over 3x3 pixels, 0 outside: (H, W, N)."""
        channels, height, width, n = x.shape
        padded = self._buffers.take("padded", (height + 2, width + 2, n), x.dtype, zeroed=True)
        np.copyto(padded[1:-1, 1:-1], x[0])
        for channel in x[1:]:
            padded[1:-1, 1:-1] += channel
        tall = self._buffers.take("tall", (height, width + 2, n), x.dtype)
        np.add(padded[:-2], padded[2:], out=tall)
        tall += padded[1:-1]
        mean = self._buffers.take("mean", (height, width, n), x.dtype)
        np.add(tall[:, :-2], tall[:, 2:], out=mean)
        mean += tall[:, 1:-1]
        mean *= x.dtype.type(1 / (9 * channels))
        ink = np.multiply(mean, mean, out=self._buffers.take("ink", mean.shape, x.dtype))
        ink *= mean
        return ink

    def _read(self, x: Array, source_y: Array, source_x: Array) -> Array:
        """Return x at the sources, (H, W, N) each and overwritten, bilinearly; zeros around the image serve all that lies outside."""
        channels, height, width, n = x.shape
        across = width + 3
        padded = self._buffers.take("framed", (channels, height + 3, across, n), x.dtype, zeroed=True)
        padded[:, 1:-2, 1:-2] = x
        np.clip(source_y, -1, height, out=source_y)
        np.clip(source_x, -1, width, out=source_x)
        top, left = (np.floor(s, out=self._buffers.take(name, s.shape, x.dtype)) for name, s in (("top", source_y), ("left", source_x)))
        down, right = np.subtract(source_y, top, out=source_y), np.subtract(source_x, left, out=source_x)
        top *= across  # whole numbers below 2^24 are exact in single precision
        left += top
        index: Any = self._buffers.take("index", source_x.shape, np.intp)
        np.multiply(left, n, out=index, casting="unsafe", dtype=np.float64)
        index += (across + 1) * n + np.arange(n)
        y = self._buffers.take("y", x.shape, x.dtype)
        corners = [self._buffers.take(f"corner{k}", source_x.shape, x.dtype) for k in range(3)]
        for plane, out in zip(padded.reshape(channels, -1), y, strict=True):
            upper_right, lower, lower_right = corners
            for offset, corner in ((0, out), (n, upper_right), (across * n, lower), ((across + 1) * n, lower_right)):
                plane[offset:].take(index, out=corner, mode="clip")  # mode="raise" would buffer; indices are within bounds
            upper_right -= out
            upper_right *= right
            out += upper_right
            lower_right -= lower
            lower_right *= right
            lower += lower_right
            lower -= out
            lower *= down
            out += lower
        return y
