"""What of a configuration reaches a trial: only that can be searched. A sweep over anything else
would compare identical trials and announce a best one.
"""

from collections.abc import Iterable

from cnn_core.errors import InputError
from pipeline.configuration.searchable import NETS, SPLIT, reaches
from pipeline.configuration.tree import FREE_SECTIONS, ROOT_KEYS
from pipeline.configuration.tree import SECTIONS as TREE
from pipeline.search.parameter import Parameter

KNOWN = {*TREE, *FREE_SECTIONS, *ROOT_KEYS, "hydra"}  # others are refused with the nearest key


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
