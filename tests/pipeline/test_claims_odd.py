"""Claims whose studies are not there yet, not whole, or diverged; and claims that contradict each
other. Nothing is trained.
"""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_core.errors import InputError
from pipeline import claims
from pipeline.claims_page import measured
from pipeline.claims_page.claims_file import Claim, read_claims
from pipeline.claims_page.claims_markdown import _measured
from pipeline.claims_page.measured import Bench, Finished, Lacking, Measured, find_studies, measure
from pipeline.configuration import Config
from pipeline.files import StudyPaths
from pipeline.journal import EventLog
from pipeline.reporting.comparison import Estimate
from pipeline.reporting.table import StudyTable, TrialRow
from pipeline.search.fingerprint import FINGERPRINT, fingerprint
from pipeline.search.run_sweep import ENDED
from pipeline.trial_folder import TrialFolder
from tests.pipeline.studies import study_ended, study_started
from tests.pipeline.test_claims import HE_LEARNS, PRESET, SYSTEMS, judge
from tests.pipeline.test_ensemble_odd import SCORE, WITHOUT_MEMBERS

CLAIM = Claim(**{k: HE_LEARNS[k] for k in ("name", "system", "claim", "source", "preset", "of")})


def place_of(folder: Path, more: str = "") -> Path:
    """A folder with the preset alone."""
    (folder / "conf" / "experiment").mkdir(parents=True)
    (folder / "conf" / "experiment" / "tiny.yaml").write_text(PRESET + more)
    return folder


def bench_of(folder: Path, more: str = "") -> Bench:
    words = [f"hydra.searchpath=['file://{place_of(folder, more)}/conf']", f"root={folder}/root"]
    needed = SimpleNamespace(claims=[CLAIM])
    return Bench(measured.read_presets(needed, words))  # type: ignore[arg-type]


def finished(paths: StudyPaths, *trials: TrialRow) -> Finished:
    return Finished(StudyTable("tiny", paths.folder, ("maximize",), [*trials]), paths, 1.0)


def trial(number: int, init: str, state: str, **fields: Any) -> TrialRow:
    return TrialRow(number, state=state, suggested={"model.init": init}, **fields)


def test_presets_without_a_study_are_run_first_and_a_failure_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[Config] = []
    codes = iter([130, 0, 0])
    monkeypatch.setattr(claims, "run_whole", lambda config: ran.append(config) or next(codes))
    place = place_of(tmp_path)
    assert judge(place, tmp_path, [HE_LEARNS], "run=true") == 130
    assert [(config.study.name, config.paths.root) for config in ran] == [
        ("tiny", tmp_path / "root")
    ]
    assert not (tmp_path / "out" / "CLAIMS.md").exists()
    # A run that leaves no study behind, as one that ended before its time: its row says so.
    assert judge(place, tmp_path, [HE_LEARNS], "run=true", "-q") == 0
    assert capsys.readouterr().out == ""
    assert "not measured yet" in (tmp_path / "out" / "CLAIMS.md").read_text()
    assert "\nold\n" not in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").unlink()
    (tmp_path / "out" / "CLAIMS.md").unlink()
    words = [f"claims={tmp_path}/claims.yaml", f"output={tmp_path}/out/CLAIMS.md", "readme=null"]
    argv = ["--config-dir", f"{place}/conf", f"root={place}/root", *words, "run=true"]
    assert claims.command_line(claims.COMMAND, argv, claims.main) == 0
    assert "he_learns: not measured yet" in capsys.readouterr().out
    assert (tmp_path / "out" / "CLAIMS.md").exists() and not (tmp_path / "README.md").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"minutes": {"tinny": 3}}, "minutes: must be of presets of claims, got 'tinny'; did you"),
        (
            {"systems": [{**SYSTEMS[0], "headline": ["he_lerns"]}]},
            "system 1: headline must name claims, got 'he_lerns'; did you mean",
        ),
        (
            {"claims": [HE_LEARNS, HE_LEARNS]},
            "claims: must each have a name of their own, got 'he_learns' twice",
        ),
        ({"systems": SYSTEMS * 2}, "systems: must each have a name of their own, got 1 twice"),
        (
            {"claims": [{**HE_LEARNS, "epoch": 0}]},
            "claim he_learns: epoch must be at least 1, got 0",
        ),
    ],
)
def test_claims_that_contradict_each_other_are_refused(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = tmp_path / "claims.yaml"
    whole = {"systems": SYSTEMS, "claims": [HE_LEARNS], "minutes": {"tiny": 1}}
    path.write_text(json.dumps(whole))
    assert [claim.name for claim in read_claims(path).claims] == ["he_learns"]
    path.write_text(json.dumps(whole | change))
    with pytest.raises(InputError) as refused:
        read_claims(path)
    assert words in str(refused.value) and str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("ended", "built", "note"),
    [
        (-1, False, "begun, not finished yet"),
        (2, False, "swept, its ensemble is not built yet"),
        (2, True, ""),
    ],
)
def test_a_study_counts_once_all_of_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: int, *, built: bool, note: str
) -> None:
    bench = bench_of(tmp_path, "final: {after_sweep: true}\n")
    preset = bench.presets["tiny"]
    paths = preset.config.paths
    paths.ensemble.mkdir(parents=True)
    paths.study_db.touch()
    if built:
        (paths.ensemble / "ensemble.json").touch()
    known = {FINGERPRINT: fingerprint(preset.config, preset.space, "x"), ENDED: ended}
    monkeypatch.setattr(measured, "read_study", lambda _: SimpleNamespace(user_attrs=known))
    monkeypatch.setattr(measured, "table_of", lambda *_: "the table")
    find_studies(bench)
    if note:
        assert (bench.missing, bench.studies) == ({"tiny": Lacking(note)}, {})
        assert measure(CLAIM, bench) == Measured(CLAIM, note=note)
    else:
        assert bench.missing == {} and bench.studies["tiny"].table == "the table"


