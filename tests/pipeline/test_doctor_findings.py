"""What the doctor says of a machine and of studies in odd states, looked at in this process."""

import shutil
from pathlib import Path

import pytest

from pipeline import doctor, report
from pipeline.configuration import compose
from pipeline.doctor import DOCTOR, Finding, examine
from pipeline.files import StudyPaths
from pipeline.slots.owner_lock import OwnerLock
from pipeline.slots.process import PINS
from pipeline.slots.slot import SlotError
from tests.pipeline.studies import study_started, trial_started
from tests.pipeline.test_tracking_mlflow import write_journal


@pytest.fixture
def root(tmp_path: Path, made_study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a study; no slot is started to look at the machine."""
    shutil.copytree(made_study, tmp_path / "made")
    monkeypatch.setattr(doctor, "_environment", lambda config: [])
    return tmp_path


def told(root: Path, *words: str, about: str = "study made") -> list[str]:
    found = examine(compose([f"root={root}", *words], DOCTOR), fix=False)
    return [finding.line() for finding in found if finding.about == about]


@pytest.mark.parametrize(
    ("kernels", "says"),
    [("auto", "cleared for the workers"), ("keep", "kept (blas.kernels=keep)")],
)
def test_a_pin_of_kernels_is_told_and_a_worker_that_does_not_start(
    kernels: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise SlotError("no worker")

    monkeypatch.setattr(doctor, "open_slots", refused)
    config = compose([f"root={tmp_path}", f"blas.kernels={kernels}"], DOCTOR)
    for name in PINS:
        monkeypatch.delenv(name, raising=False)
    assert "environment" not in [finding.about for finding in doctor._environment(config)]
    monkeypatch.setenv(PINS[0], "Haswell")
    found = doctor._environment(config)
    text = f"{PINS[0]}=Haswell pins OpenBLAS's kernels; {says}"
    assert Finding("environment", text) in found
    assert found[-1] == Finding("worker", "does not start: no worker", wrong=True)


def test_a_study_that_a_sweep_runs_now_is_left_alone(root: Path) -> None:
    lock = OwnerLock(StudyPaths(root, "made").owner)
    lock.acquire()
    try:
        (line,) = told(root)
    finally:
        lock.release()
    assert line.startswith("ok ") and line.endswith("); left alone")
    assert "a sweep runs it now (process " in line
    assert "COMPLETE" in told(root)[0], "once it has ended, the study itself is looked at"


def test_events_that_mlflow_lacks_are_told_with_what_sends_them(root: Path) -> None:
    """The made study's own journal was sent nowhere; that of its final nets neither."""
    run = StudyPaths(root, "made").final / "runs" / "a"
    write_journal(run, [study_started(run), trial_started(0)])
    assert not [line for line in told(root, "tracking=none") if "MLflow" in line]
    says = "MLflow lacks some of its events; the same {} command sends them"
    assert [line.partition(": ")[2] for line in told(root, "tracking=mlflow")[1:]] == [
        says.format("sweep"),
        says.format("final"),
    ]


def test_a_study_elsewhere_is_the_only_one_that_is_looked_at(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "made", root / "other")
    storage = f"study.storage=sqlite:///{root}/made/study.db"
    found = examine(compose([f"root={root}", "study.name=made", storage], DOCTOR), fix=False)
    assert {f.about for f in found if f.about.startswith("study ")} == {"study made"}


def test_a_quiet_report_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    page.write_bytes(bytes(1_500_000))
    monkeypatch.setattr(report, "write_report", lambda config: page)
    for quiet, said in ((True, ""), (False, f"{page} (1.5 MB); open it in a browser\n")):
        assert report.main(compose([], report.COMMAND, quiet=quiet)) == 0
        assert capsys.readouterr().out == said
