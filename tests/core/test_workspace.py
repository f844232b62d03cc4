"""Arrays that are reused, and NumPy's own pieces of conversion."""

import os
import threading

import numpy as np
import pytest

from cnn_core.kernels.workspace import CONVERTED, Workspace, cache_bytes, small_conversions


def test_small_conversions_hold_in_their_block_and_thread_alone() -> None:
    usual, elsewhere = np.getbufsize(), list[int]()
    with pytest.raises(ZeroDivisionError), small_conversions():
        assert np.getbufsize() == CONVERTED < usual
        other = threading.Thread(target=lambda: elsewhere.append(np.getbufsize()))
        other.start()
        other.join()
        raise ZeroDivisionError
    assert np.getbufsize() == usual and elsewhere == [usual]


def test_a_smaller_batch_takes_the_front_of_the_same_memory_and_its_border_is_zero() -> None:
    work = Workspace()
    whole = work.take("x", (4, 5), zeroed=True)
    whole.fill(7)
    assert work.take("x", (4, 5), zeroed=True) is whole and whole.all()
    part = work.take("x", (2, 3), zeroed=True)
    assert np.shares_memory(part, whole) and not part.any()
    assert work.nbytes() == 4 * 5 * 4


def test_the_size_of_the_cache_is_what_the_system_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SC_LEVEL2_CACHE_SIZE": 3 << 18}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    assert cache_bytes() == 3 << 18
