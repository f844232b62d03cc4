"""How long what follows the final nets' training takes: out-of-fold predictions, the choice of the
ensemble, and where they follow, evaluation and export.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from cnn_core.architectures import build_model
from cnn_core.checkpoint import Weights
from cnn_core.data.prepared import open_prepared
from cnn_core.data.splits import split_of
from cnn_core.errors import InputError
from cnn_core.spec import Spec
from pipeline.configuration import Config
from pipeline.ensemble.out_of_fold import inference_net, view_logits
from pipeline.ensemble.plan import Member, views_for

TIMED, TIMED_S = 100, 0.2  # images, and how long they are predicted at least
TEST_SHARE = 1 / 6  # the test split's images, a share of the training's: it is not looked at here
# Seconds of what does not grow with the images: processes that start, the choice of the ensemble,
# the store; a bundle with ONNX; a model in MLflow. On a machine that compiles SOURCE in COMPILED_S.
JOINED_S, EXPORTED_S, REGISTERED_S = 3.0, 2.0, 5.0
SOURCE = "\n".join(
    f"def f{n}(a, b={n}):\n    return [a * k + b for k in range({n})]" for n in range(99)
)
COMPILED_S, COMPILED = 0.0047, 60  # so many times
ALONE = 0.9  # of a core: with more nothing is known of others


@dataclass(frozen=True)
class Following:
    """The seconds of what follows the last net, and of those of evaluation and export."""

    seconds: float
    after_s: float = 0.0

    @classmethod
    def of(
        cls, config: Config, members: Sequence[Member], slots: int, slower: float
    ) -> "Following":
        """Measure the members' predictions and add up what is to be predicted; `slower`: what
        `python_pace` says.
        """
        views = views_for(config, members)
        began, computed = time.perf_counter(), time.process_time()
        view_s = [image_s(member.specs[0], views) for member in members]
        share = (time.process_time() - computed) / (time.perf_counter() - began)
        at_once = slots / crowding(share, slots, joblib.cpu_count())
        first = members[0].specs[0].data
        images = sum(len(split_of(spec.data).valid) for spec in members[0].specs)
        joined_s = images * (1 + (first.valid_folder is not None)) * sum(view_s) / at_once
        joined_s += JOINED_S * slower
        if not config.final.after_sweep:
            return cls(joined_s)
        nets = [len(member.refits) or len(member.specs) for member in members]
        scored = images * TEST_SHARE + 2 * first.reserve
        after_s = scored * sum(n * one_s for n, one_s in zip(nets, view_s, strict=True)) / at_once
        after_s += (fixed_s(config) - JOINED_S) * slower
        return cls(joined_s + after_s, after_s)


def crowding(share: float, slots: int, cores: int) -> float:
    """Return how many times longer each of `slots` processes takes than one alone, which others
    left a `share` of a core: it competed with ``cores / share - 1`` of them, and so will each.
    """
    if share > ALONE:
        return 1.0
    others = cores / share - 1
    return max(1.0, (slots + others) / cores) * share


def python_pace() -> float:
    """Return how many times longer than where the seconds above were measured Python takes at
    present, for what it does alone, like imports: a slower machine counts, and so do others' work
    on it.
    """
    began = time.perf_counter()
    for _ in range(COMPILED):
        compile(SOURCE, "pace", "exec")
    return (time.perf_counter() - began) / COMPILED / COMPILED_S


def check_final_time(config: Config) -> None:
    """Refuse, by an InputError with the least minutes that are needed, a ``final.minutes`` that
    does not even hold what takes as long for any nets: known before anything is trained.
    """
    minutes, least_s = config.final.minutes, fixed_s(config)
    if minutes is None or 60 * minutes > least_s:
        return
    what = "the choice of an ensemble"
    if config.final.after_sweep:
        what += ", its evaluation and export"
    raise InputError(
        f"final.minutes: must leave time for the final nets and {what}, which alone takes "
        f"{math.ceil(least_s / 0.6) / 100:g} minutes on a fast machine, got {minutes:g}"
    )


def fixed_s(config: Config) -> float:
    """Return the seconds of what does not grow with the images, where Python's pace is 1."""
    if not config.final.after_sweep:
        return JOINED_S
    return JOINED_S + EXPORTED_S + REGISTERED_S * (config.tracking.name == "mlflow")


def image_s(spec: Spec, views: Sequence[Sequence[float]]) -> float:
    """Return the seconds in which such a net predicts an image in all views, on one core."""
    model = build_model(
        spec.model, spec.data.image_shape, spec.data.classes, np.random.default_rng(0)
    )
    net = inference_net(spec, Weights(model.params, model.buffers))
    images = open_prepared(spec.data.folder, spec.data.digest).images[:TIMED]
    with threadpool_limits(1):
        view_logits(net, images, views[:1])  # the first one allocates
        started, rounds = time.perf_counter(), 0
        while (spent_s := time.perf_counter() - started) < TIMED_S or not rounds:
            view_logits(net, images, views)
            rounds += 1
        return spent_s / rounds / len(images)
