"""Ensembles and final nets of what is missing, damaged or odd: refusals, and what is left out."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from cnn_core.architectures import build_model
from cnn_core.checkpoint import Weights
from cnn_core.errors import InputError
from cnn_core.spec import Spec
from cnn_core.training_data import data_of
from pipeline import final
from pipeline.configuration import compose, spec_of
from pipeline.data import prepare
from pipeline.ensemble import assemble, compression, out_of_fold, plan, what_follows
from pipeline.ensemble.build import summary_lines
from pipeline.ensemble.candidates import Candidates, StoredStudy
from pipeline.ensemble.nets import FinalJobs, net_jobs
from pipeline.ensemble.out_of_fold import OutOfFold
from pipeline.ensemble.plan import Member, all_images
from pipeline.events import Event, TrialEnded
from pipeline.files import StudyPaths
from pipeline.records.ensemble_record import read_ensemble
from pipeline.search.trial import Context, Training
from pipeline.slots.slot import SlotError
from pipeline.slots.stop_request import Stop
from pipeline.trial_folder import StoredTrial, TrialFolder

SMALL = ["model=mlp", "data.train_size=60", "data.valid_size=20", "train.epochs=1"]
GAIN = {
    "gain": 0.0, "low": 0.0, "high": 0.0, "errors_best": 1, "errors_ensemble": 1,
    "errors_removed": 0.0,
}  # fmt: skip
SCORE = {
    "accuracy": 0.99, "log_loss": 0.1, "best_member": 0, "best_member_accuracy": 0.99, "gain": GAIN,
}  # fmt: skip
WITHOUT_MEMBERS: dict[str, Any] = {
    "chosen_on": "clean", "images": 100, "views": [], "members": [],
    "combine": {"method": "uniform", "weights": [], "temperature": 1.0},
    "out_of_fold": {"clean": SCORE}, "expected": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    """Of a small net on the embedded digits."""
    config = compose(SMALL)
    return spec_of(config, prepare(config.data, tmp_path_factory.mktemp("data")), (0, 0))


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    found = StudyPaths(tmp_path, "s")
    found.ensemble.mkdir(parents=True)
    return found


def member_of(spec: Spec) -> Member:
    return Member(name="m1-t000", overrides=tuple(SMALL), specs=(spec,))


def weights_of(spec: Spec) -> Weights:
    shape, classes = spec.data.image_shape, spec.data.classes
    model = build_model(spec.model, shape, classes, np.random.default_rng(0))
    return Weights(model.params, model.buffers)


def test_an_ensemble_of_nobody_is_no_bundle(paths: StudyPaths) -> None:
    (paths.ensemble / "ensemble.json").write_text(json.dumps(WITHOUT_MEMBERS))
    rule = f"an ensemble must have members with weights, got none in {paths.final}"
    with pytest.raises(InputError, match=rule):
        assemble.assemble(paths)


def test_a_study_that_kept_no_weights_is_no_bundle(
    paths: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [StoredTrial(number=3, seed=(0, 3), overrides=())]
    monkeypatch.setattr(assemble, "finished_trials", lambda *_: trials)
    rule = r"a trial with its weights \(tracking.keep_weights=best\), got none in .*trials"
    with pytest.raises(InputError, match=rule):
        assemble.assemble(paths)


def test_who_was_left_out_of_an_ensemble_is_told_with_the_reason(paths: StudyPaths) -> None:
    file = paths.ensemble / "ensemble.json"
    file.write_text(json.dumps(WITHOUT_MEMBERS))
    plain = summary_lines(read_ensemble(file))
    file.write_text(json.dumps({**WITHOUT_MEMBERS, "left_out": ["a", "b"], "no_weight": ["c"]}))
    assert summary_lines(read_ensemble(file)) == [
        *plain,
        "left out for the time cap: a, b",
        "left out since the others are no better with them: c",
    ]


def test_a_trial_of_an_unknown_configuration_is_not_rebuilt(made_study: Path) -> None:
    """A study that another program made says nothing of how its trials were composed."""
    study = StoredStudy(StudyPaths(made_study.parent, made_study.name))
    assert 0 in study.trials and study.rebuilt(0) is None
    trial, line = study.read(0)
    assert trial is None and line.startswith("trial 0 is left out: a trial's overrides must")


def test_a_trial_that_came_to_no_epoch_stands_in_for_nothing(tmp_path: Path) -> None:
    made = optuna.create_study(direction="maximize")
    for values in ({}, {1: 0.5, 2: 0.75}):
        made.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values=values))
    study = StoredStudy(StudyPaths(tmp_path, "s"))
    study.__dict__["_opened"] = (made.trials, {}, "MAXIMIZE", [])  # as read from its database
    for number in (0, 1):
        study.paths.trial(number).folder.mkdir(parents=True)
        TrialFolder(study.paths.trial(number)).begin(number, (0, number), SMALL)
    assert [(trial.number, trial.value) for trial in study.unfinished()] == [(1, 0.75)]


def test_a_compressed_net_is_not_compressed_again(spec: Spec) -> None:
    thin = replace(spec, model=replace(spec.model, rank=4))
    with pytest.raises(InputError, match=r"must be a whole one, got one of model.rank=4 already"):
        compression._check(thin, SimpleNamespace(layers=()), 4)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_retraining_that_diverges_is_refused(spec: Spec) -> None:
    config = compose([*SMALL, "train.batch_size=20", "optimizer=sgd", "optimizer.lr=1e38"])
    wild = replace(spec, optimizer=config.optimizer, train=config.train)
    with pytest.raises(InputError, match=r"not finite in epoch 1; optimizer.lr=1e\+38 is the st"):
        compression._trained(wild, weights_of(spec), lambda line: None)


def test_without_validation_images_nothing_is_measured(spec: Spec) -> None:
    found = compression._validated(spec, weights_of(spec), data_of(spec.data))
    assert 0 <= found["valid_accuracy"] <= 1
    whole = replace(spec, data=all_images(spec.data))
    assert compression._validated(whole, weights_of(spec), data_of(whole.data)) == {}


def test_predictions_count_for_the_nets_and_views_that_made_them(
    paths: StudyPaths, spec: Spec
) -> None:
    member, views = member_of(spec), [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
    member.folder(paths).mkdir(parents=True)
    logits = np.random.default_rng(0).normal(size=(1, 2, 10))
    out_of_fold._write(member, paths, views, OutOfFold(np.array([3, 5]), logits, None, 0.5))
    found = out_of_fold._read(member, paths, views)
    assert found is not None and found.ms == 0.5
    np.testing.assert_array_equal(found.clean, logits)
    assert out_of_fold._read(member, paths, views * 2) is None
    assert out_of_fold._read(member_of(replace(spec, seed=(1, 1))), paths, views) is None


def test_a_lost_slot_ends_its_net_and_the_run(paths: StudyPaths, spec: Spec) -> None:
    stop = Stop()
    heard: list[Event] = []
    context = Context(stop, heard.append)
    jobs = FinalJobs(context, net_jobs([member_of(spec)], paths), print, 0)
    training = Training(*net_jobs([member_of(spec)], paths)[0])
    jobs._current[0] = training
    jobs.lost(training, SlotError("the worker died three times"))
    assert (stop.exit_code, stop.reason) == (1, "the worker died three times")
    (ended,) = heard
    assert isinstance(ended, TrialEnded)
    assert (ended.state, ended.reason) == ("INTERRUPTED", "the worker died three times")
    assert jobs._current == {}


def test_final_nets_of_nothing_are_refused(spec: Spec) -> None:
    config = compose(["final.members=0"], final.FINAL)
    with pytest.raises(InputError, match=r"final.members of at least 1, or final.fixed, got neit"):
        plan.plan_members(config, spec.data, (), Candidates([]))


def test_a_member_does_not_end_where_its_trial_had_to(spec: Spec) -> None:
    config = compose(["final.epochs=3", "final.folds=2"], final.FINAL)
    words = (*SMALL, "train.epochs=2", "train.replanned=[1,5]")
    found = plan._member(config, spec.data, "m1", words, 0)
    assert compose(words).train.replanned == (1, 5)
    assert {each.train.replanned for each in (*found.specs, *found.refits)} == {()}
    assert compose(found.overrides).train.replanned == ()


@pytest.mark.parametrize(
    ("mirror", "flips", "count"), [("true", (0.5, 0.5), 6), ("true", (0.5, 0), 3),
                                   ("false", (0.5, 0.5), 3)]
)  # fmt: skip
def test_mirrored_views_need_members_that_all_saw_mirrored_images(
    spec: Spec, mirror: str, flips: tuple[float, ...], count: int
) -> None:
    config = compose(["ensemble.views=3", f"ensemble.mirror={mirror}"], final.FINAL)
    members = [member_of(replace(spec, augment={"flip": flip})) for flip in flips]
    views = plan.views_for(config, members)
    assert len(views) == count
    # Left and right are exchanged by the sign of what is read along a row.
    assert [view[4] for view in views[3:]] == [-view[4] for view in views[: count - 3]]


def test_the_seconds_of_an_image_are_those_of_the_rounds_that_were_timed(
    spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that moves 50 ms with each set of predictions: four rounds make 0.2 s."""
    now, predicted = [7.0], []

    def predict(net: object, images: Any, views: Any) -> None:
        predicted.append(len(views))
        now[0] += 0.05

    monkeypatch.setattr(what_follows, "view_logits", predict)
    monkeypatch.setattr(what_follows, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    views = [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]] * 2
    found = what_follows.image_s(spec, views)
    assert predicted[0] == 1 and set(predicted[1:]) == {2}
    assert found == pytest.approx(0.05 / what_follows.TIMED)
    assert len(predicted) - 1 in (4, 5)  # the sum of rounded steps may end just below 0.2
