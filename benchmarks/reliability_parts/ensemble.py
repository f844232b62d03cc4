"""An ensemble of two hundred members, from the sweep to the prediction."""

import numpy as np

from benchmarks.reliability_parts.case import Case, Trial
from pipeline.structured_text import read_json

MEMBERS = 200
IMAGES = 1000
METHODS = ("greedy", "weighted", "uniform")  # by which the weights are chosen again, the last stays
SMALL = ("study.name=many", "tracking=none")
SEARCH = ("experiment=smoke", "sampler=random", "train.epochs=1", "data.reserve=200", "slots.n=1")


def measure(trial: Trial) -> None:
    members, root = trial.size(MEMBERS, 2), f"root={trial.folder}/out"
    nets = 2 * members
    trial.step("sweep", (members, "trials"), "pipeline.sweep", *SEARCH, *SMALL,
               f"budget.trials={members}", root)  # fmt: skip
    build = (*SMALL, f"final.members={members}", "final.folds=2", "final.epochs=1", "slots.n=1",
             "final.overrides=[]", root)  # fmt: skip
    trial.step("final: nets, uniform weights", (nets, "nets"), "pipeline.final", *build,
               "ensemble=uniform")  # fmt: skip
    for method in METHODS:
        step = f"final again: {method} weights"
        trial.step(step, (members, "members"), "pipeline.final", *build, f"ensemble={method}")
    trial.step("export", (nets, "nets"), "pipeline.export", *SMALL, "register=false", "onnx=false",
               root)  # fmt: skip
    path = trial.folder / "images.npy"
    np.save(path, np.random.default_rng(2).integers(0, 256, (IMAGES, 8, 8), dtype=np.uint8))
    trial.step("predict", (IMAGES, "images"), "pipeline.predict", f"input={path}",
               f"output={trial.folder}/labels.csv", "study.name=many", root)  # fmt: skip
    trial.step("report", (members, "members"), "pipeline.report", "study.name=many", root)
    manifest = trial.folder / "out" / "many" / "bundle" / "manifest.json"
    held = len(read_json(manifest)["members"]) if manifest.exists() else 0
    trial.check(f"the bundle holds all {members} members", holds=held == members)


ENSEMBLE = Case(
    name="ensemble",
    title="An ensemble of two hundred members",
    about="Two hundred trials on the digits, their configurations trained again on two folds each, "
    "the weights chosen by three methods, exported, used on a thousand images and reported.",
    measure=measure,
)
