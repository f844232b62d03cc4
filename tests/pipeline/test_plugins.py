"""Parts from a user's own files: loaded where the command line names them and nowhere else, trained
in workers, known by their digest, refused with file and line.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from cnn_core.errors import InputError
from cnn_core.plugin_source import PluginSpec, digest_of
from cnn_core.plugins import load, loaded, require
from cnn_core.schedules import SCHEDULES
from cnn_core.spec import DataSpec
from pipeline import check, export, final, predict, prepare, replay, study, sweep
from pipeline.bundle.predict_py import standalone_source
from pipeline.configuration import SWEEP, Command, command_line, compose, named_plugins, spec_of
from pipeline.configuration.named_plugins import ALL_KINDS, load_named
from pipeline.configuration.overrides import parse_override
from pipeline.search.fingerprint import fingerprint
from pipeline.search.space import Space
from pipeline.slots.worker import invoke
from tests.pipeline.plugged import NET_PARTS, STUDY_PARTS, example, fresh, write

PARTS = {**example(), "net_parts.py": NET_PARTS, "study_parts.py": STUDY_PARTS}
NAMED = "plugins=[./my_parts.py,./net_parts.py,./study_parts.py]"
IMAGES = DataSpec(folder="nowhere", digest="0" * 64, image_shape=(1, 8, 8), classes=10)
TINY = ("slots.n=1", "tracking=none", "train.epochs=1", "train.batch_size=20", "root=out")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the plug-ins in it."""
    write(tmp_path, PARTS)
    monkeypatch.chdir(tmp_path)
    with fresh():
        yield tmp_path


def run(command: Command, main: object, *argv: str) -> int:
    return command_line(command, argv, main)  # type: ignore[arg-type]


def begun(*argv: str) -> int:
    """Run a command as another process would: nothing is loaded."""
    with fresh():
        return run(*COMMANDS[argv[0]], *argv[1:])


COMMANDS = {
    "sweep": (SWEEP, sweep.main),
    "replay": (replay.REPLAY, replay.main),
    "final": (final.FINAL, final.main),
    "export": (export.COMMAND, export.main),
    "predict": (predict.COMMAND, predict.main),
    "prepare": (prepare.COMMAND, prepare.main),
    "check": (check.COMMAND, check.main),
}


def test_each_kind_is_trained_in_a_worker_and_replayed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (
        *("model=all_convolutional", "optimizer=lion", "schedule=linear", "augment.darken=0.5"),
        *("model.activation=softsign", "data=stripes", "sampler=halton", "pruner=floor"),
        *("space={model.filters:{int:[2,8]}}", "study.enqueue=[]", "budget.trials=2"),
    )
    assert begun("sweep", NAMED, *whole, *TINY) == 0, capsys.readouterr().err
    stored = (folder / "out/stripes/trials/0/overrides.yaml").read_text()
    assert f"{folder}/net_parts.py@{digest_of(folder / 'net_parts.py')}" in stored
    asked = ("replay", "root=out", "study.name=stripes", "trial=0", "slots.n=1")
    assert begun(*asked, NAMED) == 0
    assert begun(*asked) == 2
    assert "loaded only where the command line names it" in capsys.readouterr().err
    # The same study with a changed file is another: resumed, replayed or taken further.
    (folder / "net_parts.py").write_text(NET_PARTS.replace("1 - step", "1.0 - step"))
    old, new = digest_of_text(NET_PARTS), digest_of(folder / "net_parts.py")
    assert begun(*asked, NAMED) == 2
    refused = capsys.readouterr().err
    assert f"net_parts.py of digest {old}, got {new} at {folder}/net_parts.py" in refused
    assert begun("final", "root=out", "study.name=stripes", "slots.n=1", NAMED) == 2
    assert f"{old}, got {new}" in capsys.readouterr().err
    assert begun("sweep", NAMED, *whole, *TINY) == 2
    refused = capsys.readouterr().err
    assert f'"net_parts.py": "{old}"' in refused and f'"net_parts.py": "{new}"' in refused
    (folder / "net_parts.py").unlink()
    assert begun(*asked, NAMED) == 2
    assert f"got {folder}/net_parts.py, which is not there" in capsys.readouterr().err


