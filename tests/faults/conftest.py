"""A case's root, with the prepared digits and an empty MLflow store already in it."""

import shutil
from pathlib import Path

import pytest

from tests.faults.harness import Case


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as arrays: reading the source takes a second, copying them none."""
    from pipeline.configuration import compose
    from pipeline.data import prepare

    root = tmp_path_factory.mktemp("prepared-root")
    prepare(compose(["experiment=smoke"]).data, root)
    return root / "prepared"


@pytest.fixture
def own_pruner(tmp_path: Path, prepared: Path) -> Case:
    """A case with two slots and six trials of three toy epochs."""
    root, toy = tmp_path / "root", tmp_path / "toy"
    toy.mkdir()
    shutil.copytree(prepared, root / "prepared")
    return Case(root, toy)


@pytest.fixture(params=["", pytest.param("pauses", marks=pytest.mark.slow)])
def case(own_pruner: Case, request: pytest.FixtureRequest) -> Case:
    """The same, also with trials that pause and are promoted."""
    own_pruner.pauses = bool(request.param)
    return own_pruner
