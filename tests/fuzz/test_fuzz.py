"""The committed inputs of every target, and the command that looks for more."""

import pytest

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_takes_its_corpus_or_refuses_it_in_its_own_words(name: str) -> None:
    assert TARGETS[name].corpus
    for path in TARGETS[name].corpus:
        TARGETS[name].call(path.read_bytes())