def digest_of_text(text: str) -> str:
    path = Path("before") / "net_parts.py"
    write(Path(), {str(path): text, **{f"before/{k}": v for k, v in PARTS.items() if "/" in k}})
    return digest_of(path)


TITLES = (
    *("optimizer lion", "net all_convolutional", "layer softsign", "schedule linear"),
    *("augmentation darken", "sampler halton", "pruner floor", "data source stripes"),
)


def test_the_example_of_the_documentation_keeps_the_laws(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begun("check", NAMED) == 0
    said = capsys.readouterr().out
    for title in TITLES:
        assert title in said
    assert "FAILED" not in said


WRONG_SLOPE = NET_PARTS.replace("np.square(1 - np.abs(y))", "(1 - np.abs(y))")
LOST_STATE = """
from dataclasses import dataclass
from cnn_core.optimizers import Optimizer

@dataclass(kw_only=True)
class Forgetful(Optimizer):
    def __post_init__(self):
        super().__post_init__()
        self.past = {}

    def update_one(self, p, g, state, lr, t, work):
        v = self.past[len(p)] = 0.9 * self.past.get(len(p), 0.0) - lr * g
        p += v

OPTIMIZERS = {"forgetful": Forgetful}
"""
IMPORTS = NET_PARTS.replace("np.asarray(x / (1", "np.asarray(softsign_of(x / (1").replace(
    "np.abs(x)), np.float32)", "np.abs(x))), np.float32)"
)
RAISES = NET_PARTS.replace("        return 1 - step / total_steps", "        return 1 / 0")


@pytest.mark.parametrize(
    ("text", "law", "says"),
    [
        (WRONG_SLOPE, "backward is the derivative", "dx must be the derivative"),
        (LOST_STATE, "a state continues to the same bits", "all that a step depends on"),
        (IMPORTS, "predict py computes what the net does", "NameError"),
        (RAISES, "factors are finite and not negative", "ZeroDivisionError: division by zero at"),
    ],
)
def test_a_broken_law_is_told_with_its_reason(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, law: str, says: str
) -> None:
    write(folder, {"broken/mine.py": text})
    assert begun("check", "plugins=[broken/mine.py]") == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    assert any(law in line and says in line for line in lines), lines


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\ndef broken(:\n", "mine.py:2: must be Python, got SyntaxError"),
        ("x = 1\n\nimport no_such_thing\n", "mine.py:3: must import, got ModuleNotFoundError"),
        ("def f():\n    raise SystemExit\nf()\n", "mine.py:2: must import, got SystemExit"),
        ("x = 1\nOPTIMIZERS = {}\n", "mine.py:2: OPTIMIZERS must map names"),
        ("OPTIMIZER = {'a': 1}\n", "must declare one of LAYERS, .*; did you mean OPTIMIZERS?"),
        ("x = 1\nOPTIMIZERS = {'a': 1}\n", "mine.py:2: OPTIMIZERS 'a': must be a subclass"),
        ("\n\nclass A:\n    pass\n\nOPTIMIZERS = {'a': A}\n", "mine.py:3: OPTIMIZERS 'a': must be"),
        ("def a(x): ...\nMODELS = {'a': a}\n", "mine.py:1: MODELS 'a': must be a function of 3"),
        ("def a(x, y, z): ...\nMODELS = {'A b': a}\n", "a name must be of a to z"),
        ("def a(x, y, z): ...\nMODELS = {'mlp': a}\n", "must be a new name, this one is the proj"),
        ("def a(x, y, z): ...\nAUGMENTATIONS = {'blur': a}\n", "must not be a setting of Augment"),
        (
            "from cnn_core.field_checks import setting\nfrom cnn_core.optimizers import Optimizer\n"
            "class A(Optimizer):\n    m: float = setting(0.1, 'm')\nOPTIMIZERS = {'a': A}\n",
            "mine.py:3: OPTIMIZERS 'a': must have @dataclass above it",
        ),
        (
            "from cnn_core.layers import Layer\nclass A(Layer):\n    kind = 'a'\nLAYERS={'a': A}\n",
            "mine.py:2: LAYERS 'a': must define infer",
        ),
        (
            "from cnn_core.layers import ReLU\nclass A(ReLU):\n    kind = 'b'\nLAYERS={'a': A}\n",
            "mine.py:2: LAYERS 'a': must be listed by its kind, 'b'",
        ),
        (
            "from cnn_core.layers import ReLU\nclass A(ReLU):\n    kind = 'a'\n    operation = "
            "'relu'\n    infer = staticmethod(abs)\nLAYERS={'a': A}\n",
            "must have an operation of its own, 'relu' is taken",
        ),
        (
            "from pipeline.configuration.sampler_settings import SamplerSettings as S\n"
            "class A(S):\n    pass\nSAMPLERS={'a': A}\n",
            "mine.py:2: SAMPLERS 'a': must define sampler",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_line(
    folder: Path, text: str, says: str
) -> None:
    write(folder, {"wrong/mine.py": text})
    before = {kind: dict(ALL_KINDS[kind].table) for kind in ALL_KINDS}
    with pytest.raises(InputError, match=says.replace("(", r"\(").replace("?", r"\?")):
        load_named(["plugins=[wrong/mine.py]"])
    assert before == {kind: dict(ALL_KINDS[kind].table) for kind in ALL_KINDS}
    assert not loaded() and not [name for name in sys.modules if name.startswith("cnn_plugin_")]


BROKEN_NET = """
def broken(spec, classes, shape):
    return 1 / 0

MODELS = {"broken": broken}
"""


def test_what_is_there_but_no_plug_in_is_not_told_missing(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "notes.txt").touch()
    for name, says in (
        ("empty", "has no __init__.py"),
        ("notes.txt", "does not end in .py"),
        ("gone.py", "is not there"),
    ):
        with pytest.raises(InputError, match=f"{name}, which {says}"):
            load_named([f"plugins=[./{name}]"])


def test_an_error_in_the_code_of_a_plug_in_names_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, {"wrong/mine.py": BROKEN_NET, "wrong/late.py": RAISES})
    place = folder / "wrong"
    assert begun("sweep", "plugins=[wrong/mine.py]", "model=broken", *TINY) == 1
    said = capsys.readouterr().err
    assert said == f"error: plugins: {place}/mine.py:3: ZeroDivisionError: division by zero\n"
    load(place / "late.py")
    line = RAISES[: RAISES.index("return 1 / 0")].count("\n") + 1
    assert invoke(SCHEDULES["linear"](), (0, 1, 1)) == (
        "ZeroDivisionError",
        f"division by zero at {place}/late.py:{line}",
    )


def test_one_process_holds_one_plug_in_of_a_name(folder: Path) -> None:
    first = load(folder / "my_parts.py")
    assert load(folder / "my_parts.py") is first, "the same content is imported once"
    write(folder, {"other/parts.py": PARTS["my_parts.py"] + "\n# another\n"})
    with pytest.raises(InputError, match=rf"a new name, {folder}/my_parts.py declares it too"):
        load(folder / "other/parts.py")
    (folder / "my_parts.py").write_text(PARTS["my_parts.py"] + "\n# changed\n")
    with pytest.raises(InputError, match="loaded it before the file changed: start a new one"):
        load(folder / "my_parts.py")


def test_composing_never_loads_and_settings_are_checked_as_the_projects_own(folder: Path) -> None:
    stored = f"plugins=[{folder}/my_parts.py@{digest_of(folder / 'my_parts.py')}]"
    with pytest.raises(InputError, match="only where the command line names it"):
        compose([stored, "optimizer=lion"])
    assert not loaded()
    named = load_named(["plugins=./my_parts.py", "optimizer=lion"])
    assert named == [stored, "optimizer=lion"]
    config = compose([*named, "optimizer.beta1=0.5"])
    assert config.optimizer == {"name": "lion", "lr": 3e-4, "beta1": 0.5, "beta2": 0.99}
    for wrong, says in (
        ("optimizer.betta1=0.5", 'did you mean "optimizer.beta1"'),
        ("optimizer.beta1=1.5", "must be at least 0 and less than 1, got 1.5"),
        ("optimizer=loin", 'did you mean "lion"'),
        ("space=mien", 'did you mean "mine"'),
    ):
        with pytest.raises(InputError, match=says):
            compose([*named, wrong])
    with pytest.raises(InputError, match="lion is of a plug-in that must be named"):
        compose(["optimizer=lion"])
    assert dict(compose([*named, "space=mine"]).space)["optimizer"] == {"group": ["adam", "lion"]}


def test_python_names_plug_ins_as_the_command_line_does(folder: Path) -> None:
    for named in ("./my_parts.py", Path("my_parts.py")):
        config = study.compose("optimizer=lion", plugins=[named])
        assert [plugin.path for plugin in config.plugins] == [folder / "my_parts.py"]
        assert config.optimizer["name"] == "lion"


def test_a_refusal_says_what_a_shell_needs_to_be_given(folder: Path) -> None:
    place = folder / "näher dran" / "my parts.py"
    place.parent.mkdir()
    (folder / "my_parts.py").rename(place)
    (stored,) = load_named(["plugins=['näher dran/my parts.py']"])
    with pytest.raises(InputError, match="must be named, as ") as unnamed:
        compose(["optimizer=lion"])
    with fresh(), pytest.raises(InputError, match="only where the command line names it") as asked:
        compose([stored, "optimizer=lion"])
    for refusal, word in ((unnamed, " as "), (asked, "; give ")):
        (given,) = shlex.split(str(refusal.value).rpartition(word)[2])
        assert parse_override(given).value() == [str(place)]


def test_a_study_without_plug_ins_keeps_its_marks_whatever_is_loaded(folder: Path) -> None:
    def marks() -> tuple[str, dict[str, str], str]:
        config = compose(["model.filters=4"])
        spec = spec_of(config, IMAGES, (0,))
        return spec.digest(), fingerprint(config, Space(()), "d"), standalone_source()

    before = marks()
    named = load_named([NAMED])
    assert marks() == before
    with_them = compose([*named, "model.filters=4"])
    spec = spec_of(with_them, IMAGES, (0,))
    assert spec.digest() != before[0]
    assert [Path(plugin.path).name for plugin in spec.plugins] == ["my_parts.py", "net_parts.py"]
    assert set(fingerprint(with_them, Space(()), "d")) - set(before[1]) == {"plugins"}


def test_spaces_beside_a_plug_in_do_not_change_its_digest_other_files_do(folder: Path) -> None:
    before = digest_of(folder / "my_parts.py")
    write(folder, {"conf/space/other.yaml": "model.filters: {int: [2, 4]}\n"})
    assert digest_of(folder / "my_parts.py") == before
    write(folder, {"conf/optimizer/lion.yaml": "name: lion\nlr: 0.5\n"})
    assert digest_of(folder / "my_parts.py") != before
    assert compose(load_named(["plugins=./my_parts.py", "optimizer=lion"])).optimizer["lr"] == 0.5


def test_a_choice_needs_no_file_but_has_its_values_from_one(folder: Path) -> None:
    named = load_named(["plugins=./my_parts.py", "optimizer=lion"])
    assert compose(named).optimizer["lr"] == 3e-4
    write(folder, {"own/optimizer/lion.yaml": "name: lion\nlr: 0.25\n"})
    own = "hydra.searchpath=['file://" + str(folder / "own") + "']"
    assert compose([*named, own]).optimizer["lr"] == 0.25
    assert compose(named).optimizer["lr"] == 3e-4


def test_a_worker_refuses_a_file_that_is_another_than_was_named(folder: Path) -> None:
    path = str(folder / "net_parts.py")
    with pytest.raises(InputError, match=r"of digest 0{16}, got [0-9a-f]{16} at .*net_parts.py"):
        require([PluginSpec(path=path, digest="0" * 16)])
    with pytest.raises(InputError, match=r"got /nowhere/a.py, which is not there \(.+\)"):
        require([PluginSpec(path="/nowhere/a.py", digest="0" * 16)])


def test_a_worker_loads_what_trains_without_the_pipeline(folder: Path) -> None:
    code = (
        "import sys; from cnn_core.plugins import require, PluginSpec; "
        f"require([PluginSpec(path='net_parts.py', digest={digest_of(folder / 'net_parts.py')!r})])"
        "; from cnn_core.layer_groups import ACTIVATIONS; assert 'softsign' in ACTIVATIONS; "
        "assert not [name for name in sys.modules if name.startswith(('pipeline', 'hydra'))]"
    )
    root = str(Path(__file__).resolve().parents[2])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": root})


def test_a_package_and_an_installed_one_are_named_as_a_file_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = PARTS["my_parts.py"]
    write(
        folder,
        {"mine/__init__.py": "from .inner.parts import OPTIMIZERS\n", "mine/inner/__init__.py": "",
         "mine/inner/parts.py": parts},
    )  # fmt: skip
    before = digest_of(folder / "mine")
    with fresh():
        (plugin,) = compose(load_named(["plugins=[./mine]", "optimizer=lion"])).plugins
        assert plugin.names == {"OPTIMIZERS": ("lion",)} and plugin.digest == before
    entry = EntryPoint("installed", "mine.inner.parts", named_plugins.GROUP)
    monkeypatch.setattr(named_plugins, "entry_points", lambda group: [entry])
    monkeypatch.syspath_prepend(str(folder))
    with fresh():
        (plugin,) = compose(load_named(["plugins=[installed]", "optimizer=lion"])).plugins
        assert plugin.path == folder / "mine/inner/parts.py" and plugin.digest == before
    write(folder, {"mine/inner/more.py": "x = 1\n"})
    assert digest_of(folder / "mine/inner/parts.py") == digest_of(folder / "mine") != before
    with pytest.raises(InputError, match=r"an entry point of the group .* \(installed\), got 'in"):
        load_named(["plugins=[instaled]"])


def test_a_preset_names_plug_ins_from_its_own_folder(folder: Path) -> None:
    preset = "# @package _global_\nplugins: [../../my_parts.py]\nstudy: {name: mine}\n"
    write(folder, {"own/experiment/fast.yaml": preset})
    asked = ["hydra.searchpath=['file://" + str(folder / "own") + "']", "experiment=fast"]
    with pytest.raises(InputError, match="only where the command line names it"):
        compose(asked)
    config = compose(load_named([*asked, "optimizer=lion"]))
    assert config.study.name == "mine" and config.optimizer["name"] == "lion"


@pytest.mark.slow
def test_a_bundle_holds_code_of_a_plug_in_only_where_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named, study = "plugins=./net_parts.py", ("root=out", "study.name=digits")
    tiny = ("experiment=smoke", "model.activation=softsign", "model=contest", "optimizer=adam")
    assert begun("sweep", named, *tiny, *TINY, "study.name=digits", "budget.trials=1") == 0
    asked = ("export", *study, "register=false")
    assert begun(*asked, named) == 2
    assert "carry_plugins: must be true" in capsys.readouterr().err
    assert not (folder / "out/digits/bundle").exists()
    assert begun(*asked, named, "carry_plugins=true") == 0
    assert begun("prepare", "root=out", "samples=images.npy", "-q") == 0
    bundle = folder / "out/digits/bundle"
    subprocess.run(
        [sys.executable, bundle / "predict.py", "images.npy", "alone.txt"], check=True, cwd=folder
    )
    capsys.readouterr()
    predicting = ("predict", *study, "input=images.npy", "output=labels.txt")
    assert begun(*predicting) == 2
    (carried,) = bundle.glob("plugins/*/net_parts.py")
    assert f"only where you name it: plugins=[{carried}]" in capsys.readouterr().err
    assert begun(*predicting, f"plugins=[{carried}]") == 0
    assert Path("labels.txt").read_text() == Path("alone.txt").read_text()
    assert begun(*predicting, named) == 0
