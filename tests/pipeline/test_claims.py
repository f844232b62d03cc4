"""Claims are held against a finished study of their preset; whatever is wrong in them is refused in
one line, and nothing is written.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_core.errors import InputError
from pipeline import claims, compress, sweep
from pipeline.bundle import load_bundle
from pipeline.claims_page import measured
from pipeline.claims_page.claims_file import Claim, read_claims
from pipeline.claims_page.measured import Measured
from pipeline.configuration import SWEEP, command_line, compose
from pipeline.ensemble import compression
from pipeline.events import State, StudyEnded, StudyStarted
from pipeline.files import StudyPaths
from pipeline.journal import EventLog
from pipeline.reporting.comparison import Verdict, estimate, paired_difference
from pipeline.search.run_sweep import run
from pipeline.slots.stop_request import Stop
from pipeline.trial_folder import TrialFolder
from tests.pipeline.here_slot import HereSlot

PRESET = """# @package _global_
defaults:
  - override /model: mlp
  - override /sampler: grid
  - override /space: none
  - override /pruner: none
  - override /tracking: none
study: {name: tiny, seeds: 3, paired: true, enqueue: []}
budget: {trials: 2}
data: {train_size: 200, valid_size: 100}
optimizer: {lr: 0.01}
train: {epochs: 3, batch_size: 20}
model: {hidden: [24]}
space:
  model.init: {choice: [zeros, he]}
"""
HE_LEARNS = {
    "name": "he_learns",
    "system": 1,
    "claim": "He's weights learn, zeros do not",
    "source": "a | in a source",
    "preset": "tiny",
    "of": {"model.init": "he"},
    "over": {"model.init": "zeros"},
    "at_least": 0.1,
}
ZEROS_LEARN = {
    **{key: HE_LEARNS[key] for key in ("system", "source", "preset")},
    "name": "zeros_learn",
    "claim": "zeros learn",
    "of": {"model.init": "zeros"},
    "measure": "valid_accuracy",
    "epoch": 2,
    "at_least": 0.9,
}
SYSTEMS = [{"number": 1, "name": "A source", "headline": ["he_learns"]}]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a preset of one's own and its finished study (in root/; look only)."""
    folder = tmp_path_factory.mktemp("claims")
    (folder / "conf" / "experiment").mkdir(parents=True)
    (folder / "conf" / "experiment" / "tiny.yaml").write_text(PRESET)
    words = [f"hydra.searchpath=['file://{folder}/conf']", "experiment=tiny", f"root={folder}/root"]
    config = compose(words, SWEEP, quiet=True)
    config.paths.folder.mkdir(parents=True)
    assert run(config, [HereSlot(Stop())]) == 0
    return folder


def judge(place: Path, target: Path, entries: list[dict[str, object]], *more: str) -> int:
    """Run the command on these claims; pages go to `target`."""
    path = target / "claims.yaml"
    # JSON is YAML
    path.write_text(json.dumps({"systems": SYSTEMS, "claims": entries}))
    readme = target / "README.md"
    readme.write_text(f"before\n{claims.BEGIN}\nold\n{claims.END}\nafter\n")
    words = [f"claims={path}", f"output={target}/out/CLAIMS.md", f"readme={readme}"]
    argv = ["--config-dir", str(place / "conf"), f"root={place}/root", *words, *more]
    return command_line(claims.COMMAND, argv, claims.main)


