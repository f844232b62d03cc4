"""The one reader of a bundle's manifest.json. It may be a stranger's: what it says is held against
types, ranges and each other before any of it is used. NumPy and the standard library alone: a
bundle's predict.py holds this file.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from cnn_core.plain_text import is_one_line
from pipeline.records.manifest import FORMAT, BundleError, Manifest, manifest_digest
from pipeline.records.typed_json import RecordError, read_record

MOST_MANIFEST_BYTES = 16 << 20
MOST_MANIFEST_VALUES = 1 << 20  # its brackets and commas; a value takes up to 30 times its text
# Of a bundle; what trained here stays far below.
MOST_NETS, MOST_OPERATIONS, MOST_VIEWS = 10_000, 1000, 100
MOST_CLASSES = 1000  # training takes no more
MOST_ANSWERS = 100_000  # members times classes
MOST_VALUES = 1 << 22  # of an image, and of its pixels in all views
METHODS = ("uniform", "weighted", "greedy", "geometric", "stacking")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")


def read_manifest(content: bytes, where: str = "manifest.json") -> Manifest:
    """Return the manifest that a file holds. Raises BundleError where it is of another format,
    lacks a field, holds one of another type, or was changed; `where` names the file.
    """
    values = sum(map(content.count, (b"[", b"{", b",")))
    if values > MOST_MANIFEST_VALUES:
        rule = f"manifest.json must hold at most {MOST_MANIFEST_VALUES:,} values"
        raise BundleError(f"{rule}, got {values:,} in {where}")
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
        _check_scores(manifest)
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
    _hold(classes <= MOST_CLASSES, "classes", classes, f"at most {MOST_CLASSES:,}")
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


def _check_scores(manifest: Manifest) -> None:
    """Refuse scores that speak of a member that the manifest does not have."""
    members = len(manifest.members)
    for one in (manifest.scores.out_of_fold or {}).values():
        known = 0 <= one.best_member < members
        _hold(known, "scores.best_member", one.best_member, f"from 0 to {members - 1}")


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
    named = (manifest.study, data.name, data.licence, *(m.name for m in manifest.members))
    for text in (*named, *manifest.class_names):
        shown = len(text) <= 10_000 and is_one_line(text)
        _hold(shown, "a name", repr(text), "a line of at most 10,000 signs, no control signs")
