"""What a study's final models would be made of, before it has a trial: settings that cannot work
are refused before the sweep, by the rules that hold after it.
"""

from dataclasses import replace
from itertools import chain

from cnn_core.errors import InputError
from pipeline.ensemble.candidates import Candidates
from pipeline.ensemble.plan import plan_members
from pipeline.search.problem import Problem
from pipeline.trial_folder import StoredTrial


def check_members(problem: Problem) -> None:
    """Plan final models of a trial at an end of the space, with each in turn until one can be: what
    is searched may decide. Raises InputError, the first one's, where none can.
    """
    space, refused = problem.space, []
    for overrides in chain(space.corners(dearest=False), space.corners(dearest=True)):
        try:
            _check_one(problem, (*problem.base, *overrides))
            return
        except InputError as error:
            refused.append(error)
    raise refused[0]


def _check_one(problem: Problem, overrides: tuple[str, ...]) -> None:
    config = problem.config
    # one of the best trials stands for all of them
    final = replace(config.final, members=min(1, config.final.members))
    trial = StoredTrial(number=0, seed=(config.study.seed, 0), overrides=overrides)
    plan_members(
        replace(config, final=final),
        problem.data,
        config.overrides,
        Candidates([trial], problem.base),
    )