def test_claims_are_judged_and_written(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(place, tmp_path, [HE_LEARNS, ZEROS_LEARN]) == 0
    assert "he_learns: holds\nzeros_learn: does not hold" in capsys.readouterr().out
    text = (tmp_path / "out" / "CLAIMS.md").read_text()
    assert "2 claims: 1 holds, 1 does not hold." in text
    assert re.search(r"\+\d+(\.\d+)? ± \d+(\.\d+)? points \(.* % against .* %\), 3 seeds", text)
    assert r"a \| in a source" in text and "| **holds** |" in text
    picture = (tmp_path / "out" / "img" / "claims" / "he_learns.svg").read_text()
    assert picture.count("<circle") == 6  # three seeds of two configurations
    page = (tmp_path / "README.md").read_text()
    assert page.startswith("before\n") and page.endswith("after\n") and "\nold\n" not in page
    assert "`python -m pipeline.sweep experiment=tiny`" in page and " points (" in page


def test_what_was_not_measured_shows_no_figures(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured before is not written over by a page of nothing."""
    assert judge(place, tmp_path, [HE_LEARNS], f"root={tmp_path}/none") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "root: must hold finished studies of the presets" in error
    assert not (tmp_path / "out").exists() and not (tmp_path / "none").exists()
    assert "\nold\n" in (tmp_path / "README.md").read_text()


def test_a_study_that_lacks_what_is_compared_costs_its_claim_alone(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its trial of zero weights failed, say; the page is written, and says it."""
    found = measured.table_of

    def without_zeros(*given: Any) -> Any:
        table = found(*given)
        kept = [t for t in table.trials if t.suggested != {"model.init": "zeros"}]
        return replace(table, trials=kept)

    monkeypatch.setattr(measured, "table_of", without_zeros)
    he = {**ZEROS_LEARN, "name": "he_has_a_figure", "of": {"model.init": "he"}}
    assert judge(place, tmp_path, [HE_LEARNS, he]) == 0
    note = "the study tiny has no complete trial of model.init=zeros"
    assert f"he_learns: {note}\nhe_has_a_figure: " in capsys.readouterr().out
    text = (tmp_path / "out" / "CLAIMS.md").read_text()
    assert note in text and "3 seeds" in text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            {"member_accuracy": [0.98, 0.99, 1.0]},
            "99.0 ± 2.5 %, 3 seeds, the test set, opened once",
        ),
        ({"member_accuracy": [0.99]}, "test_accuracy must be known of at least two members"),
        (None, "test_accuracy must be known of at least two members of study tiny, got 0"),
    ],
)
def test_the_test_split_is_read_from_what_evaluate_wrote(
    place: Path, tmp_path: Path, written: dict[str, list[float]] | None, said: str
) -> None:
    shutil.copytree(place / "root", tmp_path / "root")
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    preset = f"{PRESET}final: {{after_sweep: true}}\n"
    (tmp_path / "conf" / "experiment" / "tiny.yaml").write_text(preset)
    paths = compose(["study.name=tiny", f"root={tmp_path}/root"]).paths
    paths.ensemble.mkdir()
    (paths.ensemble / "ensemble.json").touch()
    if written is not None:
        paths.evaluation.mkdir()
        (paths.evaluation / "test.json").write_text(json.dumps(written))
    claim = {k: v for k, v in HE_LEARNS.items() if k not in ("of", "over")}
    assert judge(tmp_path, tmp_path, [claim | {"measure": "test_accuracy"}]) == 0
    assert said in (tmp_path / "out" / "CLAIMS.md").read_text()


def test_a_preset_takes_the_time_of_its_final_nets_too(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path, "tiny")
    paths.folder.mkdir()
    (paths.folder / "clock.json").write_text(json.dumps({"used_s": 100.0}))
    log = EventLog(paths.final / "runs" / "a")
    for began, ended in ((1000.0, 1020.0), (2000.0, 2005.0)):  # interrupted, then resumed
        log.handle(
            StudyStarted(
                study="tiny final", folder=paths.folder, note="", seed=0, resumed=False, total=1,
                slots=1, directions=(), tags={}, config_yaml="", time_s=began,
            )
        )  # fmt: skip
        log.handle(
            StudyEnded(
                state=State.COMPLETE, reason="", trials={}, best_number=None, outside_training=0.0,
                time_s=ended,
            )
        )  # fmt: skip
    log.close()
    assert measured._seconds(paths) == 125.0


