"""Nets of one recipe on the test split, through its one door."""

from collections.abc import Mapping, Sequence

from cnn_core.checkpoint import Weights
from pipeline import evaluate
from pipeline.bundle.writing import write_bundle
from pipeline.configuration import compose, override
from pipeline.ensemble.assemble import of_one_recipe
from pipeline.files import StudyPaths
from pipeline.records.manifest import BundleScores
from pipeline.structured_text import read_json


def accuracies_on_test(
    paths: StudyPaths, overrides: Sequence[str], nets: Mapping[str, Weights]
) -> list[float]:
    """Return the accuracy on the test split of each net, all composed from the same overrides.

    `pipeline.evaluate` opens the split once for all and notes it in the study's
    evaluation/openings.csv; their bundle stays beside it.
    """
    whole, bundle = [*overrides, override("root", paths.root)], paths.folder / "bundle"
    write_bundle(bundle, of_one_recipe(paths, whole, nets, BundleScores()))
    target = paths.folder / "evaluation"
    config = compose([override("root", paths.root), "slots.n=1"], evaluate.COMMAND)
    code = evaluate.evaluate(config, bundle, target)
    assert code == 0
    found: list[float] = read_json(target / "test.json")["member_accuracy"]
    return found
