"""Studies whose database holds what nobody's sweep would have written: each command says so in a
line, and the doctor goes on to the next study.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from cnn_core.errors import InputError
from pipeline import report, show
from pipeline.configuration import command_line, compose
from pipeline.doctor import examine
from pipeline.evaluate import COMMAND as EVALUATE
from pipeline.evaluate import main as evaluate
from pipeline.files import StudyPaths
from pipeline.search.open_study import open_storage, open_study, read_study
from pipeline.search.prior import PRIOR, Prior
from pipeline.search.samplers import make_sampler
from pipeline.search.session import _prior
from pipeline.search.space import Space
from tests.pipeline.test_hostile_databases import change

EVIL = '{"name": "Evil", "attributes": {}}'
CONTENTS = {
    "distribution": "update trial_params set distribution_json='x'",
    "unknown distribution": f"update trial_params set distribution_json='{EVIL}'",
    "choice out of range": "update trial_params set param_value=1e9",
    "no parameter": "update trial_params set param_value=NULL",
    "attribute": "insert into trial_user_attributes values (9999, 1, 'x', '{')",
    "deep attribute": "insert into trial_user_attributes values "
    f"(9999, 1, 'x', '{'[' * 100_000}')",
    "attribute of the study": "insert into study_user_attributes values (9999, 1, 'x', '[1,')",
    "fingerprint": "insert into study_user_attributes values (9999, 1, 'fingerprint', '5')",
    "deciding": "insert into study_user_attributes values (9999, 1, 'deciding', '5')",
    "settings in it": "insert into study_user_attributes values "
    "(9999, 1, 'deciding', '{\"study.round\": \"{\"}')",
    "numbers in it": "insert into study_user_attributes values "
    "(9999, 1, 'fingerprint', '{\"a\": 1}')",
    "space in it": "insert into study_user_attributes values "
    "(9999, 1, 'fingerprint', '{\"space a\": \"[]\"}')",
    "origin": "insert into trial_user_attributes values (9999, 1, 'forked_from', '5')",
    "nets": "insert into trial_user_attributes values (9999, 1, 'nets', '[\"a\", 2]')",
    "prior": "insert into study_user_attributes values (9999, 1, 'prior', '{\"first\": 5}')",
    "configuration of a prior": "insert into study_user_attributes values (9999, 1, 'prior', "
    "'{\"first\": [[5, \"old\"]], \"evidence\": [], \"most\": 1, \"lines\": []}')",
    "rank in a prior": "insert into study_user_attributes values (9999, 1, 'prior', "
    "'{\"first\": [], \"evidence\": [[{}, \"x\"]], \"most\": 1, \"lines\": []}')",
    "round": "insert into study_user_attributes values (9999, 1, 'round', '[[0, 1]]')",
    "negative round": "insert into study_user_attributes values (9999, 1, 'round', '[[-1, 0, 1]]')",
    "samplers": "insert into study_user_attributes values "
    "(9999, 1, 'auto_sampler', '[\"evil\", \"tpe\", \"\"]')",
    "grid": "insert into trial_system_attributes values (9999, 1, 'grid_point', '\"x\"')",
    "generation": "insert into trial_system_attributes values "
    "(9999, 1, 'NSGAIISampler:generation', '[]')",
    "state": "update trials set state='EVIL'",
    "negative number": "update trials set number=-1",
    "no number": "update trials set number=NULL",
    "number twice": "update trials set number=7",
    "number left out": "update trials set number=number + 1 where number > 40",
    "start": "update trials set datetime_start='x'",
    "no value": "update trial_values set value=NULL",
    "value": "update trial_values set value='abc'",
    "kind of value": "update trial_values set value_type='X'",
    "values": "delete from trial_values",
    "epoch's value": "update trial_intermediate_values set intermediate_value='abc'",
    "directions": "delete from study_directions",
    "direction": "update study_directions set direction='X'",
    "direction not set": "update study_directions set direction='NOT_SET'",
    "table": "drop table trial_values",
    "revision": "update alembic_version set version_num='x'",
    "revisions": "insert into alembic_version values ('x'), ('y')",
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, made_study: Path) -> Path:
    shutil.copytree(made_study, tmp_path / "root" / "made")
    return tmp_path / "root"


def wrong_of(root: Path) -> list[str]:
    """Return what the doctor finds wrong and cannot mend, of two studies at least."""
    found = examine(compose([f"root={root}"]), fix=True)
    assert {"study made", "study next"} <= {finding.about for finding in found}
    return [finding.line() for finding in found if finding.wrong]


def resume(root: Path) -> None:
    paths = StudyPaths(root, "made")
    open_study(paths, open_storage(paths), ["maximize"], {}, "code")


def read(root: Path) -> None:
    study = read_study(StudyPaths(root, "made"))
    study.get_trials(), study.user_attrs, study.directions


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("look", [read, resume])
def test_what_no_sweep_wrote_is_refused_by_name(
    root: Path, kind: str, look: Callable[[Path], None]
) -> None:
    change(root / "made" / "study.db", CONTENTS[kind])
    if look is resume and kind == "table":
        return  # Optuna makes the tables that are not there
    with pytest.raises(InputError, match=r"its database must (hold what|be readable)") as caught:
        look(root)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", CONTENTS)
def test_the_doctor_tells_of_it_and_goes_on_to_the_next_study(
    root: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.doctor._environment", lambda config: [])
    shutil.copytree(root / "made", root / "next")
    change(root / "made" / "study.db", CONTENTS[kind])
    change(root / "next" / "study.db", "update studies set study_name='next'")
    wrong = wrong_of(root)
    assert len(wrong) == 1 and wrong[0].startswith("WRONG  study made: study: its database must ")


@pytest.mark.parametrize("command", [show, report])
def test_a_command_ends_in_one_line(
    root: Path, command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    change(root / "made" / "study.db", CONTENTS["state"])
    words = [f"root={root}", "study.name=made"]
    assert command_line(command.COMMAND, words, command.main) == 2  # type: ignore[attr-defined]
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: study: its database must hold what this program wrote, got ")
    assert "\n" not in said


def test_control_characters_of_it_are_not_shown(root: Path) -> None:
    change(root / "made" / "study.db", "update trials set state='a' || char(27) || '[2J'")
    with pytest.raises(InputError, match="must hold what") as caught:
        read(root)
    assert "\x1b" not in str(caught.value)


def test_a_folder_in_the_owners_place_is_a_finding_of_its_study(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.doctor._environment", lambda config: [])
    shutil.copytree(root / "made", root / "next")
    change(root / "next" / "study.db", "update studies set study_name='next'")
    (root / "made" / "owner.json").unlink(missing_ok=True)
    (root / "made" / "owner.json").mkdir()
    wrong = wrong_of(root)
    assert len(wrong) == 1 and wrong[0].startswith("WRONG  study made: ")
    assert "owner.json" in wrong[0]


def test_the_doctor_removes_no_trial_to_which_a_link_of_prepared_data_leads(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.doctor._environment", lambda config: [])
    trial = root / "made" / "trials" / "3"
    trial.mkdir(parents=True, exist_ok=True)
    (trial / "manifest.json").write_text("{}")
    (root / "prepared").symlink_to(root / "made" / "trials")
    examine(compose([f"root={root}"]), fix=True)
    assert (trial / "manifest.json").exists()
    (root / "prepared").unlink()
    (root / "prepared").mkdir()
    (root / "prepared" / "link").symlink_to(trial)
    examine(compose([f"root={root}"]), fix=True)
    assert (trial / "manifest.json").exists()


SPACE = Space.parse({"a": {"int": [1, 4]}, "kind": {"choice": ["x", "y"]}})


@pytest.mark.parametrize("params", [{"b": 1}, {"a": 9}, {"a": "x"}, {"kind": "z"}])
def test_a_prior_whose_values_are_not_of_the_space_is_refused(params: dict[str, Any]) -> None:
    study = optuna.create_study(study_name="made")
    for first, evidence in (([(params, "old t001")], []), ([], [(params, 0.5)])):
        stored = Prior(first, evidence, 2, []).stored()
        study.set_user_attr(PRIOR, json.loads(json.dumps(stored)))
        with pytest.raises(InputError, match="'made': its prior must hold values of its space"):
            _prior(study, [], SPACE)
    study.set_user_attr(PRIOR, Prior([({"a": 1}, "old t001")], [], 2, []).stored())
    assert _prior(study, [], SPACE) == Prior([({"a": 1}, "old t001")], [], 2, [])


def test_a_point_that_the_grid_does_not_have_is_refused() -> None:
    sampler = make_sampler(SimpleNamespace(name="grid"), 0, SPACE)
    study = optuna.create_study(study_name="made", sampler=sampler)
    study.add_trial(create_trial(state=TrialState.WAITING, system_attrs={"grid_point": 8}))
    with pytest.raises(InputError, match=r"trial 0 must have one of the 8 points .* got number 8"):
        SPACE.suggest(study.ask())


@pytest.mark.parametrize("inside", [False, True])
def test_scores_are_not_written_through_a_link_beside_a_bundle(
    tmp_path: Path, inside: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who made the bundle may have made what lies beside it."""
    place, elsewhere = tmp_path / "received", tmp_path / "elsewhere"
    (place / "bundle").mkdir(parents=True)
    elsewhere.mkdir()
    link = place / "evaluation"
    if inside:
        link.mkdir()
        link = link / "file.json"
    link.symlink_to(elsewhere)
    words = [f"root={tmp_path}", f"bundle={place / 'bundle'}", "input=any.csv"]
    assert command_line(EVALUATE, words, evaluate) == 2
    said = capsys.readouterr().err
    assert "the evaluation beside it" in said and f"got the link {link}" in said
    assert not list(elsewhere.iterdir())