def test_a_study_of_other_settings_is_not_the_preset_s(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "conf" / "experiment"
    other.mkdir(parents=True)
    (other / "tiny.yaml").write_text(PRESET.replace("epochs: 3", "epochs: 4"))
    for more in ((), ("run=true",)):  # nothing is run beside it, nor is it asked to resume
        assert judge(tmp_path, tmp_path, [HE_LEARNS], f"root={place}/root", *more) == 2
        found = capsys.readouterr().err
        assert "has other settings than the preset: train.epochs: 3 in the study, 4 now" in found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"preset": "tinny"}, "claim he_learns: experiment: must be one of .*got 'tinny'"),
        ({"preset": "smoke"}, "preset smoke must have sampler=grid"),
        ({"of": {"model.inti": "he"}}, "got 'model.inti'; did you mean \"model.init\""),
        ({"of": {"model.init": "xavier"}}, "must choose one configuration of preset tiny, got 0"),
        ({"measure": "accuracy"}, "measure must be one of objective, .*got 'accuracy'"),
        ({"atleast": 0.1}, r"got claims\[0\].atleast, .*did you mean \"at_least\""),
        ({"at_least": "much"}, r"got claims\[0\].at_least = 'much', must be a number"),
        ({"at_least": None}, "must have at_least or at_most, got neither"),
        (
            {"epoch": 9, "measure": "valid_loss"},
            "epoch must be at most the 3 of preset tiny, got 9",
        ),
        ({"system": 2}, "system must be one of 1, got 2"),
        ({"name": "../x"}, "name must be of letters, digits and _, got '../x'"),
        ({"of": {}}, "of must choose a configuration"),
        (
            {"of": {}, "over": None, "measure": "ensemble_gain"},
            "preset tiny must have final.after_sweep=true for ensemble_gain, got false",
        ),
    ],
)
def test_a_wrong_claim_is_refused_in_one_line(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    words: str,
) -> None:
    assert judge(place, tmp_path, [HE_LEARNS | change]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(words, error), error
    assert not (tmp_path / "out").exists()
    assert "\nold\n" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("claims=nowhere.yaml", "claims: must be a file of claims, got nowhere.yaml"),
        ("readme=nowhere.md", "readme: must be a page that can be read"),
        ("readme={target}/claims.yaml", "readme: must hold the marks <!-- begin systems -->"),
        ("train.epochs=1", "train.epochs: means nothing to claims"),
    ],
)
def test_a_wrong_key_is_refused_in_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, words: str
) -> None:
    assert judge(place, tmp_path, [HE_LEARNS], more.format(target=tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error, error
    assert not (tmp_path / "out").exists()


def test_a_preset_on_images_that_its_net_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment=three_conv", "data=digits", f"root={tmp_path}", "data.train_size=100"]
    words += ["data.valid_size=100", "slots.n=1", "tracking=none"]
    assert command_line(SWEEP, words, sweep.main) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "model three_conv does not fit images 1x8x8" in error, error
    assert not list(tmp_path.rglob("study.db"))


def test_what_is_compared_of_each_net(place: Path, tmp_path: Path) -> None:
    """The gap after an epoch and the lowest loss of all epochs, as the trial's file has them."""
    rows = TrialFolder(compose([f"root={place}/root", "study.name=tiny"]).paths.trial(1)).history()
    changes = {"lowest_valid_loss": {"at_most": 99}, "gap": {"at_most": 1, "epoch": 1}}
    entries = [
        {**HE_LEARNS, "name": name, "over": None, "measure": name, "at_least": None, **change}
        for name, change in changes.items()
    ]
    assert judge(place, tmp_path, [HE_LEARNS, *entries]) == 0
    losses = [min(row[f"valid_loss/net{k}"] for row in rows) for k in (1, 2, 3)]
    picture = (tmp_path / "out" / "img" / "claims" / "lowest_valid_loss.svg").read_text()
    assert [f"{loss:.4f}" for loss in losses] == re.findall(r"<title>he: ([\d.]+)</title>", picture)
    gaps = [
        rows[0][f"train_accuracy/net{k}"] - rows[0][f"valid_accuracy/net{k}"] for k in (1, 2, 3)
    ]
    picture = (tmp_path / "out" / "img" / "claims" / "gap.svg").read_text()
    assert [f"{gap:.4f}" for gap in gaps] == re.findall(r"<title>he: (-?[\d.]+)</title>", picture)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([0.91, 0.92, 0.93], Verdict.HOLDS), ([0.7, 0.9, 0.95], Verdict.UNCLEAR), ([], None)],
)
def test_the_verdict_follows_from_the_claim_s_limits(
    values: list[float], verdict: Verdict | None
) -> None:
    claim = Claim(name="x", system=1, claim="", source="", preset="", of={"a": 1}, at_least=0.85)
    found = Measured(claim, estimate(values) if values else None, values)
    assert found.verdict == verdict
    most = replace(claim, at_least=None, at_most=-0.85)
    mirrored = [-value for value in values]
    assert Measured(most, estimate(mirrored) if values else None, mirrored).verdict == verdict


def test_a_limit_that_is_no_number_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "claims.yaml"
    text = json.dumps({"systems": SYSTEMS, "claims": [HE_LEARNS | {"at_least": 0.125}]})
    file.write_text(text.replace("0.125", ".nan"))
    with pytest.raises(InputError, match="at_least <= at_most must hold, got nan"):
        read_claims(file)
    file.write_text("claims: 3\nsystems: 4\n")
    with pytest.raises(InputError, match="claims: got systems = 4, must be a list"):
        read_claims(file)


