"""Options and fixtures that every test shares."""

import os
import signal
from collections.abc import Generator, Iterator

import hypothesis
import pytest
import threadpoolctl

# A busy machine may take long over an example; that is no failure. The examples are the same in
# every run.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of the processes that tests start


def pytest_configure() -> None:
    """Listen to interrupts again where the tests run in the background of a script, which ignores
    them and passes that on to every process.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Products of small matrices by two threads cost sixty times as much as by one while other
    processes are busy.
    """
    with threadpoolctl.threadpool_limits(1):
        yield


# As this process found them: its own BLAS computes with these kernels, whatever becomes of the
# environment.
PINS = {
    name: os.environ[name]
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    if name in os.environ
}


@pytest.fixture(autouse=True)
def pinned_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give later tests the environment's pins of BLAS kernels back, which starting slots clears for
    the whole process.

    Else a process started by a later test computes with other kernels, and so other last bits, than
    the test itself.
    """
    for name, value in PINS.items():
        monkeypatch.setenv(name, value)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skip",
        action="store_true",
        help="a skipped test fails: for machines that are meant to have everything",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and item.config.getoption("--fail-on-skip")
    ):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where nothing may be: {report.longrepr}"
    return report
