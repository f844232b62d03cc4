"""Secrets in texts that somebody made long to keep a command busy: where each part is looked at as
often as the text has parts, these take many minutes.
"""

import pytest

from pipeline.redact import HIDDEN, redact

SIZE = 1 << 17
PARTS = ("http://", "a://", ",b://", "%3A%2F%2F", "/", "x:/", "\\u002f", "%2f", "token=", "'", "-")


@pytest.mark.parametrize("part", PARTS)
def test_as_many_beginnings_as_fit_take_no_longer_than_others(part: str) -> None:
    long = part * (SIZE // len(part))
    text = f"a@b %40 {long} postgresql://user:hunter22@host/db"
    found = redact(text)
    assert "hunter22" not in found and found.endswith(f"postgresql://{HIDDEN}@host/db")
    assert found.startswith("a@b %40 ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a://b://c@d", f"a://{HIDDEN}@d"),
        ("a://b c://d@e@f,g://h i://j@k", f"a://b c://{HIDDEN}@f,g://h i://{HIDDEN}@k"),
        ("a://@b", f"a://{HIDDEN}@b"),
        ("a:///b@c", "a:///b@c"),
        ("u%3A%2F%2Fa%3Ab%40c%40d&e%40f", f"u%3A%2F%2F{HIDDEN}%40d&e%40f"),
    ],
)
def test_user_information_ends_at_the_last_at_of_its_address(text: str, shown: str) -> None:
    assert redact(text) == shown
