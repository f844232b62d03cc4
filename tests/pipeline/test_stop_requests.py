"""What signals ask of a run, and which of several requests counts."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from pipeline.configuration.termination import HANG_UP
from pipeline.slots.stop_request import SignalHandling, Stop


def state(stop: Stop) -> tuple[bool, bool, str, int]:
    return stop.requested, stop.now, stop.reason, stop.exit_code


ONCE = (True, False, "interrupted", 130)


@pytest.mark.parametrize(
    ("signals", "wanted"),
    [
        ([signal.SIGINT], ONCE),
        ([signal.SIGINT, signal.SIGINT], (True, True, "interrupted", 130)),
        ([signal.SIGTERM], (True, True, "SIGTERM", 143)),
        ([HANG_UP], (True, True, "SIGHUP", 129)),
        ([signal.SIGINT, signal.SIGTERM], (True, True, "interrupted", 130)),
    ],
)
def test_what_a_signal_asks_for(signals: list[int], wanted: tuple[bool, bool, str, int]) -> None:
    stop, said = Stop(), list[str]()
    handling = SignalHandling(stop, said.append)
    for number in signals:
        handling._request(number)
    assert state(stop) == wanted
    first = "interrupted: finishing the epochs in flight; Ctrl-C again ends at once"
    assert said == [first] * (signals[0] == signal.SIGINT)


def test_the_first_reason_stays_unless_a_failure_follows_a_success() -> None:
    stop = Stop()
    assert state(stop) == (False, False, "", 0)
    stop.request("the time is used up", 0)
    stop.request("another", 0)
    assert state(stop) == (True, False, "the time is used up", 0)
    stop.request("interrupted", 130)
    assert stop.exit_code == 0, "what ended well stays so"
    stop.request("the disk is full", 1, now=True)
    assert state(stop) == (True, True, "the disk is full", 1)
    stop.request("another disk", 1)
    assert state(stop) == (True, True, "the disk is full", 1)


def test_each_request_wakes_those_who_wait() -> None:
    stop, calls = Stop(), list[bool]()
    stop.on_request.append(lambda: calls.append(stop.now))
    stop.request("a", 0)
    stop.request("b", 0, now=True)
    assert calls == [False, True]


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, HANG_UP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.skipif(os.name != "posix", reason="SIGHUP is POSIX's")
@pytest.mark.parametrize("ignored", [False, True])
def test_handlers_are_put_back_and_an_ignored_hang_up_stays_ignored(
    handlers: None, ignored: bool
) -> None:
    signal.signal(HANG_UP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, HANG_UP)]
    stop, woken = Stop(), threading.Event()
    stop.on_request.append(woken.set)
    with SignalHandling(stop, lambda text: None):
        assert (signal.getsignal(HANG_UP) is signal.SIG_IGN) == ignored
        os.kill(os.getpid(), signal.SIGTERM)
        assert woken.wait(30)
    assert state(stop) == (True, True, "SIGTERM", 143)
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, HANG_UP)]
    assert after == before
