"""Assembling a bundle from a finished study: its ensemble or, where none was built, its best
trial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from cnn_core import checkpoint
from cnn_core.architectures import build_model
from cnn_core.axes import Array
from cnn_core.checkpoint import Weights
from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from cnn_core.model import Sequential
from cnn_core.spec import Spec
from pipeline.bundle.predict_py import standalone_source
from pipeline.bundle.views import IDENTITY
from pipeline.bundle.writing import Assembled, npz_bytes, operations_of, used_by
from pipeline.configuration import Config, compose, override, spec_of
from pipeline.data import prepare
from pipeline.data.preparation import source_of
from pipeline.ensemble.candidates import finished_trials
from pipeline.files import StudyPaths, sha256_bytes, sha256_file
from pipeline.records.ensemble_record import Ensemble, EnsembleMember, read_ensemble
from pipeline.records.manifest import (
    BundleMember,
    BundleNet,
    BundleScores,
    Combine,
    Manifest,
    TrainedOn,
    signed,
)
from pipeline.records.typed_json import plain
from pipeline.reporting.scores import REFITTED
from pipeline.search.open_study import studies_beside
from pipeline.search.problem import of_the_net
from pipeline.structured_text import read_json
from pipeline.trial_folder import StoredTrial

_PRESET = (
    "a preset that the study names has changed since: use the code that it was run with, or train "
    "again"
)
Files = dict[str, dict[str, Array]]  # name of a weight file -> what it holds


def assemble(paths: StudyPaths, storage: str | None = None) -> Assembled:
    """Return the bundle of a study, whose database is `storage` if given. Raises InputError where
    it has neither an ensemble nor a complete trial with its weights.
    """
    path = paths.ensemble / "ensemble.json"
    if path.exists():
        return _of_ensemble(paths, read_ensemble(path))
    return _of_best_trial(paths, storage)


def _of_ensemble(paths: StudyPaths, ensemble: Ensemble) -> Assembled:
    if not ensemble.members:
        raise InputError(f"an ensemble must have members with weights, got none in {paths.final}")
    files: Files = {}
    members = []
    for entry in ensemble.members:
        spec = spec_in(paths, entry.overrides)
        _check_model(entry, spec, paths)
        kind, digests = ("all", entry.refits) if entry.refits else ("fold", entry.specs)
        nets = []
        for folder, digest in ((f"{kind}{k}", digest) for k, digest in enumerate(digests)):
            weights = _final_weights(paths.final / entry.name / folder / "weights.npz", digest)
            nets.append(_net(spec, weights, f"weights/{entry.name}-{folder}.npz", files))
        members.append(
            BundleMember(
                name=entry.name,
                temperature=entry.temperature,
                nets=tuple(nets),
                overrides=entry.overrides,
                model=entry.model,
            )
        )
    scores = BundleScores(
        out_of_fold=ensemble.out_of_fold,
        chosen_on=ensemble.chosen_on,
        ordinary=ensemble.ordinary,
        images=ensemble.images,
        judged=REFITTED if ensemble.refitted else None,
    )
    manifest = replace(
        _manifest(paths, spec, members, ensemble.combine),
        views=ensemble.views,
        scores=scores,
        expected=ensemble.expected,
    )
    return Assembled(signed(manifest), files)


def _check_model(entry: EnsembleMember, spec: Spec, paths: StudyPaths) -> None:
    """Raise InputError where a member's overrides now compose another net than the one it was built
    from, as after a change of a preset.
    """
    now = plain(asdict(spec.model))
    changed = [
        f"model.{key}={now[key]!r} for {value!r}"
        for key, value in entry.model.items()
        if key in now and now[key] != value
    ]
    if changed:
        raise InputError(
            "a member's overrides must compose the net that it was built of, got "
            f"{', '.join(changed)} of member {entry.name} in {paths.folder}; {_PRESET}"
        )


def _final_weights(path: Path, digest: str) -> Weights:
    """Return a final net's weights. Raises InputError where they are missing or not those that the
    ensemble was built from.
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


def _of_best_trial(paths: StudyPaths, storage: str | None) -> Assembled:
    best, weights = best_net(paths, storage)
    scores = BundleScores(objective=best.value, trial=best.number)
    return of_one_recipe(paths, best.overrides, {f"t{best.number:03d}": weights}, scores)


