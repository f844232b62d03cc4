"""Search spaces: conditions, what is left when values are fixed, exact round trips, every branch of
every preset.
"""

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.configuration import compose
from pipeline.configuration.hydra_tree import groups
from pipeline.configuration.overrides import literal, parse_override
from pipeline.search.parameter import parse_parameter
from pipeline.search.space import Space, searched

optuna.logging.set_verbosity(optuna.logging.WARNING)


def nested() -> Space:
    """A choice under a choice under a group, written in the wrong order."""
    return Space.parse(
        {
            "leaf": {"path": "model.kernel", "choice": [3, 5], "when": {"drop": "before"}},
            "drop": {
                "path": "model.batch_norm",
                "choice": ["none", "before"],
                "when": {"optimizer": ["adam"]},
            },
            "optimizer": {"group": ["sgd", "adam", "adamw"]},
        }
    )


def values_of(overrides: list[str]) -> dict[str, object]:
    return {override.key_or_group: override.value() for override in map(parse_override, overrides)}


def test_parameters_stand_after_what_they_depend_on() -> None:
    assert nested().names == ("optimizer", "drop", "leaf")


def test_branches_of_nested_conditions_by_hand() -> None:
    assert list(nested().branches()) == [
        {"optimizer": "sgd"},
        {"optimizer": "adam", "drop": "none"},
        {"optimizer": "adam", "drop": "before"},
        {"optimizer": "adamw"},
    ]


def test_suggestions_follow_the_branch() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = set()
    for _ in range(60):
        found = values_of(nested().suggest(study.ask()))
        seen.add(tuple(sorted(found)))
        assert ("model.batch_norm" in found) == (found["optimizer"] == "adam")
        assert ("model.kernel" in found) == (found.get("model.batch_norm") == "before")
    assert len(seen) == 3


def test_a_suggestion_composes_to_the_same_bits_and_the_study_agrees() -> None:
    config = compose()
    space, _ = searched(config)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for _ in range(20):
        trial = study.ask()
        overrides = space.suggest(trial)
        composed = compose(overrides)
        name = f"{composed.optimizer['name']}.lr"
        assert composed.optimizer["lr"] == trial.params[name]
        assert composed.model.dropout == trial.params["model.dropout"]
        assert space.overrides_of(trial.params) == overrides


@given(
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-(10**12), 10**12),
        st.booleans(),
        st.none(),
    )
)
@settings(max_examples=150, deadline=None)
def test_literals_come_back_from_hydras_grammar(value: float | int | bool | None) -> None:
    back = parse_override(f"x={literal(value)}").value()
    assert back == value
    assert type(back) is type(value)


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12))
@settings(max_examples=150, deadline=None)
def test_texts_come_back_from_hydras_grammar(text: str) -> None:
    if not text.startswith("["):
        assert parse_override(f"x={literal(text)}").value() == text


@pytest.mark.parametrize("name", [name for name in groups()["space"] if name != "none"])
def test_every_path_of_every_space_resolves_in_every_branch(name: str) -> None:
    data = ["data=mnist"] if name in ("mnist", "hard_digits") else []
    space, notes = searched(compose([*data, f"space={name}"]))
    assert notes == []
    space.check(data)


@pytest.mark.parametrize("name", ["default", "smoke", "mnist"])
def test_spaces_search_filters_dropout_optimizer_and_init(name: str) -> None:
    space, _ = searched(compose([f"space={name}"]))
    assert {
        "model.filters",
        "model.dropout",
        "optimizer",
        "model.init",
        "optimizer.lr",
    } <= space.paths
    choices = {parameter.path: parameter.choices for parameter in space.parameters}
    assert set(choices["model.init"]) == {"xavier", "he"}
    assert len(choices["optimizer"]) >= 2


def test_a_group_given_on_the_command_line_decides_the_conditions() -> None:
    space, notes = searched(compose(["optimizer=adam"]))
    assert "optimizer" not in space.paths
    assert [
        parameter.name for parameter in space.parameters if parameter.path == "optimizer.lr"
    ] == ["adam.lr"]
    assert notes == ["optimizer=adam is given, so the space does not search it"]
    assert not next(parameter for parameter in space.parameters if parameter.name == "adam.lr").when


def test_a_path_given_on_the_command_line_leaves_every_branch() -> None:
    space, _ = searched(compose(["optimizer.lr=0.01", "model.filters=9"]))
    assert not {"optimizer.lr", "model.filters"} & space.paths
    assert "optimizer" in space.paths


def test_what_depends_on_a_parameter_that_is_never_active_goes_with_it() -> None:
    assert nested().without({"optimizer": "sgd"}).names == ()
    assert nested().without({"optimizer": "adam"}).names == ("drop", "leaf")
    assert nested().without({"model.batch_norm": "none"}).names == ("optimizer",)


