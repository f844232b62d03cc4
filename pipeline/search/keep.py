"""The weights that a trial hands on, kept on disk with a manifest: of the best trial, of all, or of none."""

import json

from cnn_core import training
from cnn_core.checkpoint import save_weights
from pipeline.artifacts import TrialPaths, atomic_write_text, sha256_file
from pipeline.search.problem import Work
from pipeline.search.record import Outcome, TrialRecord


def weights_wanted(keep: str, outcome: Outcome, is_best: bool) -> bool:
    """Tell whether the weights of a trial that just ended are kept, by ``tracking.keep_weights``."""
    return outcome.state == "COMPLETE" and (keep == "all" or (keep == "best" and is_best))


def keep_weights(work: Work, record: TrialRecord, outcome: Outcome) -> None:
    """Write weights.npz (see `cnn_core.checkpoint.load_weights`) and, after it, manifest.json, from the trial's last checkpoint."""
    state, _ = record.load(work.spec)
    if state is None:
        return
    facts = {
        "trial": work.number,
        "seed": list(work.seed),
        "overrides": list(work.overrides),
        "objective": list(outcome.values),
        "data_digest": work.spec.data.digest,
    }
    save_weights(record.paths.weights, training.handed_on(work.spec, state), facts)
    manifest = {"format": 1, **facts, "sha256": {record.paths.weights.name: sha256_file(record.paths.weights)}}
    atomic_write_text(record.paths.manifest, json.dumps(manifest, indent=2) + "\n")


def drop_weights(paths: TrialPaths) -> None:
    """Remove the weights of a trial that is no longer the best."""
    paths.manifest.unlink(missing_ok=True)
    paths.weights.unlink(missing_ok=True)
