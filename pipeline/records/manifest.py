"""A bundle's manifest.json: its members, nets and weight files, how they are joined, the names of
the classes, what is done to a picture, what is expected; and its one writer. NumPy and the standard
library alone: a bundle's predict.py holds this file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cnn_core.data.image_form import NORMALIZATIONS, OTHER_SIZES, ImageForm
from cnn_core.errors import InputError
from pipeline.records.typed_json import RecordError, plain

FORMAT = 1


class BundleError(InputError):
    """The bundle or the images are not what they should be; the message says the rule, what was
    received and where.
    """


@dataclass(frozen=True, kw_only=True)
class Combine:
    """How members' probabilities are joined: a mean (arithmetic, or with the method geometric a
    geometric one) has weights and a temperature, stacking coefficients and intercepts.
    """

    method: str  # uniform | weighted | greedy | geometric | stacking
    weights: tuple[float, ...] | None = None  # (members,)
    temperature: float | None = None
    coefficients: tuple[tuple[float, ...], ...] | None = None  # (classes, members * classes)
    intercepts: tuple[float, ...] | None = None  # (classes,)

    def __post_init__(self) -> None:
        stacking = self.method == "stacking"
        needed = ("coefficients", "intercepts") if stacking else ("weights", "temperature")
        if missing := [name for name in needed if getattr(self, name) is None]:
            raise RecordError(f"got none of {', '.join(missing)} for the method {self.method}")


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Accuracy of the ensemble minus that of its best member, with a 95 % bootstrap interval;
    shares of the best member's errors.
    """

    gain: float
    low: float
    high: float
    errors_best: int
    errors_ensemble: int
    errors_removed: float  # share of the best member's errors that are gone (net)


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """What the cross-fitted ensemble scores on one set of images, and its best member there."""

    accuracy: float
    log_loss: float
    best_member: int
    best_member_accuracy: float
    gain: Gain


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What predictions of like images look like, seen without labels; nothing for a single net."""

    agreement: float | None = None
    confidence: float | None = None
    class_share: tuple[float, ...] | None = None


def check_chosen(chosen_on: str, out_of_fold: Mapping[str, SetScore]) -> None:
    """Raise RecordError for a set that has no score."""
    if chosen_on not in out_of_fold:
        sets = ", ".join(out_of_fold)[:60] or "none"
        raise RecordError(
            f"got chosen_on = {chosen_on[:40]!r}, must be a set of out_of_fold ({sets})"
        )


@dataclass(frozen=True, kw_only=True)
class BundleScores:
    """How well the members, or their folds' nets, did: of an ensemble, or of one trial."""

    out_of_fold: Mapping[str, SetScore] | None = None  # clean | proxy
    chosen_on: str | None = None
    ordinary: float | None = None
    images: int | None = None
    judged: str | None = None
    objective: float | None = None
    trial: int | None = None

    def __post_init__(self) -> None:
        if self.out_of_fold is not None and self.chosen_on is not None:
            check_chosen(self.chosen_on, self.out_of_fold)


@dataclass(frozen=True, kw_only=True)
class BundleNet:
    file: str  # weights/NAME.npz
    sha256: str
    operations: tuple[Mapping[str, Any], ...]  # {"op": its name, ...}: each layer knows its own


@dataclass(frozen=True, kw_only=True)
class BundleMember:
    name: str
    temperature: float
    nets: tuple[BundleNet, ...]
    overrides: tuple[str, ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    name: str
    digest: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that a bundle says of itself; `digest` is the sha256 of all else.

    `names` and `image_form` also answer for a bundle that was written before there were any: its
    classes are called 0 to classes - 1, its pictures are only brought to the size.
    """

    format: int = FORMAT
    study: str
    image_shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...] = ()  # by class number; empty: 0 to classes - 1
    form: ImageForm | None = None  # what was done to every picture of the training data
    members: tuple[BundleMember, ...]
    combine: Combine
    views: tuple[tuple[float, ...], ...] = ()
    scores: BundleScores = BundleScores()
    expected: Expected = Expected()
    files: Mapping[str, str] = field(default_factory=dict)  # name -> sha256
    data: TrainedOn
    digest: str = ""

    def __post_init__(self) -> None:
        names, form = self.class_names, self.form
        if names and (len(names) != self.classes or len(set(names)) != self.classes):
            raise RecordError(
                f"got {len(names)} class_names, {len(set(names))} of them distinct, must be "
                f"{self.classes} distinct ones"
            )
        if form is None:
            return
        if form.shape != self.image_shape:
            raise RecordError(f"got a form of {form.shape}, must be image_shape {self.image_shape}")
        if form.normalize not in NORMALIZATIONS or form.other_sizes not in OTHER_SIZES:
            raise RecordError(
                f"got form.normalize = {form.normalize!r} and form.other_sizes = "
                f"{form.other_sizes!r}, must be one of {', '.join(NORMALIZATIONS)} and one of "
                f"{', '.join(OTHER_SIZES)}"
            )
        if not form.full_scale > 0:
            raise RecordError(f"got form.full_scale = {form.full_scale!r}, must be above 0")

    @property
    def names(self) -> tuple[str, ...]:
        """Return the classes' names, by number."""
        return self.class_names or tuple(map(str, range(self.classes)))

    @property
    def image_form(self) -> ImageForm:
        """Return what is to be done to a picture before the nets see it."""
        channels, height, width = self.image_shape
        return self.form or ImageForm(channels=channels, height=height, width=width)


def write_manifest(manifest: Manifest) -> str:
    """Return the text of manifest.json."""
    return json.dumps(plain(manifest), indent=1) + "\n"


def signed(manifest: Manifest) -> Manifest:
    """Return the manifest with its digest."""
    return replace(manifest, digest=manifest_digest(plain(manifest)))


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 of everything in a manifest's JSON but its digest."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
