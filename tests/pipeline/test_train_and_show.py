"""`pipeline.train` on one configuration; `pipeline.show` on spaces, studies, trials and inputs."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnn_core.checkpoint import load_weights
from cnn_core.data.prepared import open_prepared
from cnn_core.training import fit, selected_weights
from pipeline import show, train
from pipeline.configuration import Command, command_line, compose, spec_of
from pipeline.data import prepare
from pipeline.events import EpochDone, Event
from pipeline.search import messages, train_one
from pipeline.search.space import searched
from pipeline.slots.stop_request import Stop
from pipeline.tracking.progress import ProgressListener

TINY = [
    "data.train_size=120",
    "data.valid_size=60",
    "model.filters=4",
    "train.epochs=2",
    "train.batch_size=30",
    "tracking=none",
]
SINGLE_NETS = ["simple_convnet", "two_conv", "three_conv", "contest_report", "mlp"]


def run(module: object, *words: str) -> int:
    command: Command = module.COMMAND  # type: ignore[attr-defined]
    return command_line(command, words, module.main)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which one tiny net was trained."""
    root = tmp_path_factory.mktemp("trained")
    assert run(train, f"root={root}", *TINY, "trial=3") == 0
    return root


def folder_of(root: Path) -> Path:
    (folder,) = (root / "digits" / "train").iterdir()
    return folder


def test_the_files_of_a_trained_net(trained: Path) -> None:
    names = {path.name for path in folder_of(trained).iterdir()}
    assert {
        "history.csv",
        "weights.npz",
        "manifest.json",
        "learning_curves.svg",
        "overrides.yaml",
        "log.txt",
    } <= names
    assert "checkpoint.npz" not in names
    with (folder_of(trained) / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_show_lists_nets_that_were_trained_alone_and_one_in_full(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = folder_of(trained).name
    assert run(show, f"root={trained}", "study.name=digits") == 0
    out = capsys.readouterr().out
    assert (
        "trained without a sweep as digits: 1 net" in out
        and name in out
        and "COMPLETE" in out
        and "adam he f4 d0.40" in out
    )
    assert run(show, f"root={trained}", "study.name=digits", f"net={name[:4]}") == 0
    out = capsys.readouterr().out
    assert (
        f"net {name}: t003 adam" in out
        and "filters: 4" in out
        and "accuracy: o training, * validation" in out
    )
    assert run(show, f"root={trained}", "study.name=digits", "net=zz") == 2
    assert (
        f"net: must begin the name of one net that pipeline.train trained ({name}), got 'zz'"
        in capsys.readouterr().err
    )
    assert run(show, f"root={trained}", "study.name=digits", "trial=0") == 2
    assert "study.name: must be a study" in capsys.readouterr().err


def test_it_is_the_net_that_the_library_trains(trained: Path) -> None:
    config = compose(TINY)
    spec = spec_of(config, prepare(config.data, trained), (0, 3))
    params = selected_weights(spec, fit(spec)).params
    weights, _ = load_weights(folder_of(trained) / "weights.npz")
    assert weights.params.keys() == params.keys()
    for name, array in params.items():
        # The worker may use other BLAS kernels than this process: the same to rounding, not to the
        # bit.
        np.testing.assert_allclose(weights.params[name], array, rtol=1e-3, atol=1e-5)


def test_the_same_command_again_trains_nothing(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder_of(trained) / "weights.npz").stat().st_mtime_ns
    assert run(train, f"root={trained}", *TINY, "trial=3") == 0
    assert "COMPLETE before: objective" in capsys.readouterr().out
    assert (folder_of(trained) / "weights.npz").stat().st_mtime_ns == before


def test_interrupted_it_goes_on_to_the_same_bits(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()

    class Interrupting(ProgressListener):
        def handle(self, event: Event) -> None:
            if isinstance(event, EpochDone):
                stop.request("interrupted", 130)

    with monkeypatch.context() as patch:
        patch.setattr(train_one, "Stop", lambda: stop)
        patch.setattr(messages, "ProgressListener", Interrupting)
        assert run(train, f"root={tmp_path}", *TINY, "trial=3") == 130
    assert (folder_of(tmp_path) / "checkpoint.npz").exists()
    assert not (folder_of(tmp_path) / "weights.npz").exists()
    assert run(train, f"root={tmp_path}", *TINY, "trial=3") == 0
    (once, _), (twice, _) = (
        load_weights(folder_of(root) / "weights.npz") for root in (trained, tmp_path)
    )
    for name, array in once.params.items():
        np.testing.assert_array_equal(twice.params[name], array)


def test_its_run_in_mlflow(mlflow_root: Path) -> None:
    from mlflow.tracking import MlflowClient

    tiny = [word for word in TINY if word != "tracking=none"]
    assert (
        run(train, f"root={mlflow_root}", *tiny, "tracking.figures=false", "study.note=alone") == 0
    )
    client = MlflowClient(f"sqlite:///{mlflow_root}/mlflow.db")
    experiment = client.get_experiment_by_name("sweeps")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    child = next(found for found in runs if "mlflow.parentRunId" in found.data.tags)
    assert {found.info.status for found in runs} == {"FINISHED"}
    assert len(runs) == 2
    assert child.data.tags["state"] == "COMPLETE"
    assert child.data.params["model_filters"] == "4"
    assert len(client.get_metric_history(child.info.run_id, "valid_accuracy")) == 2


def test_a_line_an_epoch_and_the_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train, f"root={tmp_path}", *TINY) == 0
    out = capsys.readouterr().out
    assert "epoch 1/2" in out
    assert "epoch 2/2" in out
    assert "conv1 5x5" in out
    assert "COMPLETE: objective" in out


def test_a_net_that_does_not_fit_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train, f"root={tmp_path}", *TINY, "model=three_conv") == 2
    assert "model three_conv does not fit images 1x8x8" in capsys.readouterr().err
    assert not (tmp_path / "digits").exists()


def test_a_diverging_net_fails_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train, f"root={tmp_path}", *TINY, "optimizer=sgd", "optimizer.lr=1e30") == 1
    assert "FAIL: diverged: " in capsys.readouterr().out


