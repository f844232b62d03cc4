"""Configuration at its edges: flags, places and plug-ins that are none, streams that are closed."""

import os
from importlib.metadata import EntryPoint
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cnn_core.errors import InputError
from cnn_core.plugins import Plugin
from pipeline import check
from pipeline.configuration import (
    Command,
    command_line,
    compose,
    hydra_tree,
    named_plugins,
    shell_lines,
    standard_streams,
)
from pipeline.configuration.help import print_help
from pipeline.configuration.named_plugins import load_named
from pipeline.configuration.preset_of_key import preset_of
from pipeline.configuration.undisturbed import undisturbed

BARE = Command(name="bare", sections=())
FULL = Path("/dev/full")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--quiet=yes"], "--quiet: takes no value, got '--quiet=yes'"),
        (["--config-dir", "it's"], "--config-dir: must be a folder without quotes and backslashes"),
        (["plugins=[1]"], "plugins: must be a list of files, such as [./my_net.py], got [1]"),
        (["plugins=['']"], "plugins: must be a list of files, such as [./my_net.py], got ['']"),
    ],
)
def test_what_cannot_be_taken_is_refused(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it's").mkdir()
    assert command_line(check.COMMAND, words, check.main) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_check_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(check.COMMAND, [], check.main) == 2
    assert "plugins: must name what is to be checked, as plugins=[./my_net.py], got []" in (
        capsys.readouterr().err
    )


def test_an_installed_plug_in_must_have_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without __init__.py is a module too, but has none; another is not there at all."""
    (tmp_path / "hollow_parts").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("hollow_parts", "parts_that_are_gone"):
        entry = EntryPoint("mine", module, named_plugins.GROUP)
        monkeypatch.setattr(named_plugins, "entry_points", lambda group, entry=entry: [entry])
        with pytest.raises(InputError, match=f"mine must be a module with a file, got {module}"):
            load_named(["plugins=[mine]"])


def test_help_of_a_command_that_says_little_has_no_empty_parts() -> None:
    console = Console(width=100, record=True, file=StringIO())
    print_help(BARE, console)
    text = console.export_text()
    assert text.startswith("python -m pipeline.bare [GROUP=CHOICE ...] [KEY=VALUE ...]\n\nKeys,")
    for title in ("Examples", "Keys of this command", "Groups", "Spaces"):
        assert f"\n{title}" not in text


def test_a_configuration_that_was_not_installed_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydra_tree, "__file__", str(tmp_path / "pipeline" / "configuration" / "x"))
    with pytest.raises(InputError, match=f"config.yaml must be in {tmp_path}/pipeline/conf or"):
        hydra_tree.conf_dir.__wrapped__()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").touch()
    assert hydra_tree.conf_dir.__wrapped__() == tmp_path / "conf"


def test_no_preset_may_be_chosen_but_no_other_group_is_left_empty() -> None:
    plain = compose().node
    for words in (["experiment=null"], ["experiment=smoke", "experiment=null"]):
        assert compose(words).node == plain
    assert compose(["experiment=null", "experiment=smoke"]).node != plain
    with pytest.raises(InputError, match=r"optimizer: must be one of .*, got null"):
        compose(["optimizer=null"])


def test_a_preset_that_is_nowhere_has_set_nothing() -> None:
    assert preset_of("data.reserve: must be", ["experiment=nowhere"]) == ""


def test_a_printed_command_names_the_plug_ins_of_this_process_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts.py").write_text("OPTIMIZERS = {}\n")
    own = Plugin(tmp_path / "parts.py", "ab" * 32, object(), {})  # type: ignore[arg-type]
    monkeypatch.setattr(shell_lines, "loaded", lambda: (own,))
    named = f"plugins=[{tmp_path}/parts.py"
    line = shell_lines.command_of("show", tmp_path, "trial=3")
    assert line.startswith("python -m pipeline.show") and line.count(named) == 1
    line = shell_lines.command_of("show", tmp_path, "plugins=[other.py]")
    assert named not in line and "plugins=[other.py]" in line


def test_what_a_command_sets_in_the_environment_is_taken_away_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WAS_THERE", "before")
    monkeypatch.delenv("WAS_NOT", raising=False)
    with undisturbed():
        os.environ.update(WAS_THERE="changed", WAS_NOT="new")
    assert os.environ["WAS_THERE"] == "before" and "WAS_NOT" not in os.environ


def test_what_nobody_reads_leads_to_nowhere() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        stream = standard_streams._lasting(pipe, writing)
        os.close(reading)
        for _ in range(2):
            print("gone", file=stream, flush=True)
        assert os.fstat(writing).st_rdev == Path(os.devnull).stat().st_rdev
        stream.detach()  # type: ignore[attr-defined]


@pytest.mark.skipif(not FULL.exists(), reason="there is no full device here")
def test_a_disk_that_is_full_is_told_and_not_taken_for_a_reader_that_left() -> None:
    with FULL.open("w", encoding="utf-8") as full:
        raw = standard_streams._Lasting(full.fileno(), "w", closefd=False)
        with pytest.raises(OSError, match="No space left"):
            raw.write(b"much")
        assert os.fstat(full.fileno()).st_rdev == FULL.stat().st_rdev


def test_a_stream_of_another_kind_is_left_alone() -> None:
    class Notebook:
        pass

    stream = Notebook()
    assert standard_streams._lasting(stream, 1) is stream  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize("lowest", [True, False])
def test_a_closed_descriptor_is_occupied(*, lowest: bool) -> None:
    """Else the file that is opened next got what is printed: also where a lower one is free."""
    closed = os.open(os.devnull, os.O_RDONLY)
    if not lowest:
        closed = os.dup2(closed, closed + 50)
        os.close(closed - 50)
    os.close(closed)
    try:
        with standard_streams._lasting(None, closed) as stream:
            print("nothing", file=stream)
        assert os.fstat(closed).st_rdev == Path(os.devnull).stat().st_rdev
        assert os.get_inheritable(closed)
    finally:
        os.close(closed)


def test_more_values_than_the_grammar_reads_in_seconds_are_refused() -> None:
    with pytest.raises(InputError, match=r"at most 5,000 values, got 20,001 in 'model.hidden="):
        compose([f"model.hidden=[{'1,' * 20_000}1]"])
