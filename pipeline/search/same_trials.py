"""Refuses a space that would train the same trial again and again, or trials of other data: each
parameter must change a trial's spec somewhere in the space.
"""

from collections.abc import Sequence
from dataclasses import asdict

from cnn_core.errors import InputError
from pipeline.configuration import compose, override, spec_of
from pipeline.configuration.data_settings import DataSettings
from pipeline.configuration.overrides import Value, parse_override
from pipeline.configuration.searchable import SPLIT
from pipeline.search.parameter import Parameter
from pipeline.search.problem import Problem


def check_effects(problem: Problem) -> None:
    """Check that each parameter changes a trial's spec somewhere in the space, and that all trials
    have the study's data. Raises InputError.
    """
    corners = [c for dearest in (False, True) for c in problem.space.corners(dearest=dearest)]
    kept = _source(problem.config.data)
    for corner in corners:
        if _source(compose([*problem.base, *corner]).data) != kept:
            raise InputError(
                f"space: all trials of a study must have the same data, got others in the branch "
                f"{' '.join(corner)}"
            )
    for parameter in problem.space.parameters:
        values = parameter.choices or tuple(dict.fromkeys(parameter.ends()))
        if len(values) > 1 and not any(_differ(problem, c, parameter, values) for c in corners):
            raise InputError(
                f"space {parameter.name}: must change what a trial trains, got the same trial for "
                f"every {parameter.path} of {parameter.describe()}"
            )


def _source(data: DataSettings) -> dict[str, object]:
    """Return what data are prepared by: everything but their split."""
    return {key: value for key, value in asdict(data).items() if f"data.{key}" not in SPLIT}


def _differ(
    problem: Problem, corner: Sequence[str], parameter: Parameter, values: Sequence[Value]
) -> bool:
    """Tell whether the values of a parameter of this corner, all else equal, give other specs."""
    keys = [parse_override(text).key_or_group for text in corner]
    if parameter.path not in keys:
        return False
    place, digests = keys.index(parameter.path), set()
    for value in values:
        changed = [*corner[:place], override(parameter.path, value), *corner[place + 1 :]]
        try:
            config = compose([*problem.base, *changed])
            digests.add(spec_of(config, problem.data, (0,)).digest())
        except InputError:
            return True  # the rest of the corner belongs to another branch
    return len(digests) > 1
