"""What of a configuration reaches a trial: only that can be searched. A sweep over anything else
would compare identical trials and announce a best one.
"""

from collections.abc import Iterable
from dataclasses import fields

from cnn_core.errors import InputError
from cnn_core.spec import SplitSpec
from pipeline.configuration.tree import FREE_SECTIONS, ROOT_KEYS
from pipeline.configuration.tree import SECTIONS as TREE
from pipeline.search.parameter import Parameter

# What a net is trained with. Of the data a trial chooses the split alone: they are read once.
SECTIONS = ("data", "model", "optimizer", "schedule", "regularizer", "augment", "train")
SPLIT = tuple(f"data.{item.name}" for item in fields(SplitSpec))
NETS = (*SECTIONS[1:], "experiment")
KNOWN = {*TREE, *FREE_SECTIONS, *ROOT_KEYS, "hydra"}  # others are refused with the nearest key


def reaches(path: str) -> bool:
    """Tell whether a key or a group of the configuration is a part of what a trial trains."""
    return path in SPLIT or path.partition(".")[0] in NETS


def check_paths(parameters: Iterable[Parameter]) -> None:
    """Raises InputError for a parameter whose path no trial uses."""
    for parameter in parameters:
        if not reaches(parameter.path) and parameter.path.partition(".")[0] in KNOWN:
            raise InputError(
                f"space {parameter.name}: must set what a trial trains ({', '.join(NETS)}, or the "
                f"data's split), got {parameter.path}, which is the same for all trials of a study"
            )


def hard_to_compare(paths: Iterable[str]) -> list[str]:
    """Return a line for each searched path that changes which images a trial is trained on or
    judged by.
    """
    return [
        f"{path} is searched: trials with other images for training or validation are hard to "
        "compare"
        for path in sorted(set(paths) & set(SPLIT))
    ]