def best_net(paths: StudyPaths, storage: str | None = None) -> tuple[StoredTrial, Weights]:
    """Return the best trial whose weights were kept, and them. Raises InputError where there is
    none.
    """
    trials = finished_trials(paths, storage)
    if not trials:
        raise InputError(
            f"a bundle needs a finished sweep or final models, got none in {paths.folder}"
            f"{studies_beside(paths)}; run python -m pipeline.sweep first"
        )
    best = next((trial for trial in trials if paths.trial(trial.number).weights.exists()), None)
    if best is None:
        raise InputError(
            "a bundle needs a trial with its weights (tracking.keep_weights=best), got none in "
            f"{paths.trials}"
        )
    return best, _trial_weights(paths, best.number)


def of_one_recipe(
    paths: StudyPaths,
    overrides: Sequence[str],
    weights: Mapping[str, Weights],
    scores: BundleScores,
) -> Assembled:
    """Return the bundle of nets composed from the same `overrides`, of these weights by the nets'
    names; of several the probabilities are averaged.
    """
    spec = spec_in(paths, overrides)
    files: Files = {}
    model = plain(asdict(spec.model))
    members = [
        BundleMember(
            name=name,
            temperature=1.0,
            nets=(_net(spec, own, f"weights/{name}.npz", files),),
            overrides=tuple(overrides),
            model=model,
        )
        for name, own in weights.items()
    ]
    shares = (1 / len(members),) * len(members)
    combine = Combine(method="uniform", weights=shares, temperature=1.0)
    manifest = _manifest(paths, spec, members, combine)
    return Assembled(signed(replace(manifest, scores=scores)), files)


def _trial_weights(paths: StudyPaths, number: int) -> Weights:
    """Read a trial's weights. Raises InputError where they differ from the manifest's digest."""
    trial = paths.trial(number)
    try:
        expected = str(read_json(trial.manifest)["sha256"]["weights.npz"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"weights must have a manifest with their digest, got {type(error).__name__}: {error} "
            f"({trial.manifest})"
        ) from None
    found = sha256_file(trial.weights)
    if found != expected:
        raise InputError(
            f"weights must have the digest {expected[:12]} of their manifest, got {found[:12]} in "
            f"{trial.weights}"
        )
    return checkpoint.load_weights(trial.weights)[0]


def trained_with(manifest: Manifest, root: Path) -> Config:
    """Return the configuration of a bundle's first member; all members have the same data."""
    return _composed(manifest.members[0].overrides, root)


def _composed(overrides: Sequence[str], root: Path) -> Config:
    return compose([*of_the_net(overrides), override("root", root)])


def spec_in(paths: StudyPaths, overrides: Sequence[str]) -> Spec:
    """Return the spec that overrides compose, of the data as this root has them prepared."""
    config = _composed(overrides, paths.root)
    return spec_of(config, prepare(config.data, config.root), (0,))


def loaded(spec: Spec, weights: Weights, name: str) -> Sequential:
    """Return the spec's net with these weights. Raises InputError, with the weights' name, where
    they are of another net.
    """
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
    return model


def _net(spec: Spec, weights: Weights, name: str, files: Files) -> BundleNet:
    """Add a net's arrays to `files` and return its entry in the manifest."""
    operations, files[name] = operations_of(loaded(spec, weights, name))
    sha256 = sha256_bytes(npz_bytes(files[name]))
    return BundleNet(file=name, sha256=sha256, operations=tuple(operations))


def _manifest(
    paths: StudyPaths, spec: Spec, members: Sequence[BundleMember], combine: Combine
) -> Manifest:
    """Return the manifest of a study's members, still without scores."""
    settings = compose(of_the_net(members[0].overrides)).data
    prepared = open_prepared(spec.data.folder, spec.data.digest)
    licence = source_of(settings).licence
    return Manifest(
        study=paths.name,
        image_shape=spec.data.image_shape,
        classes=spec.data.classes,
        class_names=prepared.class_names,
        form=prepared.form,
        members=tuple(members),
        combine=combine,
        views=(IDENTITY,),
        files={"predict.py": sha256_bytes(standalone_source(used_by(members)).encode())},
        data=TrainedOn(name=settings.name, digest=spec.data.digest, licence=licence),
    )
