"""Putting a bundle together from what a study left behind: its ensemble, or, where none was built,
its best trial.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cnn_core import checkpoint
from cnn_core.architectures import build_model
from cnn_core.axes import Array
from cnn_core.errors import InputError
from cnn_core.spec import Spec
from cnn_core.state import Weights
from pipeline.bundle.graph import operations_of
from pipeline.bundle.input_transform import IDENTITY
from pipeline.bundle.predictor import FORMAT, manifest_digest
from pipeline.bundle.writing import Assembled, npz_bytes, standalone_source
from pipeline.config import compose, override, spec_of
from pipeline.data import prepare
from pipeline.ensemble.plan import finished_trials
from pipeline.files import StudyPaths, sha256_bytes, sha256_file
from pipeline.reporting.scores import REFITTED
from pipeline.search.problem import of_the_net

ENSEMBLE_KEYS = ("members", "combine", "views", "out_of_fold", "chosen_on", "images", "expected")
MEMBER_KEYS = ("name", "temperature", "overrides", "model", "specs")
_PRESET = (
    "a preset that the study names has changed since: use the code that it was run with, or train "
    "again"
)
LICENCES = {
    "mnist": "MNIST (Y. LeCun, C. Cortes, C. J. C. Burges), made available under CC BY-SA 3.0",
    "digits": "Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak), UCI Machine "
    "Learning Repository, CC BY 4.0",
}


def assemble(paths: StudyPaths) -> Assembled:
    """Return the bundle of a study. Raises InputError where it has neither an ensemble nor a
    complete trial with its weights.
    """
    path = paths.ensemble / "ensemble.json"
    if path.exists():
        return _of_ensemble(paths, read_ensemble(path))
    return _of_best_trial(paths)


def read_ensemble(path: Path) -> dict[str, Any]:
    """Return an ensemble.json. Raises InputError where it is no JSON or lacks what `pipeline.final`
    writes.
    """
    again = f"in {path}; run python -m pipeline.final again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        members = content["members"]
        missing = [key for key in ENSEMBLE_KEYS if key not in content]
        missing += [
            f"members[{k}].{key}"
            for k, member in enumerate(members)
            for key in MEMBER_KEYS
            if key not in member
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"an ensemble must be JSON with its members, got {type(error).__name__}: {error} "
            f"{again}"
        ) from None
    if missing:
        raise InputError(
            "an ensemble must have all that pipeline.final writes, got none of "
            f"{', '.join(missing)} {again}"
        )
    return dict(content)


def _of_ensemble(paths: StudyPaths, ensemble: Mapping[str, Any]) -> Assembled:
    members: list[dict[str, Any]] = []
    files: dict[str, dict[str, Array]] = {}
    spec: Spec | None = None
    for entry in ensemble["members"]:
        spec = _spec(paths, entry["overrides"])
        _check_model(entry, spec, paths)
        nets = []
        kind, digests = (
            ("all", entry["refits"]) if entry.get("refits") else ("fold", entry["specs"])
        )
        for folder, digest in ((f"{kind}{k}", digest) for k, digest in enumerate(digests)):
            weights = _final_weights(paths.final / entry["name"] / folder / "weights.npz", digest)
            nets.append(_net(spec, weights, f"weights/{entry['name']}-{folder}.npz", files))
        about = {key: entry[key] for key in ("overrides", "model")}
        members.append(
            {"name": entry["name"], "temperature": entry["temperature"], "nets": nets, **about}
        )
    if spec is None:
        raise InputError(f"an ensemble must have members with weights, got none in {paths.final}")
    scores = {
        key: ensemble[key]
        for key in ("out_of_fold", "chosen_on", "ordinary", "images")
        if key in ensemble
    }
    scores |= (
        {"judged": REFITTED} if any(entry.get("refits") for entry in ensemble["members"]) else {}
    )
    return _assembled(
        paths,
        spec,
        members,
        files,
        ensemble["combine"],
        ensemble["views"],
        scores,
        ensemble["expected"],
    )


def _check_model(entry: Mapping[str, Any], spec: Spec, paths: StudyPaths) -> None:
    """Raise InputError where a member's overrides compose another net than it was built of, as
    after a change of a preset.
    """
    now = json.loads(json.dumps(asdict(spec.model)))
    changed = [
        f"model.{key}={now[key]!r} for {value!r}"
        for key, value in entry["model"].items()
        if key in now and now[key] != value
    ]
    if changed:
        where = f"of member {entry['name']} in {paths.folder}"
        raise InputError(
            "a member's overrides must compose the net that it was built of, got "
            f"{', '.join(changed)} {where}; {_PRESET}"
        )


def _final_weights(path: Path, digest: str) -> Weights:
    """Return a final net's weights. Raises InputError where they are not those that the ensemble
    was built of.
    """
    again = "run python -m pipeline.final again"
    if not path.exists():
        raise InputError(f"an ensemble's nets must be there, got none at {path}; {again}")
    weights, about = checkpoint.load_weights(path)
    if about.get("spec") != digest:
        raise InputError(
            "an ensemble's nets must be those that it was built of, got weights of another "
            f"configuration in {path}; {again}"
        )
    return weights


def _of_best_trial(paths: StudyPaths) -> Assembled:
    trials = finished_trials(paths)
    if not trials:
        raise InputError(
            f"a bundle needs a finished sweep or final models, got none in {paths.folder}; run "
            "python -m pipeline.sweep first"
        )
    best = next((trial for trial in trials if paths.trial(trial.number).weights.exists()), None)
    if best is None:
        raise InputError(
            "a bundle needs a trial with its weights (tracking.keep_weights=best), got none in "
            f"{paths.trials}"
        )
    weights, _ = _trial_weights(paths, best.number)
    scores = {"objective": best.value, "trial": best.number}
    return single_net(paths, f"t{best.number:03d}", best.overrides, weights, scores)


def single_net(
    paths: StudyPaths,
    name: str,
    overrides: Sequence[str],
    weights: Weights,
    scores: Mapping[str, Any],
) -> Assembled:
    """Return the bundle of one net: the configuration of these `overrides`, with these weights."""
    spec = _spec(paths, overrides)
    files: dict[str, dict[str, Array]] = {}
    net = _net(spec, weights, f"weights/{name}.npz", files)
    member = {
        "name": name,
        "temperature": 1.0,
        "nets": [net],
        "overrides": list(overrides),
        "model": asdict(spec.model),
    }
    combine = {"method": "uniform", "weights": [1.0], "temperature": 1.0}
    return _assembled(paths, spec, [member], files, combine, [IDENTITY], scores, {})


def _trial_weights(paths: StudyPaths, number: int) -> tuple[Weights, dict[str, Any]]:
    """Read a trial's weights, checked against its manifest."""
    trial = paths.trial(number)
    manifest = json.loads(trial.manifest.read_text())
    expected, found = manifest["sha256"]["weights.npz"], sha256_file(trial.weights)
    if found != expected:
        raise InputError(
            f"weights must have the digest {expected[:12]} of their manifest, got {found[:12]} in "
            f"{trial.weights}"
        )
    weights, _ = checkpoint.load_weights(trial.weights)
    return weights, manifest


