"""A study's best net compressed to a low rank: what that costs, what re-training wins back, and how
much faster the net is.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from cnn_core import training
from cnn_core.axes import Images
from cnn_core.checkpoint import TrainState, Weights, copies
from cnn_core.errors import InputError
from cnn_core.fused.fuse import fuse
from cnn_core.low_rank import compress, largest_rank
from cnn_core.measures import metric_of
from cnn_core.model import Sequential
from cnn_core.optimizers import make_optimizer
from cnn_core.plugins import own_operations
from cnn_core.repeats import nets_of
from cnn_core.spec import Spec
from cnn_core.training_data import Data, data_of
from cnn_core.training_net import net_of
from pipeline.bundle.writing import Assembled
from pipeline.configuration import override
from pipeline.ensemble.assemble import best_net, loaded, of_one_recipe, spec_in
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


def compressed(
    paths: StudyPaths, rank: int, epochs: int, say: Say, storage: str | None = None
) -> Compressed:
    """Compress the best net of a study, whose database is `storage` if given, to `rank`, and train
    it for `epochs` more.

    Raises InputError where there is no such net, it is compressed already, the rank saves nothing,
    or training diverges.
    """
    trial, weights = best_net(paths, storage)
    # Of a trial with several nets the weights are the first one's, which has a fold of its own.
    spec = nets_of(replace(spec_in(paths, trial.overrides), seed=trial.seed))[0]
    whole = loaded(spec, weights, f"trial {trial.number}")
    _check(spec, whole, rank)
    thin = compress(whole, rank)
    train = replace(spec.train, epochs=max(epochs, 1), full_rank_epochs=0, replanned=())
    own = replace(spec, model=replace(spec.model, rank=rank), train=train)
    chosen = Weights(copies(thin.params), copies(thin.buffers))
    data = data_of(spec.data)
    before, after = _validated(spec, weights, data), _validated(own, chosen, data)
    trained = after
    if epochs:
        chosen = _trained(own, chosen, say)
        thin.load(chosen.params, chosen.buffers)
        trained = _validated(own, chosen, data)
    overrides = (*trial.overrides, *_overrides(rank, epochs))
    score = trained.get(metric_of(spec.measure))
    scores = BundleScores(objective=score, trial=trial.number)
    name = f"t{trial.number:03d}-rank{rank}"
    assembled = of_one_recipe(paths, overrides, {name: chosen}, scores)
    costs = (whole.multiply_adds(), thin.multiply_adds())
    speedup = _speedup(whole, thin, data.prepared.images[:500])
    shown = (row.get("valid_accuracy", math.nan) for row in (before, after, trained))
    accuracy = next(shown), next(shown), next(shown)
    return Compressed(assembled, accuracy, costs, speedup)


def _overrides(rank: int, epochs: int) -> list[str]:
    """Return what makes a trial's overrides those of its compressed net."""
    more = [override("model.rank", rank), override("train.full_rank_epochs", 0)]
    if epochs:  # its end is its own, not the trial's
        more += [override("train.epochs", epochs), "train.replanned=[]"]
    return more


def _check(spec: Spec, whole: Sequential, rank: int) -> None:
    if spec.model.rank is not None:
        raise InputError(
            f"rank: the net must be a whole one, got one of model.rank={spec.model.rank} already"
        )
    for name, plugin in own_operations(n.operation or n.kind for n in whole.layers).items():
        raise InputError(
            f"rank: a compressed bundle holds no code of plug-ins, got {name!r} of {plugin.path}"
        )
    most = largest_rank(whole)
    if rank > most:
        rule = (
            f"must be at most {most}, beyond which no layer" if most else "can save nothing: none"
        )
        raise InputError(f"rank: {rule} of {spec.model.name} gets smaller, got {rank}")


def _trained(spec: Spec, weights: Weights, say: Say) -> Weights:
    def tell(state: TrainState, metrics: Mapping[str, float]) -> None:
        if not np.isfinite(metrics["train_loss"]):
            raise InputError(
                f"epochs: re-training must not diverge, got a loss that is not finite in epoch "
                f"{state.epoch}; optimizer.lr={spec.optimizer['lr']:g} is the study's"
            )
        say(f"epoch {state.epoch} of {spec.train.epochs}: {_told(metrics)}")

    fresh = make_optimizer(spec.optimizer).state()
    state = TrainState(0, 0, copies(weights.params), copies(weights.buffers), fresh)
    return training.selected_weights(spec, training.fit(spec, state=state, on_epoch=tell))


def _told(metrics: Mapping[str, float]) -> str:
    found = metrics.get("valid_accuracy", float("nan"))
    return f"training loss {metrics['train_loss']:.4f}, validation accuracy {found:.2%}"


def _validated(spec: Spec, weights: Weights, data: Data) -> Mapping[str, float]:
    """Return the metrics on validation images, none without any."""
    if not len(data.valid):
        return {}
    net = net_of(spec.model, spec.data.image_shape, spec.data.classes)
    net.plain.load(weights.params, weights.buffers)
    return net.validate(spec, data, data.valid)


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
