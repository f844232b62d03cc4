"""Which random changes a training image may undergo, and how strong they are."""

import math
from dataclasses import dataclass, fields

from cnn_core.errors import InputError

# Field -> (lowest, highest, unit shown in the error).
_LIMITS: dict[str, tuple[float, float, str]] = {
    "shift": (0.0, 0.5, "of the image's side"),
    "rotate": (0.0, 180.0, "degrees"),
    "scale": (0.0, 0.9, "of the size"),
    "shear": (0.0, 1.0, "tangent"),
    "perspective": (0.0, 0.5, "of the size at the border"),
    "elastic": (0.0, 0.2, "of the image's side"),
    "elastic_sigma": (0.02, 1.0, "of the image's side"),
    "nearest": (0.0, 1.0, "probability"),
    "strokes": (0.0, 1.0, "probability"),
    "stroke_strength": (0.0, 1.0, "share"),
    "blur": (0.0, 1.0, "probability"),
    "blur_strength": (0.0, 1.0, "share"),
    "specks": (0.0, 1.0, "probability"),
    "speck_share": (0.0, 0.5, "of the pixels"),
    "cutout": (0.0, 1.0, "probability"),
    "cutout_size": (0.0, 1.0, "of the image's side"),
    "contrast": (0.0, 1.0, "share"),
    "noise": (0.0, 1.0, "of full white"),
    "mild": (0.0, 1.0, "share of the images"),
}


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """Strengths of all transforms; each image draws its own values up to them. Every default is
    "off".

    Lengths are shares of the image's side, so that one preset serves 8x8 and 28x28 images. Uniform
    draws: shift in [-shift, shift] along both axes; angle in [-rotate, rotate]; zoom in [1 - scale,
    1 + scale]; tangent of the shear in [-shear, shear]; perspective as the relative change of size
    at the image's border. `elastic` is the largest root mean square displacement of a field
    smoothed by a Gaussian of `elastic_sigma` (Simard, Steinkraus, Platt 2003; there sigma is 4 to 8
    pixels of 29). `nearest` is the share of images resampled by nearest neighbour instead of
    bilinearly. `strokes`, `blur`, `specks` and `cutout` are the shares of images that undergo them,
    with strengths uniform up to the field beside (strokes thicken or thin, equally often).
    `contrast` c multiplies by a factor in [1 - c, 1 + c]; `noise` is the largest standard deviation
    of Gaussian noise. `mild` is the share of images that are moved by a third of what was drawn
    (elastic displacement apart) and keep their pixels: a net that learns strong changes alone does
    less well on ordinary images.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    perspective: float = 0.0
    elastic: float = 0.0
    elastic_sigma: float = 0.17
    nearest: float = 0.0
    strokes: float = 0.0
    stroke_strength: float = 1.0
    blur: float = 0.0
    blur_strength: float = 1.0
    specks: float = 0.0
    speck_share: float = 0.03
    cutout: float = 0.0
    cutout_size: float = 0.3
    contrast: float = 0.0
    noise: float = 0.0
    mild: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high, unit = _LIMITS[field.name]
            value = getattr(self, field.name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not math.isfinite(value)
                or not low <= value <= high
            ):
                raise InputError(
                    f"augment.{field.name} must be between {low:g} and {high:g} ({unit}), got "
                    f"{value!r}"
                )

    @property
    def geometric(self) -> bool:
        """Return whether any image is resampled at all."""
        return any(
            getattr(self, name) > 0
            for name in ("shift", "rotate", "scale", "shear", "perspective", "elastic")
        )

    @property
    def changes_images(self) -> bool:
        """Return False where augmentation is the plain scaling of bytes to [0, 1]."""
        return self.geometric or any(
            getattr(self, name) > 0
            for name in ("strokes", "blur", "specks", "cutout", "contrast", "noise")
        )