def two_nets() -> Space:
    """A kernel in one of two nets alone, and filters by net and by kernel."""
    filters = {"path": "model.filters", "int": [8, 16]}
    return Space.parse(
        {
            "model": {"group": ["vgg_valid", "vgg_deep", "mlp"]},
            "kernel": {
                "path": "model.kernel",
                "choice": [3, 5],
                "when": {"model": ["vgg_valid", "vgg_deep"]},
            },
            "small": {**filters, "when": {"kernel": 3, "model": ["vgg_valid", "mlp"]}},
            "large": {**filters, "when": {"kernel": 5}},
        }
    )


@pytest.mark.parametrize(
    ("fixed", "left"),
    [
        ({"model.kernel": 3}, {"model": {}, "small": {"model": ("vgg_valid",)}}),
        ({"model.kernel": 5}, {"model": {}, "large": {"model": ("vgg_valid", "vgg_deep")}}),
        ({"model": "vgg_deep"}, {"kernel": {}, "large": {"kernel": (5,)}}),
        ({"model": "vgg_deep", "model.kernel": 3}, {}),
        ({"model": "mlp", "model.kernel": 5}, {}),
        ({"model.filters": 9}, {"model": {}, "kernel": {"model": ("vgg_valid", "vgg_deep")}}),
    ],
)
def test_what_depends_on_a_fixed_parameter_depends_on_what_that_one_did(
    fixed: dict[str, Any], left: dict[str, Any]
) -> None:
    assert {
        parameter.name: dict(parameter.when) for parameter in two_nets().without(fixed).parameters
    } == left


def test_the_contests_space_sets_each_path_once_whatever_is_given() -> None:
    for fixed in (
        [],
        ["model.kernel=3"],
        ["model.kernel=5"],
        ["model=vgg_deep", "model.kernel=3"],
        ["model=vgg_valid"],
    ):
        space, _ = searched(compose(["experiment=hard_digits", *fixed]))
        space.check(["experiment=hard_digits", *fixed])
        for overrides in (*space.corners(dearest=False), *space.corners(dearest=True)):
            paths = [override.partition("=")[0] for override in overrides]
            assert len(paths) == len(set(paths)), overrides


def test_the_space_on_the_command_line_replaces_the_whole() -> None:
    space, _ = searched(compose(["space={model.filters:{int:[8,32]}}"]))
    assert space.names == ("model.filters",)
    assert space.parameters[0].ends() == (8, 32)


def test_a_conflict_with_one_branch_is_found_at_the_start() -> None:
    with pytest.raises(
        ValueError, match=r"optimizer.momentum: is not a key .* in the branch .*optimizer=adam"
    ):
        searched(compose())[0].check(["optimizer.momentum=0.95"])


def test_many_groups_are_covered_choice_by_choice() -> None:
    lines = {f"p{n}": {"path": f"model.x{n}", "choice": list(range(4))} for n in range(5)}
    lines["q"] = {"path": "model.q", "choice": [1], "when": {f"p{n}": [3] for n in range(5)}}
    found = list(Space.parse(lines).branches())
    assert len(found) < 4**5
    assert {(name, value) for branch in found for name, value in branch.items()} >= {
        (f"p{n}", v) for n in range(5) for v in range(4)
    }


def test_enqueued_trials_take_the_branchs_own_names() -> None:
    space, _ = searched(compose())
    entry = ["optimizer=rmsprop", "optimizer.lr=0.002", "model.filters=16", "model.pool=2"]
    trials, notes = space.enqueued([entry])
    assert trials == [{"model.filters": 16, "optimizer": "rmsprop", "rmsprop.lr": 0.002}]
    assert notes == ["study.enqueue: model.pool left out of the first trial, not searched here"]


def test_an_enqueued_trial_outside_the_space_is_left_out_with_a_line() -> None:
    space, _ = searched(compose())
    trials, notes = space.enqueued([["model.filters=1000"], ["model.filters=many"]])
    assert trials == []
    assert "model.filters=1000 lies outside 8 ... 48, log" in notes[0]
    assert "model.filters=many lies outside" in notes[1]


def test_fingerprints_differ_exactly_where_spaces_do() -> None:
    one = Space.parse({"a": {"path": "model.filters", "int": [1, 8]}})
    assert (
        one.fingerprint()
        == Space.parse({"a": {"path": "model.filters", "int": [1, 8.0]}}).fingerprint()
    )
    for other in (
        {"int": [1, 9]},
        {"int": [1, 8], "log": True},
        {"float": [1, 8]},
        {"int": [1, 7], "step": 2},
        {"choice": [1, 8]},
    ):
        assert (
            one.fingerprint()
            != Space.parse({"a": {"path": "model.filters", **other}}).fingerprint()
        )


def test_lists_are_choices_too() -> None:
    parameter = parse_parameter("model.hidden", {"choice": [[10], [100, 50]]})
    assert compose([parameter.override(parameter.choices[1])]).model.hidden == (100, 50)


