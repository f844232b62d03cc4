"""Composing: every choice, every preset; the fast way against Hydra's own; threads; what the tree
promises.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ReadonlyConfigError

from cnn_core.architectures import ARCHITECTURES, REFERENCE, build_model
from cnn_core.errors import InputError
from cnn_core.optimizers import OPTIMIZERS
from cnn_core.schedules import SCHEDULES
from cnn_core.spec import DataSpec
from cnn_core.streams import stream
from pipeline.configuration import compose, conf_dir, spec_of
from pipeline.configuration.data_settings import DATA
from pipeline.configuration.hydra_tree import compose_groups, groups, search_path_override
from pipeline.configuration.pruner_settings import PRUNERS
from pipeline.configuration.sampler_settings import SAMPLERS
from pipeline.search.problem import trial_name

SHAPES = {"digits": (1, 8, 8)}
CHOICES = [(group, choice) for group, choices in groups().items() for choice in choices]


def data_spec(name: str) -> DataSpec:
    return DataSpec(
        folder="/nowhere", digest="0" * 64, image_shape=SHAPES.get(name, (1, 28, 28)), classes=10
    )


def builds(overrides: list[str]) -> None:
    config = compose(overrides)
    spec = spec_of(config, data_spec(config.data.name), (1, 2))
    net = build_model(
        spec.model, spec.data.image_shape, spec.data.classes, stream(spec.seed, "init")
    )
    assert net.parameter_count() > 10


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_builds(group: str, choice: str) -> None:
    # The valid convolutions of these do not fit 8x8 images, which another test says.
    needs = {
        "three_conv": ["data=mnist"],
        "two_conv": ["data=mnist"],
        "vgg_valid": ["data=mnist"],
        "vgg_deep": ["data=mnist"],
        "dask": ["slots.address=tcp://127.0.0.1:1"],
    }.get(choice, [])
    builds([*(needs if group != "experiment" else []), f"{group}={choice}"])


@pytest.mark.parametrize("preset", groups()["experiment"])
def test_a_preset_composes_with_other_choices_than_its_own(preset: str) -> None:
    """A preset must not set a key that only its own choice of a group has."""
    for choice in (
        "pruner=none",
        "schedule=constant",
        "optimizer=momentum",
        "model=mlp",
        "augment=none",
        "sampler=random",
        "ensemble=uniform",
    ):
        assert (
            compose([f"experiment={preset}", choice]).choices[choice.partition("=")[0]]
            == choice.partition("=")[2]
        )


@pytest.mark.parametrize("model", ["three_conv", "two_conv", "vgg_valid", "vgg_deep"])
def test_a_net_that_does_not_fit_the_image_is_refused_with_the_shapes(model: str) -> None:
    with pytest.raises(InputError, match=f"model {model} does not fit images 1x8x8"):
        builds([f"model={model}"])


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("optimizer", set(OPTIMIZERS)),
        ("schedule", set(SCHEDULES)),
        ("model", set(ARCHITECTURES)),
        ("data", set(DATA)),
        ("sampler", set(SAMPLERS)),
        ("pruner", set(PRUNERS)),
    ],
)
def test_files_and_tables_name_the_same_choices(group: str, names: set[str]) -> None:
    assert set(groups()[group]) == names


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=momentum", "optimizer.lr=0.25", "model.filters=12", "study.note='a b'"],
        ["experiment=mnist", "optimizer=rmsprop", "model.dropout=0.1", "train.batch_size=64"],
        ["experiment=smoke", "data.train_size=null", "budget.trials=7", "model.hidden=[3,4]"],
        [
            "schedule=one_cycle",
            "schedule.warmup=0.3",
            "augment=affine",
            "augment.shift=0.01",
            "tracking=none",
        ],
    ],
)
def test_fast_composition_equals_hydras_own(overrides: list[str]) -> None:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        own = hydra.compose("config", overrides=overrides)
    ours = compose(overrides).node
    for section in own:
        wanted = (
            OmegaConf.to_container(own[section], resolve=True)
            if isinstance(own[section], DictConfig)
            else own[section]
        )
        if isinstance(wanted, dict) and section != "space":
            got = OmegaConf.to_container(ours[section], resolve=True)
            assert {key: got[key] for key in wanted} == wanted, section
        elif section == "space":
            assert OmegaConf.to_container(ours[section]) == wanted
        else:
            assert ours[section] == wanted


def test_groups_are_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compose(["optimizer=nesterov", "optimizer.lr=0.1"])
    calls: list[object] = []
    monkeypatch.setattr(
        "pipeline.configuration.typed_tree.compose_groups",
        lambda *a: calls.append(a) or compose_groups(*a),
    )
    assert (
        compose(["optimizer=nesterov", "optimizer.lr=0.2", "model.filters=9"]).optimizer["lr"]
        == 0.2
    )
    assert compose(["optimizer=nesterov"]).optimizer["lr"] == 0.01  # the kept tree was not changed
    assert calls == []


def test_a_composition_owns_its_sections() -> None:
    first = compose(["model.filters=9"])
    first.final.epochs = 77
    first.final.overrides.append("train.epochs=1")
    first.node["model"]["filters"] = 11
    with pytest.raises(ReadonlyConfigError):
        first.node["final"]["epochs"] = 99  # shared with the kept tree
    second = compose(["model.filters=9"])
    assert (second.final.epochs, second.model.filters) == (compose().final.epochs, 9)
    assert "train.epochs=1" not in second.final.overrides
    assert compose(["final.epochs=3"]).node["final"]["epochs"] == 3 != second.final.epochs


def test_interpolations_follow_what_an_override_changes() -> None:
    assert compose(["data=mnist"]).study.name == "mnist"
    assert compose(["data=mnist", "model.filters=9"]).study.name == "mnist"
    changed = compose(
        [
            "data=mnist",
            "train.epochs=5",
            "model.filters=${train.epochs}",
            "budget.trials=${model.filters}",
        ]
    )
    assert (changed.model.filters, changed.budget.trials) == (5, 5)
    assert compose(["data=mnist"]).budget.trials == 20


def test_interpolations_of_a_preset_follow_what_an_override_changes(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "tied.yaml").write_text(
        "# @package _global_\ntrain:\n  epochs: ${model.filters}\n"
    )
    tied = [search_path_override([str(tmp_path)]), "experiment=tied"]
    assert compose([*tied, "model.filters=9"]).train.epochs == 9
    assert compose([*tied, "model.filters=10"]).train.epochs == 10


def test_threads_compose_at_the_same_time() -> None:
    names = list(OPTIMIZERS)

    def one(number: int) -> tuple[object, object]:
        config = compose(
            [f"optimizer={names[number % len(names)]}", f"optimizer.lr={1 / (number + 2)!r}"]
        )
        return config.optimizer["name"], config.optimizer["lr"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(64)))
    assert found == [(names[n % len(names)], 1 / (n + 2)) for n in range(64)]


def test_model_files_give_the_dimensions_of_their_sources() -> None:
    for name, reference in REFERENCE.items():
        model = spec_of(compose(["data=mnist", f"model={name}"]), data_spec("mnist"), (0,)).model
        assert (
            replace(model, init=reference.init) == reference
        )  # how weights are drawn is not a dimension
    assert (
        compose(["model=simple_convnet"]).model.init,
        compose(["model=simple_convnet"]).model.init_std,
    ) == ("normal", 0.01)


def test_a_number_is_taken_as_a_list_of_one_dense_layer() -> None:
    assert compose(["model.hidden=50"]).model.hidden == (50,)
    assert spec_of(compose(["model.hidden=50"]), data_spec("digits"), (0,)).model.hidden == (50,)


def test_budget_is_20_trials_unless_time_is_given() -> None:
    assert compose().budget.trials == 20
    assert compose(["budget.minutes=3"]).budget.trials is None
    assert compose(["budget.minutes=3", "budget.trials=5"]).budget.trials == 5


def test_study_is_named_after_its_data_unless_named() -> None:
    assert compose(["data=mnist"]).study.name == "mnist"
    assert compose(["data=mnist", "study.name=x-1"]).paths.folder == compose().root / "x-1"


def test_spec_carries_what_was_composed() -> None:
    config = compose(
        [
            "optimizer=adamw",
            "optimizer.weight_decay=0.05",
            "schedule=cosine",
            "regularizer=l2",
            "data.train_size=70",
            "train.clip_norm=2",
        ]
    )
    spec = spec_of(config, data_spec("digits"), (5, 6))
    assert spec.optimizer["name"] == "adamw"
    assert spec.optimizer["weight_decay"] == 0.05
    assert (
        spec.schedule["name"],
        spec.regularizer.l2,
        spec.data.train_size,
        spec.train.clip_norm,
    ) == ("cosine", 0.0001, 70, 2.0)
    assert spec.seed == (5, 6)
    assert spec.data.valid_fraction == 0.2  # conf/data/digits.yaml, whatever the prepared spec said


def test_report_5s_net_is_the_contest_model_and_is_enqueued_first() -> None:
    model = compose(["model=contest"]).model
    assert (
        model.filters,
        model.kernel,
        model.pool,
        model.hidden,
        model.activation,
        model.dropout,
    ) == (32, 5, 2, (), "relu", 0.4)
    for overrides in ([], ["experiment=mnist"]):
        assert {
            "model.filters=32",
            "model.dropout=0.4",
            "model.init=he",
            "optimizer=adam",
            "train.batch_size=100",
        } <= set(compose(overrides).study.enqueue[0])


def test_conf_is_found_in_the_checkout() -> None:
    assert (conf_dir() / "config.yaml").is_file()


def test_own_folder_of_configuration_is_searched_too(tmp_path: Path) -> None:
    tmp_path = tmp_path / "my own, folder"
    tmp_path.mkdir()
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "mine.yaml").write_text("model.filters: {int: [3, 5]}\n")
    config = compose([f"hydra.searchpath=['file://{tmp_path}']", "space=mine"])
    assert dict(config.space) == {"model.filters": {"int": [3, 5]}}
    assert compose(config.overrides).space == config.space  # a trial's overrides carry the folder


def test_trials_to_try_first_are_given_as_quoted_overrides() -> None:
    config = compose(['study.enqueue=[["model.filters=32","optimizer=adam"],["model.filters=8"]]'])
    assert config.study.enqueue == [["model.filters=32", "optimizer=adam"], ["model.filters=8"]]


def test_secrets_stay_out_of_the_stored_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "s3cret-value")
    overrides = [
        "tracking.uri=${oc.env:SOME_TOKEN}",
        "study.storage='postgresql+psycopg://me:hunter2@127.0.0.1/db'",
    ]
    config = compose(overrides)
    assert config.tracking.uri == "s3cret-value"
    assert config.study.storage == "postgresql+psycopg://me:hunter2@127.0.0.1/db"
    assert "s3cret" not in config.yaml
    assert "hunter2" not in config.yaml
    assert "${oc.env:SOME_TOKEN}" in config.yaml
    assert "postgresql+psycopg://***@127.0.0.1/db" in config.yaml


def test_the_contests_other_members_are_the_same_after_any_trial() -> None:
    """A space's parameter that a fixed member does not set back would make it something else."""
    final = compose(["experiment=hard_digits"]).final
    mild = [compose(["experiment=hard_digits", *final.overrides, *fixed]) for fixed in final.fixed]
    trials = (
        ["model=vgg_valid", "model.kernel=5", "model.filters=56", "model.frame=similar"],
        [
            "model=vgg_deep",
            "model.frame=none",
            "optimizer=adamw",
            "optimizer.lr=0.02",
            "augment.rotate=35.0",
            "augment.elastic=0.0",
        ],
    )
    first = compose(["experiment=hard_digits"]).study.enqueue[1]
    few = [
        "model.dropout=0.5",
        "model.init=xavier",
        "optimizer=adamw",
        "optimizer.lr=0.0087",
        "augment.mild=0.95",
    ]
    unlike = (
        ["model=vgg_deep", *few],
        ["model=vgg_deep", *few, "model.frame=box"],
        ["model=vgg_deep", "model.frame=width", "augment.mild=0.9"],
        ["model.frame=similar", "augment.mild=0.9"],
    )
    recipes = [compose(["experiment=hard_digits", *first, *recipe]) for recipe in unlike]
    for trial in trials:
        again = [
            compose(["experiment=hard_digits", *trial, *final.overrides, *fixed])
            for fixed in final.fixed
        ]
        for one, plain, recipe in zip(again, mild, recipes, strict=True):
            assert (one.model, one.optimizer, one.augment) == (
                recipe.model,
                recipe.optimizer,
                recipe.augment,
            )
            assert (one.schedule, one.train) == (plain.schedule, plain.train)
            assert one.model.frame_beside and one.model.frame_jitter > 0