def test_of_two_that_are_equal_none_is_better() -> None:
    claim = Claim(name="x", system=1, claim="", source="", preset="", of={"a": 1}, at_least=0.0)
    alone = Measured(claim, estimate([0.0, 0.0]))
    assert alone.verdict == Verdict.HOLDS
    for low, high in ((0.0, None), (None, 0.0)):
        compared = replace(claim, over={"a": 2}, at_least=low, at_most=high)
        equal, better = (paired_difference([value] * 3, [0.1] * 3) for value in (0.1, 0.3))
        assert Measured(compared, equal).verdict == Verdict.UNCLEAR
        expected = Verdict.HOLDS if high is None else Verdict.FAILS
        assert Measured(compared, better).verdict == expected


def test_a_net_of_a_fold_is_judged_on_it_by_the_study_s_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rank that changes nothing that counts shows the trial's own figures again."""
    words = ["experiment=smoke", "study.name=folds", "study.folds=2", "budget.trials=1"]
    words += ["study.objective=log_loss", "model=mlp", "space=none", "train.epochs=3"]
    words += ["space={model.hidden:{choice:[[24]]}}", "data.train_size=null"]
    words += ["data.valid_size=null", f"root={tmp_path}"]
    config = compose(words, SWEEP, quiet=True)
    config.paths.folder.mkdir(parents=True)
    assert run(config, [HereSlot(Stop())]) == 0
    capsys.readouterr()
    last = TrialFolder(config.paths.trial(0)).history()[-1]
    asked = ["study.name=folds", f"root={tmp_path}", "rank=17", f"output={tmp_path}/thin"]
    assert command_line(compress.COMMAND, asked, compress.main) == 0
    said = capsys.readouterr().out
    assert f"validation accuracy: {last['valid_accuracy/net1']:.2%} whole" in said
    scores = json.loads((tmp_path / "thin" / "manifest.json").read_text())["scores"]
    assert scores["objective"] == pytest.approx(last["valid_log_loss/net1"], rel=0.2)


def test_a_compressed_net_is_a_bundle_that_predicts(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study.name=tiny", f"root={place}/root", "rank=4", f"output={tmp_path}/small"]
    assert command_line(compress.COMMAND, [*words, "epochs=2"], compress.main) == 0
    said = capsys.readouterr().out
    found = re.search(r"(\S+) % whole|(\S+)% whole, (\S+)% of rank 4", said)
    trained = re.search(r"after 2 epochs of re-training: (\S+)%", said)
    assert found and trained, said
    assert float(trained[1]) > float(found[3])  # what the compression costs is won back
    bundle = load_bundle(tmp_path / "small")
    kinds = [op["op"] for op in bundle.nets[0][0].operations]
    assert kinds.count("dense") == 3  # two thin ones for the first
    assert sorted(a.shape for a in bundle.nets[0][0].arrays.values() if a.ndim == 2) == [
        (4, 64), (10, 24), (24, 4),
    ]  # fmt: skip


def test_a_plug_in_s_net_is_refused_before_anything_is_trained(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = SimpleNamespace(path="mine.py")
    monkeypatch.setattr(
        compression, "own_operations", lambda used: {"dense": plugin} if used else {}
    )
    monkeypatch.setattr(compression, "compress", None)
    argv = ["study.name=tiny", f"root={place}/root", f"output={tmp_path}/new", "rank=4", "epochs=2"]
    assert command_line(compress.COMMAND, argv, compress.main) == 2
    assert "holds no code of plug-ins, got 'dense' of mine.py" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["rank=18"], "rank: must be at most 17, beyond which no layer of mlp gets smaller"),
        (["rank=0"], "rank: must be at least 1, got 0"),
        ([], "rank: must be given, such as rank=8"),
        (["rank=4", "study.name=none"], "a bundle needs a finished sweep or final models"),
        (["rank=4", "epochs=-1"], "epochs: must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_compressed_is_refused_in_one_line(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    rule: str,
) -> None:
    argv = ["study.name=tiny", f"root={place}/root", f"output={tmp_path}/new", *words]
    assert command_line(compress.COMMAND, argv, compress.main) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and rule in error, error
    assert not list(tmp_path.iterdir()) and not (place / "root" / "none").exists()
