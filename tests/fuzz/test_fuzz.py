"""The committed inputs of every target, and the command that looks for more."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.counts import Count, add, coverage_in, rows, section
from tests.fuzz.input_targets import with_png_checksums
from tests.fuzz.mutations import of_bytes, of_json, of_table
from tests.fuzz.target import SEPARATOR, Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import AtHand, Watch


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_takes_its_corpus_or_refuses_it_in_its_own_words(name: str) -> None:
    assert TARGETS[name].corpus
    for path in TARGETS[name].corpus:
        TARGETS[name].call(path.read_bytes())


def refuses_a(data: bytes) -> None:
    if b"a" in data:
        raise KeyError("a")


def test_the_smallest_input_of_each_kind_is_kept_and_the_search_goes_on(tmp_path: Path) -> None:
    at_hand = AtHand()
    watch = Watch(Target("toy", refuses_a), tmp_path, at_hand)
    for data in (b"bab", b"ba", b"babab", b"b"):
        watch(data)
    assert (at_hand.executions, at_hand.data) == (4, b"b")
    kind = "KeyError_in_test_fuzz.py_refuses_a"
    assert (tmp_path / "findings" / kind).read_bytes() == b"ba"
    assert (
        "KeyError: 'a'" in json.loads((tmp_path / "findings" / f"{kind}.json").read_text())["words"]
    )


def test_too_much_memory_for_one_input_is_a_finding(tmp_path: Path) -> None:
    watch = Watch(Target("toy", len), tmp_path, AtHand())
    watch.most_memory = 1
    watch(b"x")
    assert (tmp_path / "findings" / "memory").read_bytes() == b"x"


def dies_of_a(data: bytes) -> None:
    if b"a" in data:
        os.kill(os.getpid(), signal.SIGKILL)


FUZZED = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.fuzz.__main__ import fuzz
from tests.fuzz.targets import TARGETS
from tests.fuzz.test_fuzz import dies_of_a

target = replace(TARGETS["json"], call=dies_of_a, mutate=None)
count = fuzz(target, Path(sys.argv[1]), 3.0, 1, None)
print(count.findings, count.coverage, count.executions)
"""


def test_a_process_that_dies_is_a_finding_with_its_input_and_is_started_again(
    tmp_path: Path,
) -> None:
    """In a process of its own, as the command: that of all tests may hold too much memory."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FUZZED, str(tmp_path)], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert b"a" in (tmp_path / "findings" / "SIGKILL").read_bytes()
    findings, coverage, executions = map(int, done.stdout.split())
    assert (findings, coverage) == (1, 0)
    assert executions > 1


def test_a_changed_tree_is_json_still_and_another_one() -> None:
    text = json.dumps({"members": [{"name": "a", "weights": [0.5, 1]}], "format": 1}).encode()
    changed = [of_json(text, Random(seed), lambda part: part + b"!") for seed in range(200)]
    trees = [json.loads(one) for one in changed if not one.endswith(b"}!")]
    assert 120 < len(trees) < 180  # a quarter is changed as bytes
    assert sum(tree != json.loads(text) for tree in trees) > 100
    parts = of_json(text + SEPARATOR + text, Random(1), lambda part: part).split(SEPARATOR)
    assert sorted(part == text for part in parts) == [False, True]


def test_a_table_changes_by_its_cells() -> None:
    text = b"id,label\n1,a\n2,b\n"
    changed = [of_table(text, Random(seed), lambda part: part + b"!") for seed in range(300)]
    whole = [one for one in changed if not one.endswith(b"!")]
    assert 180 < len(whole) < 270  # a quarter is changed as bytes
    assert sum(one.startswith(b"id,label") for one in whole) > 40
    assert sum(b"1e308" in one for one in whole) > 2


def test_bytes_change_without_a_structure() -> None:
    changed = {of_bytes(b"12345678", Random(seed), [b"abc"]) for seed in range(100)}
    assert len(changed) > 80
    assert of_bytes(b"", Random(3), []) is not None


def test_the_checksums_of_a_changed_picture_are_made_right() -> None:
    whole = (TARGETS["picture"].folder / "grey.png").read_bytes()
    assert with_png_checksums(whole) == whole
    at = whole.index(b"IHDR") + 4
    wider = whole[: at + 3] + b"\x05" + whole[at + 4 :]
    assert with_png_checksums(wider) != wider
    assert len(with_png_checksums(wider)) == len(whole)


def test_counts_of_a_day_a_target_and_a_commit_are_one_row(tmp_path: Path) -> None:
    record = tmp_path / "executions.csv"
    add(Count("json", 1000, 14, 39, 1), "atheris", record)
    add(Count("json", 500, 15, 40, 0), "atheris", record)
    add(Count("yaml", 7, 0, 0, 0), "mutations", record)
    assert [row["executions"] for row in rows(record)] == ["1500", "7"]
    text = section(record)
    assert "1,507 executions of 2 targets" in text
    assert "| json | 1,500 | 15 | 40 | 0 |" in text


def test_coverage_is_what_the_last_line_of_the_log_says() -> None:
    log = "#2 INITED cov: 3 ft: 4 corp: 1/1b\n#9 pulse  cov: 14 ft: 39 corp: 15/3b\nend\n"
    assert coverage_in(log) == (14, 39)
    assert coverage_in("no line") == (0, 0)