def _spec(paths: StudyPaths, overrides: Sequence[str]) -> Spec:
    config = compose([*of_the_net(overrides), override("root", paths.root)])
    return spec_of(config, prepare(config.data, config.root), (0,))


def _net(
    spec: Spec, weights: Weights, name: str, files: dict[str, dict[str, Array]]
) -> dict[str, Any]:
    """Add a net's arrays to `files` and return its entry in the manifest."""
    model = build_model(
        spec.model, spec.data.image_shape, spec.data.classes, np.random.default_rng(0)
    )
    try:
        model.load(weights.params, weights.buffers)
    except ValueError as error:
        raise InputError(
            f"weights must be those of the net that their overrides compose: {error} in {name}; "
            f"{_PRESET}"
        ) from None
    operations, files[name] = operations_of(model)
    return {"file": name, "sha256": sha256_bytes(npz_bytes(files[name])), "operations": operations}


def _assembled(
    paths: StudyPaths,
    spec: Spec,
    members: list[dict[str, Any]],
    files: dict[str, dict[str, Array]],
    combine: Mapping[str, Any],
    views: Sequence[Sequence[float]],
    scores: Mapping[str, Any],
    expected: Mapping[str, Any],
) -> Assembled:
    data_name = compose(of_the_net(members[0]["overrides"])).data.name
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "study": paths.name,
        "image_shape": list(spec.data.image_shape),
        "classes": spec.data.classes,
        "members": members,
        "combine": dict(combine),
        "views": [list(view) for view in views],
        "scores": dict(scores),
        "expected": dict(expected),
        "files": {"predict.py": sha256_bytes(standalone_source().encode())},
        "data": {
            "name": data_name,
            "digest": spec.data.digest,
            "licence": LICENCES.get(data_name, "as its owner says"),
        },
    }
    manifest = json.loads(
        json.dumps(manifest)
    )  # tuples become lists, so that the digest is that of the file
    manifest["digest"] = manifest_digest(manifest)
    return Assembled(manifest, files)
