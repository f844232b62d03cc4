"""Files of ours that are damaged, or that a stranger wrote: what each reader makes of them is what
it documents, never a traceback.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_core import plain_json
from cnn_core.errors import InputError
from cnn_core.plain_json import DamagedError, parse_json
from cnn_core.plain_text import safe_cell
from cnn_core.spec import DataSpec, ModelSpec, Spec
from pipeline import journal, structured_text
from pipeline.configuration import compose
from pipeline.data.preparation import _look_up
from pipeline.data.proxy import _known
from pipeline.ensemble.assemble import _trial_weights
from pipeline.ensemble.candidates import StoredStudy, _order
from pipeline.ensemble.ends import read_ends
from pipeline.events import EpochDone, TrialEnded
from pipeline.files import StudyPaths, TrialPaths
from pipeline.predictions.id_match import match_ids
from pipeline.predictions.ledger import append_to_ledger
from pipeline.predictions.submission import IdRows
from pipeline.records.ensemble_record import read_ensemble
from pipeline.records.time_plans import read_times
from pipeline.reporting.facts import _json
from pipeline.reporting.prospect import used_seconds
from pipeline.reporting.table import confirmed_metrics
from pipeline.search.budget import _stored
from pipeline.search.fitting import _kept
from pipeline.search.space import searched
from pipeline.search.study_clock import StudyClock
from pipeline.slots.owner_lock import read_owner
from pipeline.structured_text import (
    append_rows,
    csv_lines,
    own_bytes,
    parse_yaml,
    plain_cell,
    read_csv,
    read_json,
    read_yaml,
)
from pipeline.tracking.mlflow_sender import backlog
from pipeline.tracking.run_files import trial_artifacts
from pipeline.trial_folder import TrialFolder
from pipeline.whole_sweep import is_evaluated, is_exported
from tests.ends import ended
from tests.pipeline.made_manifest import made_manifest
from tests.pipeline.studies import epoch_done

HUGE, LARGE = "9" * 5000, "9" * 400
DAMAGED = {
    "nothing": "", "null": "null", "list": "[1, 2]", "text": '"x"', "number": "5",
    "deep": "[" * 100_000, "deep and whole": '{"a":' * 900 + "1" + "}" * 900,
    "torn": '{"used_s": 1', "not UTF-8": b'{"a": "\xff"}', "zeros": b"\0" * 100,
    "other fields": '{"a": 1}', "bombs": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
    "tagged": "!!python/object/apply:os.getcwd []", "tabs": "a,b\n1,2,3\n\t,",
    "quotes": 'trial,state\n"1,COMPLETE',
    "digits": "trial,state,mean,std,lower_95,seeds\n²,COMPLETE,1,1,1,1",
    **{
        f"{name} of {value[:12]}": '{"used_s": %s, "digest": %s, "fitted": %s, "data": %s, '
        '"slots": %s, '
        '"epochs": %s, "trials": %s, "epoch_s": %s, "number": %s, "seed": %s, "overrides": %s, '
        '"sha256": %s, "offset": %s, "store": %s, "asked": %s, "nets": %s, "members": %s, '
        '"name": %s, "shape": %s, "classes": %s, "understood": %s, "pid": %s, "host": %s, '
        '"boot": %s, "start": %s, "event": "TrialEnded", "time_s": %s}' % ((value,) * 26)
        for name, value in {
            "fields": "null", "huge": HUGE, "large": LARGE, "infinite": "1e999", "nan": "NaN",
            "nested": "[[1]]", "mapping": '{"weights.npz": {}}', "text": '"²"', "false": "false",
        }.items()
    },
}  # fmt: skip


def readers(root: Path, file: Callable[[str], Path]) -> dict[str, Callable[[], object]]:
    """Return every reader of a file of ours, each with its file in a study below `root`."""
    paths, here = StudyPaths(root, "got"), root / "got"
    trial = TrialFolder(TrialPaths(root / "got" / "trials" / "0"))
    data = DataSpec(folder="x", digest="d", image_shape=(1, 8, 8), classes=10)
    spec = Spec(data=data, model=ModelSpec(), optimizer={"name": "sgd", "lr": 0.1})
    config = compose([f"root={root}", "study.name=got"])
    end = ended("COMPLETE", folder=trial.paths.folder)

    def of(name: str, call: Callable[[], object]) -> Callable[[], object]:
        return lambda: (file(name), call())[1]

    return {
        "overrides": of("trials/0/overrides.yaml", trial.read),
        "artifacts": of(
            "trials/0/overrides.yaml", lambda: trial_artifacts(end, "t", {}, figures=False)
        ),
        "history": of("trials/0/history.csv", trial.history),
        "rows": of("trials/0/history.csv", lambda: trial.rows(None)),
        "result": of("trials/0/result.json", lambda: trial.result(spec)),
        "any result": of("trials/0/result.json", lambda: trial.result(None)),
        "manifest": of(
            "trials/0/manifest.json",
            lambda: (file("trials/0/weights.npz"), _trial_weights(paths, 0)),
        ),
        "journal": of("events.jsonl", lambda: journal.read_all(here)),
        "owner": of("owner.json", lambda: read_owner(paths.owner)),
        "clock": of("clock.json", lambda: StudyClock(here / "clock.json", 1)),
        "seconds": of("clock.json", lambda: used_seconds(here)),
        "confirmed": of("confirmed.csv", lambda: confirmed_metrics(here)),
        "leaderboard": of("leaderboard.csv", lambda: _order(StoredStudy(paths))),
        "plan": of("calibration.json", lambda: _stored(here / "calibration.json")),
        "fitted": of("fitted.json", lambda: _kept(config, data)),
        "ends": of("final/epochs.json", lambda: read_ends(paths, [], 1.0)),
        "times": of("time.json", lambda: read_times(paths)),
        "ensemble": of("e.json", lambda: read_ensemble(here / "e.json")),
        "figures": of("e.json", lambda: _json(here / "e.json")),
        "position": of("replayed.json", lambda: (file("events.jsonl"), backlog(here))),
        "openings": of(
            "evaluation/openings.csv",
            lambda: (file("evaluation/test.json"), is_evaluated(paths, "d")),
        ),
        "bundle": of("bundle/manifest.json", lambda: is_exported(paths, "d")),
        "mark": of("mark.json", lambda: _known(here / "mark.json")),
        "index": of("index/i.json", lambda: _look_up(here / "index" / "i.json")),
    }


NAMES = sorted(readers(Path("/nowhere"), lambda name: Path(name)))


@pytest.mark.parametrize("reader", NAMES)
def test_a_damaged_file_is_told_of_or_left_out(tmp_path: Path, reader: str) -> None:
    for kind, content in DAMAGED.items():
        raw = content.encode() + b"\n" if isinstance(content, str) else content

        def write(name: str, raw: bytes = raw) -> Path:
            path = tmp_path / "got" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
            return path

        try:
            readers(tmp_path, write)[reader]()
        except InputError as error:
            assert "got" in str(error) and len(str(error)) < 1000, kind


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
@pytest.mark.parametrize(
    "text",
    ["[" * 61 + "]" * 61, "[" * 100_000, '{"a": ' + "1" * 41 + "}", "-" + HUGE, "{", '{"a" 1}'],
)
def test_what_is_beyond_the_limits_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(DamagedError, match=r"must (be|have)"):
        parse(text)


def test_what_is_within_them_is_read_as_python_does() -> None:
    value = {"a": [1, -(10**39), 0.5, None, True, "é"], "b": {"c": [[[]]]}}
    assert parse_json(json.dumps(value)) == value
    assert parse_yaml(json.dumps(value)) == value
    assert parse_json("[" * 60 + "]" * 60) is not None
    assert math.isinf(parse_json("Infinity")) and math.isnan(parse_json("NaN"))


@given(
    st.recursive(st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(), st.lists)
)
def test_whatever_json_holds_is_read_back(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


def test_a_date_in_yaml_is_text_as_in_hydra() -> None:
    assert parse_yaml("[2026-11-29, 2026-11-29 10:00:00]") == ["2026-11-29", "2026-11-29 10:00:00"]


@pytest.mark.parametrize(
    "text",
    [
        *("&a [1]\n--- *a", "a: *b", "x: &x [*x]", "!!set {a}: ["),
        *(
            "!!timestamp 2020-01-01",
            "!!binary aGk=",
            "!!set {a, b}",
            "!!omap [a: 1]",
            "!!pairs [a: 1]",
            '!!int ""',
            "!!int _",
            "!!float ''",
            "!!float _",
            "!!bool x",
            "!!null x",
            "!!str 1",
            "!!seq [1]",
            "!!map {a: 1}",
            "!a 1",
            "! 1",
            "<<: 1",
            "<<: [1]",
            "? [a]\n: b",
            "=",
            "0x_",
            "0b_",
        ),
    ],
)
def test_yaml_that_is_more_than_plain_values_is_refused(text: str) -> None:
    with pytest.raises(DamagedError):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1:30", 90), ("1:30.5", 90.5), ("0_", 0), ("<<: {a: 1}", {"a": 1}), ("a: ", {"a": None})],
)
def test_yaml_of_other_spellings_is_read_as_hydra_does(text: str, value: object) -> None:
    assert parse_yaml(text) == value


def test_as_many_values_as_would_fill_memory_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = ((plain_json, "MOST_VALUES"), (structured_text, "MOST_CELLS"))
    for module, name in (*limits, (structured_text, "MOST_NODES")):
        assert getattr(module, name) >= 50_000
        monkeypatch.setattr(module, name, 12)
    assert parse_json("[[], {}, [], 1, 2, 3, 4]") == parse_yaml("[[], {}, [], 1, 2, 3, 4]")
    for text in ("[[], {}, [], 1, 2, 3, 4, [], 5]", b"[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"):
        with pytest.raises(DamagedError, match="must hold at most 12 values, got 13"):
            parse_json(text)
    with pytest.raises(DamagedError, match="more than 12 values"):
        parse_yaml("[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]")
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n5,6\n")
    assert len(read_csv(path)) == 3
    for text in ("a,b\n1,2\n3,4\n5,6\n,\n", "\n" * 13):
        path.write_text(text)
        with pytest.raises(DamagedError, match=r"at most 12 rows and cells, got more in .*a\.csv"):
            read_csv(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1\n", "must have 2 cells a row, got 1 in row 2 in .*a.csv"),
        (b"a\n\xff\n", "must be text in UTF-8, got invalid start byte in .*a.csv"),
        (b'a\n"x"y\n', "must be CSV, got .* in .*a.csv"),
    ],
)
def test_a_damaged_table_is_told_of_with_its_place(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DamagedError, match=message):
        read_csv(tmp_path / "a.csv")


def test_a_damaged_ledger_of_predictions_is_told_of_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "submissions.csv").write_bytes(b"time\n\xff\n")
    (tmp_path / "labels.txt").write_text("a\n")
    with pytest.raises(InputError, match=r"must be text in UTF-8.*the predictions are written"):
        append_to_ledger(
            tmp_path, tmp_path / "labels.txt", 1, tmp_path, made_manifest((1, 2, 2), 2)
        )


def test_files_are_read_up_to_a_limit_and_never_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert own_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(DamagedError, match="at most 4 bytes"):
        own_bytes(tmp_path / "file", 4)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DamagedError, match="plain file"):
            own_bytes(path)
    (tmp_path / "list").write_text("[1]")
    for read in (read_json, read_yaml):
        with pytest.raises(DamagedError, match=r"must hold a mapping, got list in .*list"):
            read(tmp_path / "list")


FIELDS: dict[str, Any] = {"number": "x", "epochs": 1.5, "state": "ODD", "objective": {"a": 1},
                          "reason": None, "duration_s": True, "folder": 5, "extra": {"a": "b"},
                          "time_s": math.nan, "trials": None}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_an_event_with_a_field_of_another_type_is_none(name: str) -> None:
    fields = json.loads(journal.encode(ended("COMPLETE")))
    assert isinstance(journal.decode(json.dumps(fields)), TrialEnded)
    known = name in {field.name for field in dataclasses.fields(TrialEnded)}
    assert (journal.decode(json.dumps({**fields, name: FIELDS[name]})) is None) == known


@pytest.mark.parametrize("number", [10**300, LARGE, 1e999, -1e300])
def test_an_event_of_no_date_is_none(number: object) -> None:
    line = journal.encode(epoch_done(0, 1)).replace(
        json.dumps(epoch_done(0, 1).time_s), str(number).replace("inf", "1e999")
    )
    assert str(number)[:5].replace("inf", "1e999") in line
    assert journal.decode(line) is None


def test_a_line_without_an_end_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_LINE_BYTES", 1000)
    line = journal.encode(epoch_done(0, 1)) + "\n"
    (tmp_path / journal.FILE_NAME).write_text("x" * 5000 + "\n" + line + "y" * 2500)
    found = list(journal.read(tmp_path / journal.FILE_NAME))
    assert [type(event) for event, _ in found] == [type(None), EpochDone]
    assert found[-1][1] == 5001 + len(line)


@pytest.mark.parametrize(
    "text",
    [
        f"study.seed={HUGE}", f"study.seed={LARGE}", f"optimizer.lr={LARGE}",
        "study.enqueue=" + "[" * 5000 + "]" * 5000, "study.enqueue=" + "[" * 61 + "]" * 61,
        "hydra.searchpath=5", "hydra.searchpath=conf", "hydra.searchpath=null",
        "hydra.searchpath=[5]", "hydra.searchpath={a:1}", "space={null:{int:[1,2]}}",
    ],
)  # fmt: skip
def test_an_override_without_measure_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(InputError, match=r"must (be|hold)"):
        compose([text])


@pytest.mark.parametrize(
    "line",
    [
        "{float:[0,1],step:1e-320}", "{float:[0,1e308],step:1e-300}", "{float:[0,1],step:inf}",
        "{float:[-1e308,1e308]}", "{int:[1,2],step:inf}", "{int:[1,9007199254740993]}",
        f"{{int:[1,{'9' * 39}]}}", f"{{int:[1,2],step:{'9' * 39}}}", "{int:null}", "null",
    ],
)  # fmt: skip
def test_a_space_without_measure_is_refused_in_a_line(line: str) -> None:
    with pytest.raises(InputError, match="space"):
        searched(compose([f"space={{model.filters:{line}}}"]))


@pytest.mark.parametrize(
    "content",
    ["[1]", "5", "defaults: 5", "defaults: [[[]]]", "a: " + "[" * 3000, f"study: {{seed: {HUGE}}}",
     "study: {seed: !!int x}", "\x00", "defaults: [{a: {b: c}}]", "? [a]\n: b"],
)  # fmt: skip
def test_a_preset_that_is_no_configuration_is_refused_in_a_line(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "odd.yaml").write_text(content)
    with pytest.raises(InputError):
        compose([f"hydra.searchpath=['file://{tmp_path}']", "experiment=odd"])


CELLS = ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\tx", "\r=1", "  =1"]


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_that_a_spreadsheet_would_compute_gets_an_apostrophe(cell: str) -> None:
    assert plain_cell(cell) == f"'{cell}"
    assert csv_lines([[cell, "x"]]).lstrip('"').startswith("'")


@pytest.mark.parametrize(
    "cell", ["", "a=1", "-0.5", "+1e-05", "-inf", "nan", "t001 a-b", -1.5, None]
)
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert plain_cell(cell) == cell


def test_rows_are_appended_below_one_header_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "x.csv"
    for n in range(2):
        append_rows(path, ["a", "b"], [[str(n), "=cmd(),\n'"]])
    assert read_csv(path) == [{"a": str(n), "b": "'=cmd(),\n'"} for n in range(2)]


def test_a_label_that_a_spreadsheet_would_compute_is_refused_and_signs_are_not() -> None:
    with pytest.raises(InputError, match="a label must not begin with"):
        IdRows(None, ["a", "=cmd()"], "id", all_classes=False)  # type: ignore[arg-type]
    assert [safe_cell(sign) for sign in "+-=@"] == ["+", "-", "=", "@"]
    with pytest.raises(InputError, match="one line of text"):
        safe_cell("a\x9b2J")


def test_ids_of_many_digits_are_names() -> None:
    wanted = ["9" * 6000, "8" * 30]
    rows, _ = match_ids(wanted, wanted[::-1], False, "template")
    assert np.array_equal(rows, [1, 0])
    rows, _ = match_ids(wanted, ["1", "2"], True, "template")
    assert np.array_equal(rows, [0, 1])
