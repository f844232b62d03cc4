"""The lock on the test split: closed except in evaluate, so that nothing is ever chosen by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_OPEN: ContextVar[bool] = ContextVar("test_split_open", default=False)


class TestSplitClosedError(RuntimeError):
    """Something other than evaluate asked for the test split: a bug, never the user's error."""

    __test__ = False  # not a pytest class, despite its name


@contextmanager
def opened_for_evaluation() -> Iterator[None]:
    """Open the test split within this block and this thread; a test asserts that
    `pipeline/evaluate.py` alone calls this.
    """
    token = _OPEN.set(True)
    try:
        yield
    finally:
        _OPEN.reset(token)


def require_open() -> None:
    """Raise TestSplitClosedError unless the split is open."""
    if not _OPEN.get():
        raise TestSplitClosedError(
            "the test split is opened by pipeline.evaluate alone, so that nothing is ever chosen "
            "by it"
        )