def test_a_claim_of_a_preset_that_nobody_looked_for_was_not_measured() -> None:
    assert measure(CLAIM, Bench({})) == Measured(CLAIM, note="not measured yet")


def test_an_end_without_its_beginning_took_no_time(tmp_path: Path) -> None:
    """As where the first lines of a journal were lost."""
    paths = StudyPaths(tmp_path, "tiny")
    log = EventLog(paths.final / "runs" / "a")
    log.handle(study_ended({}, None, time_s=1000.0))
    log.handle(replace(study_started(paths.folder), time_s=2000.0))
    log.handle(study_ended({}, None, time_s=2030.0))
    log.close()
    assert measured._seconds(paths) == 30.0


def test_the_gain_of_an_ensemble_has_the_interval_of_its_images(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path, "tiny")
    paths.ensemble.mkdir(parents=True)
    gain = {**SCORE["gain"], "gain": 0.002, "low": 0.001, "high": 0.003}
    member = {
        "name": "m0", "overrides": [], "clean_accuracy": 0.97, "refits": ["ab"], "temperature": 1,
        "model": {}, "specs": [],
    }  # fmt: skip
    written = {
        **WITHOUT_MEMBERS,
        "members": [member],
        "combine": {"method": "uniform", "weights": [1.0], "temperature": 1.0},
        "out_of_fold": {"clean": {**SCORE, "gain": gain}},
    }
    (paths.ensemble / "ensemble.json").write_text(json.dumps(written))
    claim = replace(CLAIM, of={}, measure="ensemble_gain", at_least=0.0)
    found = measure(claim, Bench({}, studies={"tiny": finished(paths)}))
    assert found.estimate == Estimate(0.002, 0.001, 0.003, 1)
    assert _measured(found) == "+0.20 ± 0.10 points, 1 members, interval over images"


def test_a_configuration_that_diverged_counts_as_none_right(tmp_path: Path) -> None:
    """Of accuracies; of losses there is no such number."""
    bench = bench_of(tmp_path)
    paths = bench.presets["tiny"].config.paths
    nets = {f"objective_net{k}": 0.9 for k in (1, 2, 3)}
    other = trial(0, "zeros", "COMPLETE", objective=(0.9,), extra=nets)
    reason = "diverged: train_loss is nan in epoch 1"
    bench.studies["tiny"] = finished(paths, other, trial(1, "he", "FAIL", reason=reason))
    assert other.nets == [0.9] * 3
    found = measure(CLAIM, bench)
    assert (found.first, found.note) == ([0.0] * 3, "diverged, counted as 0")
    lacks = "the study tiny has no complete trial of model.init=he"
    assert measure(replace(CLAIM, measure="valid_loss"), bench).note == lacks
    bench.studies["tiny"] = finished(paths, other, trial(1, "he", "FAIL", reason="worker died"))
    assert measure(CLAIM, bench).note == lacks


def test_one_net_says_nothing_of_a_claim(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    paths = bench.presets["tiny"].config.paths
    bench.studies["tiny"] = finished(paths, trial(1, "he", "COMPLETE", objective=(0.9,)))
    paths.trial(1).folder.mkdir(parents=True)
    TrialFolder(paths.trial(1)).write_history([{"valid_loss/net1": 0.5}])
    for name, count in (("objective", 0), ("valid_loss", 1)):
        found = measure(replace(CLAIM, measure=name), bench)
        assert found.estimate is None
        assert found.note == (
            f"{name} must be known of at least two nets of trial 1 of study tiny, got {count}"
        )
