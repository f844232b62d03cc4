"""A study's best net compressed to a low rank: what that costs, what re-training wins back, and how
much faster the net is.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from cnn_core import training
from cnn_core.axes import Images
from cnn_core.caches import Data, data_of
from cnn_core.checkpoint import TrainState, Weights, copies
from cnn_core.errors import InputError
from cnn_core.fused.fuse import fuse
from cnn_core.low_rank import compress, largest_rank
from cnn_core.model import Sequential
from cnn_core.optimizers import make_optimizer
from cnn_core.spec import Spec
from pipeline.bundle.writing import Assembled
from pipeline.configuration import override
from pipeline.ensemble.assemble import best_net, loaded, single_net, spec_in
from pipeline.files import StudyPaths
from pipeline.records.manifest import BundleScores

TURNS = 7  # in which the two nets are timed, one after the other
Say = Callable[[str], None]


@dataclass(frozen=True)
class Compressed:
    """A compressed net: its bundle, and what it is like beside the whole one."""

    assembled: Assembled
    accuracy: tuple[float, float, float]  # whole, compressed, after re-training
    multiply_adds: tuple[int, int]  # whole, compressed
    speedup: tuple[float, float]  # a hundred images at a time, one at a time


def compressed(paths: StudyPaths, rank: int, epochs: int, say: Say) -> Compressed:
    """Compress the best net of a study to `rank`, and train it for `epochs` more.

    Raises InputError where there is no such net, it is compressed already, the rank saves nothing,
    or training diverges.
    """
    trial, weights = best_net(paths)
    spec = spec_in(paths, trial.overrides)
    whole = loaded(spec, weights, f"trial {trial.number}")
    _check(spec, whole, rank)
    thin = compress(whole, rank)
    more = [
        override("model.rank", rank),
        override("train.full_rank_epochs", 0),
        override("train.epochs", max(epochs, 1)),
    ]
    overrides = (*trial.overrides, *more)
    own = replace(spec_in(paths, overrides), seed=trial.seed, seeds=1, folds=None)
    chosen = Weights(copies(thin.params), copies(thin.buffers))
    data = data_of(spec.data)
    before = _accuracy(spec, weights, data)
    after = trained = _accuracy(own, chosen, data)
    if epochs:
        chosen = _trained(own, chosen, say)
        trained = _accuracy(own, chosen, data)
    for net, kept in ((whole, weights), (thin, chosen)):
        net.load(kept.params, kept.buffers)
    scores = BundleScores(objective=trained, trial=trial.number)
    name = f"t{trial.number:03d}-rank{rank}"
    assembled = single_net(paths, name, overrides, chosen, scores)
    costs = (whole.multiply_adds(), thin.multiply_adds())
    speedup = _speedup(whole, thin, data.prepared.images[:500])
    return Compressed(assembled, (before, after, trained), costs, speedup)


def _check(spec: Spec, whole: Sequential, rank: int) -> None:
    if spec.model.rank is not None:
        raise InputError(
            f"rank: the net must be a whole one, got one of model.rank={spec.model.rank} already"
        )
    most = largest_rank(whole)
    if rank > most:
        rule = (
            f"must be at most {most}, beyond which no layer" if most else "can save nothing: none"
        )
        raise InputError(f"rank: {rule} of {spec.model.name} gets smaller, got {rank}")


def _trained(spec: Spec, weights: Weights, say: Say) -> Weights:
    fresh = make_optimizer(spec.optimizer).state()
    state = TrainState(0, 0, copies(weights.params), copies(weights.buffers), fresh)
    training.check_spec(spec)
    for epoch in range(1, spec.train.epochs + 1):
        state, metrics = training.train_epoch(spec, state)
        if not np.isfinite(metrics["train_loss"]):
            raise InputError(
                f"epochs: re-training must not diverge, got a loss that is not finite in epoch "
                f"{epoch}; optimizer.lr={spec.optimizer['lr']:g} is the study's"
            )
        say(f"epoch {epoch} of {spec.train.epochs}: {_told(metrics)}")
    return training.selected_weights(spec, state)


def _told(metrics: Mapping[str, float]) -> str:
    found = metrics.get("valid_accuracy", float("nan"))
    return f"training loss {metrics['train_loss']:.4f}, validation accuracy {found:.2%}"


def _accuracy(spec: Spec, weights: Weights, data: Data) -> float:
    """Return the accuracy on validation images, nan without any."""
    if not len(data.valid):
        return float("nan")
    images = np.asarray(data.valid_images[data.valid])
    found = training.predict_proba(spec, weights.params, weights.buffers, images)
    return float(np.mean(found.argmax(axis=1) == data.labels[data.valid]))


def _speedup(whole: Sequential, thin: Sequential, images: Images) -> tuple[float, float]:
    """Return how many times faster the thin net predicts: a hundred images at a time, and one."""
    nets = (fuse(whole), fuse(thin))
    found = []
    for batch, some in ((100, images), (1, images[:100])):
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(TURNS):
            for net, taken in zip(nets, times, strict=True):
                began = time.perf_counter()
                net.predict_proba(some, batch)
                taken.append(time.perf_counter() - began)
        found.append(min(times[0]) / min(times[1]))  # the least disturbed turn of each
    return found[0], found[1]
