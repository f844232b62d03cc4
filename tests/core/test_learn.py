"""The code on docs/learn/inside-a-cnn.md runs as it stands there, and its tables are what it
prints.
"""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "learn" / "inside-a-cnn.md"


def blocks(language: str) -> list[tuple[int, str]]:
    """Return (first line's number, text) of each fenced block of that language."""
    text = PAGE.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def test_the_page_runs_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    code = blocks("python")
    assert len(code) == 12
    names: dict[str, Any] = {}
    for line, text in code:
        # Empty lines before the block make a traceback name the page's own line.
        exec(
            compile("\n" * (line - 1) + text, str(PAGE), "exec"), names
        )  # the page is ours: this test is its reader
    printed = capsys.readouterr().out
    for _, table in blocks("text"):
        assert table in printed


def test_files_that_the_page_names_exist() -> None:
    named = set(re.findall(r"`((?:cnn_core|tests|benchmarks)/[\w/.]+)`", PAGE.read_text()))
    assert len(named) > 8
    assert not [name for name in named if not (PAGE.parents[2] / name).exists()]
