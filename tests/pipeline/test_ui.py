"""The command behind `make ui`: its links, its store, its refusals."""

import os
import socket
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cnn_core.errors import InputError
from pipeline import ui
from pipeline.configuration import command_line, command_of, compose
from pipeline.tracking import store
from pipeline.tracking.mlflow_view import runs_link, view_key
from pipeline.tracking.store import resolve_uri, store_key


def query(link: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(link.replace("/#", "")).query)


def test_the_links_open_the_training_view_sorted_by_objective() -> None:
    link = runs_link("7", study="it's mine")
    assert link.startswith("http://127.0.0.1:5000/#/experiments/7/runs?")
    found = query(link)
    assert found["workflowType"] == ["machine_learning"]
    assert found["orderByKey"] == ["metrics.`objective`"]
    assert found["orderByAsc"] == ["false"]
    assert "compareRunsMode" not in found
    assert query(runs_link("7", charts=True))["compareRunsMode"] == ["CHART"]


def test_the_store_is_an_absolute_database_below_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_uri(None, Path("out")) == f"sqlite:///{tmp_path}/out/mlflow.db"
    assert resolve_uri("http://127.0.0.1:1", Path("out")) == "http://127.0.0.1:1"
    assert store_key("a") != store_key("b")
    assert command_of("ui", Path("it's")) == """python -m pipeline.ui 'root='"'"'it\\'"'"'s'"'"''"""
    assert command_of("ui", Path.cwd() / "outputs") == "python -m pipeline.ui", (
        "the usual one need not be named"
    )


def test_the_server_listens_on_this_machine_with_that_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "")  # and taken away again
    command = ui.server_command("sqlite:////x/mlflow.db", tmp_path, 5055)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////x/mlflow.db"
    assert "sqlite" not in " ".join(command), "every user of the machine can read arguments"
    assert command[command.index("--default-artifact-root") + 1] == f"file://{tmp_path}/mlartifacts"
    assert Path(sys.executable).parent == Path(os.environ["PATH"].split(os.pathsep)[0])
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_root_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "outptus"
    assert command_line(ui.COMMAND, [f"root={missing}", "port=5999"], ui.main) == 2
    assert f"got {missing}, which is not there" in capsys.readouterr().err
    assert not missing.exists()


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"port: must be free on 127.0.0.1, got {port}.*port={port + 1}"
        ):
            ui.refuse_used_port(port)


def test_the_command_prints_both_links_and_becomes_the_server(
    mlflow_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class BecameError(Exception):
        pass

    def become(path: str, arguments: list[str]) -> None:
        raise BecameError(path, arguments)

    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    with pytest.raises(BecameError) as became:
        ui.main(compose([f"root={mlflow_root}", "port=5077"], ui.COMMAND))
    assert "server" in became.value.args[1]
    lines = capsys.readouterr().out.splitlines()
    assert "http://127.0.0.1:5077/#/experiments/" in lines[0]
    assert query(lines[0])["viewStateShareKey"] == [view_key(None)]
    assert lines[1].endswith("compareRunsMode=CHART")


def test_a_root_that_was_moved_is_told_before_its_store_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def opened(*_: object) -> None:
        raise RuntimeError("http://ann:Zq7kXw@host is down\nand more")

    monkeypatch.setattr(store, "brought_home", lambda uri, root: [f"moved: {root}"])
    monkeypatch.setattr(store, "open_store", opened)
    with pytest.raises(InputError, match=r"that opens, got sqlite:.*\(http://.*host is down\)$"):
        ui.main(compose([f"root={tmp_path}", "port=5078"], ui.COMMAND))
    assert capsys.readouterr().out == f"moved: {tmp_path}\n"
