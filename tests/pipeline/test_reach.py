"""A space searches only what reaches a trial: the rule is compared, key by key and group by group,
with what a change does to a trial's spec.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from cnn_core.errors import InputError
from cnn_core.spec import DataSpec
from pipeline.configuration import SWEEP, command_line, compose
from pipeline.configuration.hydra_tree import groups
from pipeline.configuration.overrides import override
from pipeline.configuration.tree import SECTIONS, section_type
from pipeline.search.problem import Problem
from pipeline.search.reach import reaches
from pipeline.search.same_trials import check_effects
from pipeline.search.space import Space
from pipeline.sweep import main

IMAGES = DataSpec(folder="nowhere", digest="0" * 64, image_shape=(1, 28, 28), classes=10)
STUDY = Problem(compose(), Space(()), IMAGES)
FRAMED = "model.frame=box"  # without a frame, what belongs to it means nothing


def digest(chosen: list[str]) -> str | None:
    """Return the digest of a trial that chose these overrides; None for one that is refused."""
    try:
        return STUDY.job(0, chosen).spec.digest()
    except InputError:
        return None


def section_choices() -> Iterator[tuple[str, str | None]]:
    for section in SECTIONS:
        if isinstance(SECTIONS[section], type):
            yield section, None
        else:
            yield from ((section, name) for name in groups()[section])


def others(kind: Any, field: "dataclasses.Field[Any]", old: Any) -> list[Any]:
    """Return values that the key may have beside the one that it has."""
    if words := field.metadata.get("choices"):
        return [f"[{word}]" if "list" in str(kind) else word for word in words]
    if "list" in str(kind) or "tuple" in str(kind):
        return ["[[model.filters=3]]", "[model.filters=3]", "[7]", "[1,28,28]", "[28,28]"]
    if kind is bool:
        return [not old]
    plain = {bool, int, float, str} & {kind, *get_args(kind)}
    if float in plain:
        return [0.02, 0.25, 0.5, 1.5, 3.0, 12.5]
    return [1, 2, 3, 5, 40, 500] if int in plain else ["other", "tcp://other:1"]


def changed_keys(section: str, name: str | None) -> dict[str, bool]:
    """Return each key of a section that could be changed, and whether its change gave another
    trial.
    """
    base = [FRAMED, "pruner=none", *([f"{section}={name}"] if name else [])]
    before, kept = digest(base), getattr(compose(base), section)
    kinds = get_type_hints(section_type(section, name))
    found = {}
    for field in dataclasses.fields(section_type(section, name)):
        key = f"{section}.{field.name}"
        old = kept[field.name] if isinstance(kept, dict) else getattr(kept, field.name)
        for value in others(kinds[field.name], field, old):
            text = override(key, value)
            after = None if value == old else digest([*base, text])
            if after is not None:
                found[key] = after != before
                break
    return found


@pytest.mark.parametrize(("section", "name"), list(section_choices()))
def test_a_key_can_be_searched_exactly_where_it_changes_the_spec(
    section: str, name: str | None
) -> None:
    changed = changed_keys(section, name)
    # By what a trial is judged stands in its spec, since its epochs measure it, but is no choice.
    judged = {"study.objective", "study.top_k", "study.seeds", "study.folds"}
    assert not any(map(reaches, judged))
    assert {key: reaches(key) for key in changed if key not in judged} == {
        key: value for key, value in changed.items() if key not in judged
    }
    keys = {f"{section}.{item.name}" for item in dataclasses.fields(section_type(section, name))}
    missed = {key for key in keys - set(changed) if reaches(key) and not key.endswith(".name")}
    assert not missed, "no value was found that these may have"


@pytest.mark.parametrize("group", [group for group in groups() if group != "space"])
def test_a_group_can_be_searched_exactly_where_it_changes_the_spec(group: str) -> None:
    found = set()
    for choice in groups()[group]:
        if f"{group}={choice}" != "slots=dask":  # which needs an address
            found.add(digest(["pruner=none", f"{group}={choice}"]))
    changes_more_than_the_split = len(found) > 1 and group != "data"  # a source may set the split
    assert changes_more_than_the_split == reaches(group)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("{study.seed:{int:[0,3]}}", "space study.seed: must set what a trial trains"),
        ("{data:{group:[digits,mnist]}}", "got data, which is the same for all trials"),
        ("{sampler:{group:[tpe,random]}}", "got sampler"),
        ("{pruner:{group:[none,median]}}", "got pruner"),
        ("{ensemble:{group:[greedy,uniform]}}", "got ensemble"),
        ("{tracking:{group:[mlflow,none]}}", "got tracking"),
        ("{budget.trials:{int:[1,3]}}", "got budget.trials"),
        ("{root:{choice:[a,b]}}", "got root"),
        ("{x:{path:final.folds,int:[2,3]}}", "space x: must set what a trial trains"),
        ("{data.test_seed:{int:[0,3]}}", "got data.test_seed"),
        (
            "{model.frame_jitter:{float:[0.1,0.3]}}",
            "space model.frame_jitter: must change what a trial trains, got the same trial for "
            "every model.frame_jitter of 0.1 ... 0.3",
        ),
    ],
)
def test_what_no_trial_uses_is_refused_before_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], space: str, says: str
) -> None:
    words = [f"root={tmp_path}", "experiment=smoke", "tracking=none", "slots.n=1", f"space={space}"]
    assert command_line(SWEEP, words, main) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
    assert not list(tmp_path.glob("*/trials"))


def test_presets_of_other_data_are_no_trials_of_one_study() -> None:
    space = Space.parse({"experiment": {"group": ["smoke", "mnist"]}})
    with pytest.raises(InputError, match="all trials of a study must have the same data"):
        check_effects(Problem(compose(["experiment=smoke"]), space, IMAGES))


def test_a_frame_s_keys_are_searched_where_some_trial_has_a_frame() -> None:
    mapping = {
        "model.frame_jitter": {"float": [0.1, 0.3]},
        "model.frame": {"choice": ["none", "box"]},
    }
    check_effects(Problem(compose(), Space.parse(mapping), IMAGES))


def test_searched_splits_are_said_to_be_hard_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        f"root={tmp_path}", "experiment=smoke", "tracking=none", "slots.n=1", "budget.trials=1",
        "train.epochs=1", "data.valid_size=50", "space={data.train_size:{int:[50,90]}}",
    ]  # fmt: skip
    assert command_line(SWEEP, words, main) == 0
    assert "data.train_size is searched: trials with other images" in capsys.readouterr().out
