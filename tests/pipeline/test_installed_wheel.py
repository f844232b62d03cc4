"""The wheel holds all that a sweep needs: it is built, unpacked elsewhere, and used from a folder
outside the checkout.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the built wheel was installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    run = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(ROOT),
    ]
    subprocess.run(run, check=True, capture_output=True, text=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        "--target",
        str(folder / "site"),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return folder / "site"


# What a user's own script may look like: typed throughout, and with it what the packages give it.
OWN_SCRIPT = """
from cnn_core.errors import InputError
from cnn_core.optimizers import OPTIMIZERS
from pipeline.study import Study, sweep

study: Study = sweep("experiment=smoke", root="outputs", budget={"trials": 8})
names: list[str] = sorted(OPTIMIZERS)
best = study.best
overrides = list(best.overrides) if best else []
try:
    reveal_type(study.state)
    reveal_type(study.resume("budget.trials=10"))
except InputError as error:
    print(error, names, overrides)
"""


def run_installed(
    site: Path, cwd: Path, *arguments: str, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


@pytest.mark.slow
def test_the_wheel_brings_its_configuration(installed: Path, tmp_path: Path) -> None:
    done = run_installed(
        installed,
        tmp_path,
        "-c",
        "import pipeline, cnn_core; print(pipeline.__path__[0]); print(cnn_core.__file__)",
    )
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(installed)) for line in done.stdout.splitlines())
    names = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}
    assert names == {
        path.relative_to(installed / "pipeline" / "conf")
        for path in (installed / "pipeline" / "conf").rglob("*.yaml")
    }


@pytest.mark.slow
def test_a_smoke_sweep_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = run_installed(
        installed, tmp_path, "-m", "pipeline.sweep", "experiment=smoke", "slots.n=2"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        len((tmp_path / "outputs" / "smoke" / "leaderboard.csv").read_text().splitlines()) == 1 + 4
    )


# Every module but the estimator, and a training from a file to probabilities.
ALONE = """
import pkgutil, sys, tempfile
from importlib import import_module
from pathlib import Path

site, numpy = sys.argv[1:]
sys.path[:] = [path for path in sys.path if "site-packages" not in path] + [site, numpy]
import numpy as np
import cnn_core
for module in pkgutil.walk_packages(cnn_core.__path__, "cnn_core."):
    if module.name != "cnn_core.estimator":
        import_module(module.name)
from cnn_core.architectures import reference
from cnn_core.data.prepared import write_prepared
from cnn_core.spec import DataSpec, Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import fit, predict_proba, selected_weights
rng = np.random.default_rng(0)
labels = rng.integers(0, 2, 80)
images = rng.integers(0, 100, (80, 1, 8, 8)).astype(np.uint8)
images[labels == 1, :, :, :4] += 150
with tempfile.TemporaryDirectory() as folder:
    place = Path(folder) / "data"
    digest = write_prepared(place, images, labels, classes=2, name="halves")
    data = DataSpec(folder=str(place), digest=digest, image_shape=(1, 8, 8), classes=2)
    spec = Spec(
        data=data,
        model=reference("contest", filters=4, kernel=3),
        optimizer={"name": "adam", "lr": 0.01},
        train=TrainSpec(epochs=5, batch_size=10),
    )
    state = fit(spec)
    found = predict_proba(spec, *selected_weights(spec, state), images).argmax(axis=1)
try:
    import cnn_core.estimator
except ModuleNotFoundError as error:
    print(error.name)
print(cnn_core.__file__, np.mean(found == labels), "sklearn" in sys.modules)
"""


@pytest.mark.slow
def test_the_wheels_net_trains_with_nothing_but_numpy(installed: Path, tmp_path: Path) -> None:
    import numpy as np

    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):  # the second: its BLAS, where the wheel brings one
        if (packages / name).exists():
            (tmp_path / name).symlink_to(packages / name)
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", ALONE, str(installed), str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    missing, found = done.stdout.splitlines()
    assert missing == "sklearn", "only the estimator asks for it"
    file, accuracy, loaded = found.split()
    assert file.startswith(str(installed)) and float(accuracy) > 0.9 and loaded == "False"


@pytest.mark.slow
def test_a_users_script_is_typed_by_the_wheel(installed: Path, tmp_path: Path) -> None:
    assert (installed / "cnn_core" / "py.typed").is_file()
    assert (installed / "pipeline" / "py.typed").is_file()
    (tmp_path / "own.py").write_text(OWN_SCRIPT)
    checking = ("-m", "mypy", "--strict", "own.py")
    done = run_installed(installed, tmp_path, *checking, timeout_s=1200)
    assert done.returncode == 0, done.stdout
    assert 'Revealed type is "str"' in done.stdout.replace("builtins.", "")
    assert 'Revealed type is "pipeline.study.Study"' in done.stdout