def test_what_a_net_without_a_frame_does_not_use_makes_it_no_other() -> None:
    data = DataSpec(folder="", digest="", image_shape=(1, 28, 28), classes=10)

    def digest(*overrides: str) -> str:
        return spec_of(compose(overrides), data, (0,)).digest()

    jitter, beside = "model.frame_jitter=0.1", "model.frame_beside=true"
    assert digest() == digest(jitter, beside)
    assert (
        len({digest(), *(digest("model.frame=box", *more) for more in ([], [jitter], [beside]))})
        == 4
    )


def test_a_trial_is_called_by_its_frame_too() -> None:
    assert trial_name(7, compose(["model.filters=8"])) == "t007 adam he f8 d0.40"
    assert (
        trial_name(7, compose(["model.filters=8", "model.frame=box"]))
        == "t007 adam he f8 d0.40 box"
    )
    assert (
        trial_name(7, compose(["model.filters=8", "model.frame=box", "model.frame_beside=true"]))
        == "t007 adam he f8 d0.40 box beside"
    )


def test_values_that_came_later_leave_older_specs_as_they_were() -> None:
    data = DataSpec(folder="/a", digest="d" * 64, image_shape=(1, 28, 28), classes=10)

    def digest(*overrides: str) -> str:
        given = ["experiment=mnist", "train.epochs=10", *overrides]
        return spec_of(compose(given), data, (0, 1)).digest()

    # As commit c3e1563 gave it, before measures, class weights, flips and pyramids.
    before = "87216bb38a6e029c14d405f36c350d2c5af9553233f4564ae641f24c66014f38"
    assert digest() == digest("study.top_k=3") == before
    changes = (
        "study.objective=kappa",
        "train.class_weights=balanced",
        "augment.flip=0.5",
        "augment.colour=0.1",
        "model.depth=3",
        "model.whiten=3",
    )
    assert len({before, *map(digest, changes)}) == len(changes) + 1
    top = "study.objective=top_k"
    assert digest(top) != digest(top, "study.top_k=3")


def test_the_objective_is_the_contests_measure() -> None:
    assert compose([]).study.objectives == ["valid_accuracy"]
    assert compose(["study.objective=log_loss"]).study.objectives == ["valid_log_loss"]
    both = ["study.objective=kappa", "study.objectives=[valid_kappa,multiply_adds]"]
    assert compose([*both, "pruner=none"]).study.objectives == ["valid_kappa", "multiply_adds"]
    with pytest.raises(InputError, match=r"study\.objectives: must begin with valid_<study\.obj"):
        compose(["study.objective=kappa", "study.objectives=[valid_accuracy]"])
    with pytest.raises(InputError, match=r"study\.objective: must be one of accuracy, .*'auc'"):
        compose(["study.objective=auc"])
