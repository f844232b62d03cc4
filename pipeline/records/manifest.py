"""A bundle's manifest.json: its members, nets and weight files, how they are joined, the names of
the classes, what is done to a picture, what is expected; and its one reader and writer.

A manifest may be a stranger's: what it says is held against types, ranges and each other before any
of it is used. NumPy and the standard library alone: a bundle's predict.py holds this file.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnn_core.data.image_form import NORMALIZATIONS, OTHER_SIZES, ImageForm
from cnn_core.errors import InputError
from pipeline.records.typed_json import RecordError, plain, read_record

FORMAT = 1
MOST_MANIFEST_BYTES = 16 << 20
# Of a bundle; what trained here stays far below.
MOST_NETS, MOST_OPERATIONS, MOST_VIEWS = 10_000, 1000, 100
MOST_ANSWERS = 100_000  # members times classes
MOST_VALUES = 1 << 22  # of an image, and of its pixels in all views
METHODS = ("uniform", "weighted", "greedy", "geometric", "stacking")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")


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


def read_manifest(content: bytes, where: str = "manifest.json") -> Manifest:
    """Return the manifest that a file holds. Raises BundleError where it is of another format,
    lacks a field, holds one of another type, or was changed; `where` names the file.
    """
    try:
        found = json.loads(content)
        version, stated, actual = found["format"], found["digest"], manifest_digest(found)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(
            f"manifest.json must be readable and complete, got {where} ({str(error)[:200]})"
        ) from None
    if version != FORMAT:
        raise BundleError(
            f"manifest.json must have format {FORMAT}, got {repr(version)[:40]} in {where}"
        )
    if stated != actual:
        raise BundleError(
            f"the manifest was changed after it was written: digest {actual[:12]}, expected "
            f"{str(stated)[:12]} in {where}"
        )
    try:
        manifest = read_record(Manifest, found)
        _check_sizes(manifest)
        _check_numbers(manifest)
        _check_texts(manifest)
    except (RecordError, RecursionError) as error:
        raise BundleError(f"manifest.json must be complete, {error} in {where}") from None
    return manifest


def _hold(holds: bool, what: str, received: Any, rule: str) -> None:
    """Raise RecordError where a rule does not hold."""
    if not holds:
        raise RecordError(f"got {what} = {str(received)[:60]}, must be {rule}")


def _check_sizes(manifest: Manifest) -> None:
    """Refuse a manifest whose parts are not as many as each other, none, or too many."""
    members, classes, shape = manifest.members, manifest.classes, manifest.image_shape
    answers, pixels = len(members) * classes, math.prod(shape)
    _hold(1 <= answers <= MOST_ANSWERS, "members x classes", answers, f"1 to {MOST_ANSWERS:,}")
    _hold(min(shape) >= 1 and pixels <= MOST_VALUES, "image_shape", shape, "1 to 4,194,304 values")
    nets = sum(len(member.nets) for member in members)
    _hold(nets <= MOST_NETS and all(m.nets for m in members), "nets", nets, "1 to 10,000")
    views, most = len(manifest.views), min(MOST_VIEWS, MOST_VALUES // (shape[1] * shape[2]))
    _hold(views <= most, "views", views, f"at most {most}")
    for count in (len(net.operations) for member in members for net in member.nets):
        _hold(1 <= count <= MOST_OPERATIONS, "operations", count, f"1 to {MOST_OPERATIONS}")
    share, how = manifest.expected.class_share, manifest.combine
    _hold(share is None or len(share) == classes, "expected.class_share", share, "one a class")
    if how.method == "stacking":
        rows, ends = how.coefficients or (), how.intercepts or ()
        fits = len(rows) == len(ends) == classes and {len(row) for row in rows} == {answers}
        rule = f"{classes} rows of {answers}, and as many intercepts"
        _hold(fits, "combine.coefficients", f"{len(rows)} rows", rule)
    else:
        weights = len(how.weights or ())
        _hold(weights == len(members), "combine.weights", weights, "one a member")


def _check_numbers(manifest: Manifest) -> None:
    """Refuse numbers that are not finite or out of range."""
    how, expected, form = manifest.combine, manifest.expected, manifest.image_form
    temperatures = [member.temperature for member in manifest.members]
    temperatures += [] if how.temperature is None else [how.temperature]
    _within("temperature", temperatures, 1e-30, 1e30)
    _within("combine.weights", how.weights or (), 0, 1e30)
    for row in (*(how.coefficients or ()), how.intercepts or ()):
        _within("combine.coefficients", row, -1e30, 1e30)
    for view in manifest.views:
        _hold(len(view) == 6, "views", view, "six numbers each")
        _within("views", view, -1e6, 1e6)
    shares = (*(expected.class_share or ()), expected.agreement or 0, expected.confidence or 0)
    _within("expected", shares, 0, 1.001)
    _within("form.full_scale", [form.full_scale], 1e-30, 1e30)
    source, background = form.source, form.background
    small = len(source) <= 3 and math.prod(source) <= MOST_VALUES
    _hold(small and min(source, default=1) >= 1, "form.source", source, "an image's shape")
    _hold(background in ("", "dark", "light"), "form.background", repr(background), "dark or light")


def _within(what: str, values: Sequence[float], low: float, high: float) -> None:
    for value in values:  # NaN compares False
        _hold(low <= value <= high, what, value, f"from {low:g} to {high:g}")


def _check_texts(manifest: Manifest) -> None:
    """Refuse names of files that are not plain names inside the bundle's folder, control characters
    in what is shown, and unknown words.
    """
    for member in manifest.members:
        for net in member.nets:
            parts = net.file.split("/")
            plain_name = len(parts) <= 4 and all(_PART.fullmatch(part) for part in parts)
            _hold(plain_name, "file", repr(net.file), "a plain name inside the folder")
            for name in (op.get("op") for op in net.operations):
                _hold(isinstance(name, str), "op", repr(name), "an operation's name")
    method, data = manifest.combine.method, manifest.data
    _hold(method in METHODS, "combine.method", repr(method), f"one of {', '.join(METHODS)}")
    for text in (manifest.study, data.name, data.licence, *(m.name for m in manifest.members)):
        shown = len(text) <= 10_000 and not re.search(r"[\x00-\x1f\x7f-\x9f]", text)
        _hold(shown, "a name", repr(text), "at most 10,000 signs, none to control a terminal")
    longest = max(manifest.names, key=len)
    _hold(len(longest) <= 10_000, "class_names", repr(longest), "at most 10,000 signs each")


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