BAD = [
    ("{}", "space: must hold at least one parameter, got none"),
    ("{model.filters:5}", "must be a mapping such as"),
    (
        "{model.filters:{int:[3,1]}}",
        "space model.filters: low <= high must hold, got low=3, high=1",
    ),
    ("{model.filters:{int:[1]}}", "int must be [low, high], two numbers"),
    ("{model.filters:{int:[1,a]}}", "int must be [low, high], two numbers"),
    ("{model.filters:{int:[1,2.5]}}", "low and high must be whole numbers, got low=1, high=2.5"),
    ("{model.filters:{float:[0,inf]}}", "low and high must be finite"),
    (
        "{model.filters:{int:[0,8],log:true}}",
        "low > 0 must hold where log is true, got low=0, high=8",
    ),
    ("{model.filters:{int:[1,8],log:maybe}}", "log must be true or false, got 'maybe'"),
    (
        "{model.dropout:{float:[0.0,0.5],step:0.2}}",
        "high - low must be a multiple of step, got low=0.0, high=0.5, step=0.2",
    ),
    (
        "{model.dropout:{float:[0.0,0.30000000000000004],step:0.1}}",
        "high - low must be a multiple of step, got low=0.0, high=0.30000000000000004, step=0.1",
    ),
    (
        "{model.filters:{int:[1,9007199254740990],step:3}}",
        "high - low must be a multiple of step, got low=1, high=9007199254740990, step=3",
    ),
    ("{model.dropout:{float:[0,1e32],step:0.1}}", "there may be at most 1000000 steps, got low="),
    ("{model.dropout:{float:[0.1,0.5],step:0.1,log:true}}", "step and log exclude each other"),
    ("{model.dropout:{float:[0,1],step:0}}", "step must be a number greater than 0, got 0"),
    ("{model.init:{choice:[]}}", "choice must be a list with at least one entry, got []"),
    ("{model.init:{choice:[he,he]}}", "choice must name each value once"),
    ("{model.init:{choice:[he],log:true}}", "log belongs to int and float, got choice"),
    ("{optimizer:{group:[1,2]}}", "group must hold names of files, got 1"),
    (
        "{model.filters:{int:[1,2],choice:[1]}}",
        "must have exactly one of int, float, choice, group, got int and choice",
    ),
    ("{model.filters:{log:true}}", "must have exactly one of int, float, choice, group, got none"),
    ("{model.filters:{itn:[1,2]}}", "got 'itn'; did you mean \"int\"?"),
    (
        "{model.filters:{uniform:[1,2]}}",
        "must be made of int, float, choice, group, path, step, log, when, got 'uniform'",
    ),
    ("{a:{path:5,int:[1,2]}}", "path must be a key of the configuration, got 5"),
    (
        "{a:{path:model.filters,int:[1,2],when:adam}}",
        "when must be a mapping such as {optimizer: adam}, got 'adam'",
    ),
    (
        "{a:{path:model.filters,int:[1,2],when:{optimizr:adam}},optimizer:{group:[adam,sgd]}}",
        "got 'optimizr'; did you mean \"optimizer\"?",
    ),
    (
        "{a:{path:model.filters,int:[1,2],when:{optimizer:adm}},optimizer:{group:[adam,sgd]}}",
        "value of optimizer (adam | sgd), got 'adm'",
    ),
    (
        "{a:{path:model.pool,int:[1,2],when:{model.filters:3}},model.filters:{int:[1,8]}}",
        "when must name a choice or a group, got",
    ),
    (
        "{a:{path:model.pool,choice:[1],when:{b:1}},b:{path:model.kernel,choice:[1],when:{a:1}}}",
        "conditions must not form a circle",
    ),
    (
        "{a:{path:model.filters,int:[1,2]},b:{path:model.filters,int:[3,4]}}",
        "one parameter must set model.filters in each branch, got a and b",
    ),
    ("{nothing.here:{int:[1,2]}}", "nothing.here: is not a key of the configuration"),
    (
        "{model.dropout:{float:[0,1]}}",
        "model.dropout: must be at least 0 and less than 1, got 1.0; in the branch "
        "model.dropout=1.0",
    ),
    ("{optimizer:{group:[adam,sg]}}", "optimizer: must be one of"),
    (
        "{optimizer:{group:[adam,sgd]},m:{path:optimizer.momentum,float:[0,0.9]}}",
        "optimizer.momentum: is not a key of optimizer=adam, but of optimizer=momentum",
    ),
]


@pytest.mark.parametrize(("text", "says"), BAD, ids=[text for text, _ in BAD])
def test_refused_spaces(text: str, says: str) -> None:
    overrides = [f"space={text}"]
    with pytest.raises(ValueError) as raised:
        space, _ = searched(compose(overrides))
        space.check(overrides)
    assert says in str(raised.value)


def test_nothing_left_to_search_is_refused() -> None:
    with pytest.raises(ValueError, match="must have a parameter that the command line leaves free"):
        searched(compose(["space={model.filters:{int:[8,32]}}", "model.filters=9"]))
