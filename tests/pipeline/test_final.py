"""Final models: which trials, which folds, resumed where they stopped, predictions that are out of
fold.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cnn_core import checkpoint
from cnn_core.data.npz import read_npz
from cnn_core.data.prepared import open_prepared
from cnn_core.data.splits import reserved, split_of
from cnn_core.training import predict_proba
from pipeline import final
from pipeline.configuration import command_line, compose
from pipeline.configuration.sections import EnsembleSettings
from pipeline.ensemble import plan
from pipeline.ensemble.assemble import assemble
from pipeline.ensemble.build import build_ensemble
from pipeline.ensemble.methods import softmax
from pipeline.ensemble.nets import FinalJobs, Net, is_trained, net_jobs
from pipeline.ensemble.out_of_fold import OutOfFold
from pipeline.files import StudyPaths
from pipeline.records.ensemble_record import Ensemble
from pipeline.records.typed_json import plain
from pipeline.search.runner import Runner, Usage
from pipeline.search.trial import Context, Training
from pipeline.slots.stop_request import Stop
from pipeline.trial_folder import StoredTrial, TrialFolder
from tests.ends import ended
from tests.pipeline.final_study import FINAL_ARGUMENTS
from tests.pipeline.here_slot import HereSlot


@pytest.fixture
def paths(final_root: Path) -> StudyPaths:
    return StudyPaths(final_root, "small")


def _planned(root: Path, *more: str) -> final.FinalPlan:
    return final.plan(compose([*FINAL_ARGUMENTS, *more, f"root={root}"], final.FINAL))


def test_members_are_the_best_trials_on_all_folds_with_own_seeds(final_root: Path) -> None:
    members = _planned(final_root).members
    assert [m.name[:2] for m in members] == ["m1", "m2"] and len({m.name[3:] for m in members}) == 2
    seeds = {spec.seed for m in members for spec in m.specs}
    assert len(seeds) == 4
    for member in members:
        assert [spec.data.fold for spec in member.specs] == [0, 1]
        for spec in member.specs:
            assert (
                spec.train.epochs == 3
                and spec.train.select == "average"
                and spec.schedule["name"] == "one_cycle"
            )
            assert (
                spec.augment["rotate"] > 0
                and spec.data.train_size is None
                and spec.data.valid_folder is not None
            )


def test_refits_learn_all_images_but_the_reserved_in_the_member_s_own_way(
    final_root: Path, paths: StudyPaths
) -> None:
    members = _planned(final_root, "final.refit=2").members
    assert len({spec.seed for m in members for spec in (*m.specs, *m.refits)}) == 8
    for member in members:
        first = member.specs[0]
        labels = open_prepared(first.data.folder, first.data.digest).labels
        free = np.setdiff1d(np.arange(len(labels)), reserved(labels, first.data))
        for spec in member.refits:
            split = split_of(spec.data)
            np.testing.assert_array_equal(split.train, free)
            assert len(free) == len(labels) - 200 and not len(split.valid)
            assert replace(spec, data=first.data, seed=first.seed) == first
    jobs = final.net_jobs(members, paths)
    assert [job.params["part"] for job, _ in jobs[:4]] == [
        "all images 1/2",
        "all images 2/2",
    ] * 2 and all("fold" in job.name for job, _ in jobs[4:])
    assert len({folder.paths.folder for _, folder in jobs}) == 8


def test_folds_that_only_judge_may_train_for_a_share_of_the_epochs(
    final_root: Path, paths: StudyPaths
) -> None:
    members = _planned(final_root, "final.refit=1", "final.fold_share=0.5").members
    assert all([s.train.epochs for s in (*m.refits, *m.specs)] == [3, 2, 2] for m in members)
    for job, _ in final.net_jobs(members, paths):
        assert compose(job.overrides).train.epochs == job.spec.train.epochs
    whole = _planned(final_root, "final.refit=0", "final.fold_share=0.5").members
    assert all(spec.train.epochs == 3 for m in whole for spec in m.specs), (
        "without refits the folds' nets predict"
    )


def test_weights_are_chosen_without_the_refits(final_root: Path, tmp_path: Path) -> None:
    shutil.copytree(final_root, tmp_path, dirs_exist_ok=True)
    paths = StudyPaths(tmp_path, "small")
    before = json.loads((paths.ensemble / "ensemble.json").read_text())
    assert [len(entry["refits"]) for entry in before["members"]] == [2, 2]
    for found in paths.final.glob("*/out_of_fold.npz"):
        found.unlink()
    for weights in paths.final.glob("*/all*/weights.npz"):
        weights.write_bytes(b"")
    after = plain(final.join(_planned(tmp_path)))
    for entry in (*before["members"], *after["members"]):
        del entry["ms_per_image"]
    assert after == before


def test_another_number_of_refits_trains_those_alone(final_root: Path, tmp_path: Path) -> None:
    shutil.copytree(final_root, tmp_path, dirs_exist_ok=True)
    paths = StudyPaths(tmp_path, "small")
    before = {
        p: p.stat().st_mtime_ns
        for p in (*paths.final.rglob("weights.npz"), *paths.final.rglob("out_of_fold.npz"))
    }
    names = {0: ("-fold0", "-fold1"), 3: ("-all0", "-all1", "-all2")}
    digests = {assemble(paths).manifest.digest}
    for refit, parts in names.items():
        assert (
            command_line(
                final.FINAL,
                [*FINAL_ARGUMENTS, f"final.refit={refit}", f"root={tmp_path}"],
                final.main,
            )
            == 0
        )
        manifest = assemble(paths).manifest
        digests.add(manifest.digest)
        for member in manifest.members:
            assert [net.file for net in member.nets] == [
                f"weights/{member.name}{part}.npz" for part in parts
            ]
        assert (manifest.scores.judged is not None) == (refit > 0)
    assert len(digests) == 3
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(list(paths.final.rglob("weights.npz"))) == 10


def test_refits_need_a_rule_that_asks_no_validation(
    final_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*FINAL_ARGUMENTS, "final.overrides=['train.select=best']", f"root={final_root}"]
    assert command_line(final.FINAL, arguments, final.main) == 2
    assert "final.refit: needs train.select=average or last" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "rule"),
    [
        ("final.folds=2000", "final.folds: every fold must have an image to judge by; "),
        ("final.overrides=['model=vgg_valid']", "kernel must fit"),
    ],
)
def test_nets_that_cannot_be_are_refused_before_one_is_trained(
    final_root: Path, capsys: pytest.CaptureFixture[str], word: str, rule: str
) -> None:
    arguments = [*FINAL_ARGUMENTS, word, f"root={final_root}"]
    assert command_line(final.FINAL, arguments, final.main) == 2
    said = capsys.readouterr()
    assert rule in said.err and not said.out


def test_a_member_costs_what_its_nets_that_predict_cost(final_root: Path) -> None:
    for refit, ms in ((0, 1.0), (1, 0.5), (3, 1.5)):  # the two folds' nets together took 1 ms
        members = _planned(final_root, f"final.refit={refit}").members[:1]
        content = build_ensemble(
            members, _specialists()[:1], LABELS, EnsembleSettings(), [[1, 0, 0, 0, 1, 0]] * 4
        )
        assert [one.ms_per_image for one in content.members] == [4 * ms]


def test_temperatures_are_fitted_only_where_they_are_asked_for(final_root: Path) -> None:
    members = _planned(final_root).members
    found = {
        calibrate: build_ensemble(
            members,
            _specialists(),
            LABELS,
            EnsembleSettings(calibrate=calibrate, name="uniform"),
            [[1, 0, 0, 0, 1, 0]],
        )
        for calibrate in (True, False)
    }
    assert [one.temperature for one in found[False].members] == [1.0, 1.0]
    assert all(one.temperature != 1.0 for one in found[True].members)


def test_each_member_keeps_its_own_trial_s_configuration(
    final_root: Path, paths: StudyPaths
) -> None:
    for member in _planned(final_root, "train.batch_size=40").members:
        trial = compose(TrialFolder(paths.trial(int(member.name.split("-t")[1]))).read().overrides)
        spec = member.specs[0]
        assert (spec.model.filters, spec.model.init) == (trial.model.filters, trial.model.init)
        assert spec.optimizer["lr"] == trial.optimizer["lr"] and spec.train.batch_size == 40
    first, second = (member.specs[0] for member in _planned(final_root).members)
    assert first.optimizer != second.optimizer


def test_every_image_but_the_reserved_is_predicted_by_a_net_that_did_not_see_it(
    final_root: Path, paths: StudyPaths
) -> None:
    member = _planned(final_root).members[0]
    found = read_npz(member.folder(paths) / "out_of_fold.npz")
    data = member.specs[0].data
    source = open_prepared(data.folder, data.digest)
    held = reserved(source.labels, data)
    np.testing.assert_array_equal(
        found["indices"], np.setdiff1d(np.arange(len(source.labels)), held)
    )
    assert len(held) == 200
    for fold, spec in enumerate(member.specs):
        valid = split_of(spec.data).valid
        assert not np.intersect1d(valid, split_of(spec.data).train).size
        weights, _ = checkpoint.load_weights(member.net(paths, fold).weights)
        want = predict_proba(spec, weights.params, weights.buffers, source.images[valid])
        rows = np.searchsorted(found["indices"], valid)
        np.testing.assert_allclose(softmax(found["clean"][0][rows]), want, atol=1e-4)


def test_the_ensemble_is_described_with_its_gain(paths: StudyPaths) -> None:
    content = json.loads((paths.ensemble / "ensemble.json").read_text())
    assert content["chosen_on"] == "proxy" and set(content["out_of_fold"]) == {"clean", "proxy"}
    assert content["combine"]["weights"] == [0.5, 0.5] and len(content["views"]) == 2
    gain = content["out_of_fold"]["clean"]["gain"]
    assert gain["low"] <= gain["gain"] <= gain["high"]
    assert sum(content["expected"]["class_share"]) == pytest.approx(1)


LABELS = np.arange(200) % 10


def _specialists() -> list[OutOfFold]:
    """One knows the proxy alone, the other ordinary images alone: nine of ten are right there, all
    elsewhere.
    """
    right = 8.0 * np.eye(10, dtype=np.float32)[LABELS][None]
    mixed = np.where(np.arange(200)[None, :, None] < 20, np.roll(right, 1, axis=2), right)
    return [
        OutOfFold(np.arange(200), mixed, right, 1.0),
        OutOfFold(np.arange(200), right, mixed, 1.0),
    ]


def _built(root: Path, found: Sequence[OutOfFold], **settings: Any) -> Ensemble:
    members = _planned(root).members[: len(found)]
    return build_ensemble(
        members, found, LABELS, EnsembleSettings(**settings), [[1, 0, 0, 0, 1, 0]]
    )


@pytest.mark.parametrize(
    ("ordinary", "figures", "main"),
    [
        (0.0, (0.9, 1.0), "proxy"),
        (0.3, (0.9, 1.0), "proxy"),
        (0.7, (1.0, 0.9), "proxy"),
        (1.0, (1.0, 0.9), "clean"),
    ],
)
def test_the_share_of_ordinary_images_decides_between_specialists(
    final_root: Path, ordinary: float, figures: tuple[float, float], main: str
) -> None:
    content = _built(final_root, _specialists(), name="geometric", ordinary=ordinary)
    assert tuple(content.out_of_fold[one].accuracy for one in ("clean", "proxy")) == figures
    assert (content.chosen_on, content.ordinary) == (main, ordinary)


@pytest.mark.parametrize(
    ("ordinary", "name", "figures"), [(0.0, "m1", (0.9, 1.0)), (1.0, "m2", (1.0, 0.9))]
)
def test_both_figures_are_those_of_the_ensemble_that_was_chosen(
    final_root: Path, ordinary: float, name: str, figures: tuple[float, float]
) -> None:
    content = _built(final_root, _specialists(), name="greedy", ordinary=ordinary)
    assert [one.name[:2] for one in content.members] == [name] and len(content.no_weight) == 1
    assert tuple(content.out_of_fold[one].accuracy for one in ("clean", "proxy")) == figures


def test_one_member_and_no_proxy_make_an_ensemble_with_every_method(final_root: Path) -> None:
    whole = _specialists()
    alone = [replace(whole[0], proxy=None)]
    for method in ("auto", "uniform", "weighted", "greedy", "geometric", "stacking"):
        content = _built(final_root, alone, name=method, ordinary=0.4)
        assert (content.chosen_on, content.ordinary, list(content.out_of_fold)) == (
            "clean",
            1.0,
            ["clean"],
        )
    content = _built(final_root, whole, name="auto", ordinary=0.4, max_ms=1.5)
    assert [one.name[:2] for one in content.members] == ["m1"] and [
        name[:2] for name in content.left_out
    ] == ["m2"]
    assert set(content.methods) == {"uniform", "weighted", "greedy", "geometric", "stacking"}


def test_a_second_run_trains_nothing_again(
    final_root: Path, paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in paths.final.rglob("weights.npz")}
    assert command_line(final.FINAL, [*FINAL_ARGUMENTS, f"root={final_root}"], final.main) == 0
    assert {p: p.stat().st_mtime_ns for p in paths.final.rglob("weights.npz")} == before and len(
        before
    ) == 8
    assert "epoch" not in capsys.readouterr().out


def test_quiet_keeps_to_results(
    final_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(final_root, tmp_path, dirs_exist_ok=True)
    next(StudyPaths(tmp_path, "small").final.rglob("weights.npz")).unlink()
    assert command_line(final.FINAL, ["-q", *FINAL_ARGUMENTS, f"root={tmp_path}"], final.main) == 0
    out = capsys.readouterr().out
    assert (
        " epoch " not in out
        and "ensemble (uniform) on proxy images" in out
        and "nets that predict were trained on all images" in out
    )
    assert len(list(StudyPaths(tmp_path, "small").final.rglob("weights.npz"))) == 8


def _train(nets: Sequence[Net], slot: HereSlot, stop: Stop, statistics_batches: int = 100) -> None:
    context = Context(stop)
    jobs = FinalJobs(context, nets, print, statistics_batches)
    folder = nets[0][1].paths.folder
    folder.mkdir(parents=True, exist_ok=True)
    Runner(jobs, [slot], context, Usage(), folder / "log.txt").run()


@pytest.mark.parametrize("net", [0, -1])  # on all images, without a fold
def test_interrupted_training_goes_on_with_the_next_epoch_to_the_same_bits(
    final_root: Path, tmp_path: Path, net: int
) -> None:
    member = _planned(final_root).members[0]
    jobs = [net_jobs([member], StudyPaths(tmp_path, "small"))[net]]
    paths = jobs[0][1].paths
    stop = Stop()
    first = HereSlot(stop, epochs=2)
    _train(jobs, first, stop)
    assert stop.exit_code == 130 and first.calls == 2 and not paths.weights.exists()
    stop = Stop()
    second = HereSlot(stop)
    _train(jobs, second, stop)
    assert second.calls == 2 and stop.exit_code == 0  # the third epoch, and the statistics
    resumed, _ = checkpoint.load_weights(paths.weights)
    uninterrupted = [
        net_jobs([member], StudyPaths(tmp_path / "other", "small"))[net]
    ]  # in this process: the same kernels
    _train(uninterrupted, HereSlot(Stop()), Stop())
    whole, _ = checkpoint.load_weights(uninterrupted[0][1].paths.weights)
    for name, array in (whole.params | whole.buffers).items():
        np.testing.assert_array_equal((resumed.params | resumed.buffers)[name], array)
    assert not paths.checkpoint.exists()


def test_the_time_left_is_told_by_the_work_left(final_root: Path, tmp_path: Path) -> None:
    member = _planned(final_root, "final.refit=1").members[0]
    nets = net_jobs([member], StudyPaths(tmp_path, "small"))
    jobs = FinalJobs(Context(Stop()), nets, print, 0, slots=2)
    row = {"train_loss": 0.5, "epoch_s": 600.0}
    refit, fold = (Training(*net) for net in nets[:2])
    # Three epochs of one net on all images and of two on half of them are six epochs of the first,
    # on two slots.
    refit.rows = [row]
    name = member.name[3:]
    shown = f"final m1-{name} all images 1/1 epoch 1/3: loss 0.5000, 600.0 s; about 30 min left"
    assert jobs.line(refit).endswith(shown)
    fold.rows = [row | {"valid_accuracy": 0.5}]
    assert jobs.line(fold).endswith("validation 50.00%, 600.0 s; about 60 min left")


def test_weights_of_another_configuration_are_trained_again(
    final_root: Path, paths: StudyPaths, tmp_path: Path
) -> None:
    shutil.copytree(paths.final, tmp_path / "small" / "final")
    other = StudyPaths(tmp_path, "small")
    same = net_jobs(_planned(final_root).members, other)
    changed = net_jobs(_planned(final_root, "final.epochs=4").members, other)
    assert all(is_trained(*net) for net in same)
    assert not any(is_trained(*net) for net in changed)


def test_a_diverging_net_ends_with_its_reason(final_root: Path, tmp_path: Path) -> None:
    member = _planned(final_root, "final.overrides=['optimizer=sgd','optimizer.lr=1e38']").members[
        0
    ]
    stop = Stop()
    _train(net_jobs([member], StudyPaths(tmp_path, "small"))[:1], HereSlot(stop), stop, 0)
    assert (
        stop.exit_code == 1 and "must stay finite, got train_loss is nan in epoch 1" in stop.reason
    )


def stored(number: int, value: float, *overrides: str) -> StoredTrial:
    return StoredTrial(
        number=number, seed=(0, number), overrides=overrides, ended=ended("COMPLETE", value)
    )


def test_kinds_of_nets_come_first_then_the_best_again() -> None:
    def trial(number: int, *overrides: str) -> StoredTrial:
        return stored(number, 0.9, *overrides)

    trials = [
        trial(4, "model.kernel=5"),
        trial(2, "model.kernel=5"),  # the same configuration
        trial(3, "model.kernel=5", "model.dropout=0.1"),
        trial(1, "model.kernel=3"),
    ]
    assert [t.number for t in plan._diverse(trials, 2, 1.0)] == [4, 1]
    framed = [*trials[:3], trial(6, "model.kernel=5", "model.frame=box")]
    assert [t.number for t in plan._diverse(framed, 2, 1.0)] == [4, 6]
    beside = [
        *framed,
        trial(7, "model.kernel=5", "model.frame=box", "model.dropout=0.1"),
        trial(8, "model.frame=box", "model.frame_beside=true"),
    ]
    assert [t.number for t in plan._diverse(beside, 3, 1.0)] == [4, 6, 8]
    assert [t.number for t in plan._diverse(trials, 5, 1.0)] == [4, 1, 3, 4, 1]


def test_a_kind_that_is_much_weaker_waits_for_its_turn() -> None:
    trials = [
        stored(5, 0.98, "model.kernel=5"),
        stored(6, 0.979, "model.kernel=5", "model.dropout=0.1"),
        stored(7, 0.97, "model.kernel=3"),  # 1.5 times the errors of the best
    ]
    assert [t.number for t in plan._diverse(trials, 3, 1.4)] == [5, 6, 7]
    assert [t.number for t in plan._diverse(trials, 3, 1.6)] == [5, 7, 6]


def test_fixed_members_need_no_sweep(tmp_path: Path) -> None:
    arguments = [
        "experiment=hard_digits_ensemble",
        "data=digits",
        "data.reserve=100",
        "model.filters=3",
        f"root={tmp_path}",
    ]
    members = final.plan(compose(arguments, final.FINAL)).members
    kinds = [
        (spec.model.kernel, spec.model.pool) for member in members for spec in member.specs[:1]
    ]
    assert kinds == [(3, 2), (5, 2), (3, 4)]


def test_without_a_sweep_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "study.db").touch()
    assert command_line(final.FINAL, ["study.name=digit", f"root={tmp_path}"], final.main) == 2
    told = capsys.readouterr().err
    assert "final needs a finished sweep" in told and "(studies of this root: digits)" in told


def test_members_can_be_composed_again_from_their_file(final_root: Path, paths: StudyPaths) -> None:
    member = _planned(final_root).members[1]
    stored = yaml.safe_load(member.net(paths, 0).overrides.read_text())
    assert tuple(stored["overrides"]) == member.overrides
    assert compose(stored["overrides"]).train.epochs == 3
