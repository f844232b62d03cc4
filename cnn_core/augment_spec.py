"""The strengths of augmentation's transforms, as a spec holds them."""

from dataclasses import dataclass
from typing import Any, ClassVar

from cnn_core.field_checks import check_settings, setting


def _up_to(high: float, about: str, default: float = 0.0) -> Any:
    """Return the field of a strength from 0 to `high`."""
    return setting(default, about, low=0, high=high)


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """Strengths of all transforms; each image draws its own values up to them, uniformly. Every
    default is "off".

    Lengths are shares of the image's side, so that one preset serves 8x8 and 28x28 images. `scale`
    zooms by a factor in [1 - scale, 1 + scale], `contrast` multiplies by one in [1 - c, 1 + c].
    `elastic` is the largest root mean square displacement of a field smoothed by a Gaussian of
    `elastic_sigma` (Simard, Steinkraus, Platt 2003; there sigma is 4 to 8 pixels of 29). Strokes
    thicken or thin, equally often. `mild` images move by a third of what was drawn (elastic
    displacement apart): a net trained on strong changes alone does worse on ordinary images.
    """

    own: ClassVar[tuple[str, ...]] = ()  # strengths that plug-ins have added, in a subclass
    shift: float = _up_to(0.5, "largest shift along each axis, a share of the image's side")
    flip: float = _up_to(1, "share of images whose left and right are exchanged")
    rotate: float = _up_to(180, "largest turn either way, degrees")
    scale: float = _up_to(0.9, "largest change of the size, a share of it")
    shear: float = _up_to(1, "largest tangent of the shear")
    perspective: float = _up_to(0.5, "largest relative change of the size at the border")
    elastic: float = _up_to(0.2, "largest elastic displacement, a share of the image's side")
    elastic_sigma: float = setting(
        0.17, "smoothness of that displacement, a share of the image's side", low=0.02, high=1
    )
    nearest: float = _up_to(1, "share of images resampled by nearest neighbour, not bilinearly")
    strokes: float = _up_to(1, "share of images whose strokes thicken or thin")
    stroke_strength: float = _up_to(1, "how much they do at most", 1.0)
    blur: float = _up_to(1, "share of images that are blurred")
    blur_strength: float = _up_to(1, "how much at most", 1.0)
    specks: float = _up_to(1, "share of images with light specks")
    speck_share: float = _up_to(0.5, "largest share of the pixels under specks", 0.03)
    cutout: float = _up_to(1, "share of images with a square cut out")
    cutout_size: float = _up_to(1, "largest side of that square, a share of the image's", 0.3)
    contrast: float = _up_to(1, "largest relative change of the contrast")
    colour: float = _up_to(1, "largest relative change of each channel by itself")
    noise: float = _up_to(1, "largest standard deviation of the noise, a share of full white")
    mild: float = _up_to(1, "share of images that move a third as far and keep their pixels")

    def __post_init__(self) -> None:
        check_settings("augment", self)

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
            for name in (
                "flip",
                "strokes",
                "blur",
                "specks",
                "cutout",
                "contrast",
                "colour",
                "noise",
                *self.own,
            )
        )