@pytest.mark.parametrize("preset", SINGLE_NETS)
def test_presets_of_one_net_train_for_a_short_epoch(preset: str, tmp_path: Path) -> None:
    from tests.pipeline.sources import made, write_idx

    images, labels = made(200, (28, 28))
    write_idx(tmp_path / "images", images)
    write_idx(tmp_path / "labels", labels)
    config = compose(
        [
            f"experiment={preset}",
            "data=idx",
            f"data.images={tmp_path}/images",
            f"data.labels={tmp_path}/labels",
            "data.classes=10",
        ]
    )
    config = replace(
        config,
        train=replace(config.train, epochs=1, steps_per_epoch=2, eval_size=20),
        data=replace(config.data, train_size=None, valid_size=None),
    )
    state = fit(spec_of(config, prepare(config.data, tmp_path / "root"), (0, 0)))
    assert np.isfinite(state.history[0]["valid_loss"])


def test_space_as_a_tree(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run(show, "space=hard_digits", "data=mnist") == 0
    lines = capsys.readouterr().out.splitlines()
    space, _ = searched(compose(["space=hard_digits", "data=mnist"]))
    by_name = {parameter.name: parameter for parameter in space.parameters}

    def conditions(name: str) -> int:
        return sum(1 + conditions(other) for other in by_name[name].when)

    for parameter in space.parameters:
        own = parameter.name != parameter.path
        line = next(
            line
            for line in lines
            if parameter.describe() in line
            and (f"({parameter.name})" if own else parameter.path) in line
        )
        assert line.index(parameter.path) // 4 == 1 + 2 * conditions(parameter.name)


def test_space_with_a_fixed_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(show, "optimizer=adam") == 0
    out = capsys.readouterr().out
    assert "optimizer=adam is given, so the space does not search it" in out
    assert "momentum.lr" not in out


def test_no_study_lists_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "study.db").touch()
    assert run(show, f"root={tmp_path}", "study.name=digts") == 2
    assert "which has digits, got 'digts'; did you mean \"digits\"?" in capsys.readouterr().err


def test_a_study_and_its_trial(
    made_study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in ("50", "140"):
        monkeypatch.setenv("COLUMNS", width)
        assert run(show, f"root={made_study.parent}", f"study.name={made_study.name}") == 0
        out = capsys.readouterr().out
        assert f"study {made_study.name}: 80 trials" in " ".join(out.split())
        assert "COMPLETE" in out
        assert max(map(len, out.splitlines()[2:-1])) <= int(width)
        assert (
            run(show, f"root={made_study.parent}", f"study.name={made_study.name}", "trial=5") == 0
        )
        out = capsys.readouterr().out
        assert f"trial 5 of {made_study.name}" in " ".join(out.split())
        assert "accuracy: o training, * validation" in out
    assert run(show, f"root={made_study.parent}", f"study.name={made_study.name}", "trial=500") == 2
    assert "got 500" in capsys.readouterr().err


def test_sheets_of_augmentation_and_of_an_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    assert run(show, f"root={tmp_path}", "augment=hard_digits", f"output={tmp_path}/sheet.png") == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 100
    data = prepare(compose().data, tmp_path)
    np.save(tmp_path / "x.npy", open_prepared(data.folder, data.digest).images[:5])
    assert run(show, f"root={tmp_path}", f"input={tmp_path}/x.npy") == 0
    assert "5 images as the net would see them" in capsys.readouterr().out
    assert (tmp_path / "sheets" / "input.png").is_file()
    assert (
        run(
            show,
            f"root={tmp_path}",
            "augment=hard_digits",
            "model.frame=box",
            f"output={tmp_path}/framed.png",
        )
        == 0
    )
    assert "changed at random and framed (model.frame=box)" in capsys.readouterr().out
    assert (
        run(
            show,
            f"root={tmp_path}",
            f"input={tmp_path}/x.npy",
            "model.frame=box",
            f"output={tmp_path}/input.png",
        )
        == 0
    )
    for plain, framed in (("sheet.png", "framed.png"), ("sheets/input.png", "input.png")):
        with Image.open(tmp_path / plain) as one, Image.open(tmp_path / framed) as other:
            assert one.size == other.size and one.tobytes() != other.tobytes()
    assert run(show, f"root={tmp_path}", f"input={tmp_path}/none.npy") == 2
    assert run(show, f"root={tmp_path}", "augment=shift", f"output={tmp_path}") == 2
    assert "output: must be the name of a file, got the folder" in capsys.readouterr().err
