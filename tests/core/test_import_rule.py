"""cnn_core stands alone: it imports NumPy and the standard library, nothing else, also when run;
but for the estimator, which no other file imports.
"""

import ast
import subprocess
import sys
from pathlib import Path

import cnn_core

PACKAGE = Path(cnn_core.__file__).parent
ALLOWED = {"numpy", "cnn_core"} | set(sys.stdlib_module_names)
ESTIMATOR = "estimator.py"  # the one that builds on scikit-learn
ALL_BUT_IT = ", ".join(
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.name != ESTIMATOR
)
PROBE = (
    "\n"
    "import sys\n"
    f"import {ALL_BUT_IT}\n"
    'known = set(sys.stdlib_module_names) | {"numpy", "cnn_core", "__main__"}\n'
    'found = {name.partition(".")[0] for name, module in sys.modules.items() '
    'if "site-packages" in (getattr(module, "__file__", None) or "")}\n'
    'print(",".join(sorted(name for name in found - known if not name.startswith("_"))))\n'
    'print(sum(name.startswith("pipeline") for name in sys.modules))\n'
)


def test_every_import_in_the_sources() -> None:
    foreign = []
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 30
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}:{node.lineno}: imports are absolute"
                names = [node.module or ""]
            foreign += [
                f"{file.name}:{node.lineno}: {name}"
                for name in names
                if name.partition(".")[0] not in ALLOWED
                and (file.name, name.partition(".")[0]) != (ESTIMATOR, "sklearn")
            ]
    assert not foreign


def test_a_fresh_process_loads_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=True,
    )
    foreign, from_pipeline = done.stdout.split("\n")[:2]
    assert foreign == "" and from_pipeline == "0"


def test_a_sweep_starts_its_workers_before_it_loads_the_heavy_libraries() -> None:
    """The first epoch is to run within seconds of the command; the workers load NumPy while the
    coordinator loads the rest.
    """
    heavy = "scipy optuna sqlalchemy mlflow matplotlib pandas pooch requests"
    probe = (
        "import sys, pipeline.sweep; "
        f"print(*(name for name in '{heavy}'.split() if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=True,
    )
    assert done.stdout.split() == []
