"""Prepared data come back mapped and equal, and are refused when anything about them changed."""

import json
import os
import re
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_core.data.prepared import DataAbsentError, open_prepared, store, write_prepared
from cnn_core.errors import InputError

IMAGES = np.arange(4 * 1 * 3 * 3, dtype=np.uint8).reshape(4, 1, 3, 3)
LABELS = np.array([0, 1, 1, 0])


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, str]:
    open_prepared.cache_clear()
    return tmp_path / "set", write_prepared(
        tmp_path / "set", IMAGES, LABELS, classes=2, name="tiny"
    )


def test_written_and_opened(written: tuple[Path, str]) -> None:
    folder, digest = written
    opened = open_prepared(str(folder), digest)
    np.testing.assert_array_equal(opened.images, IMAGES)
    np.testing.assert_array_equal(opened.labels, LABELS)
    assert (opened.classes, opened.name, opened.image_shape, opened.digest) == (
        2,
        "tiny",
        (1, 3, 3),
        digest,
    )
    assert isinstance(opened.images.base, np.memmap) and not opened.images.flags.writeable
    assert sorted(p.name for p in folder.parent.iterdir()) == ["set"], "nothing temporary is left"


def test_the_digest_is_of_the_content(tmp_path: Path, written: tuple[Path, str]) -> None:
    _, digest = written
    assert (
        write_prepared(tmp_path / "copy", IMAGES.copy(), LABELS, classes=2, name="other name")
        == digest
    )
    others = [
        (IMAGES[::-1], LABELS, 2),
        (IMAGES, LABELS[::-1].copy() ^ 1, 2),
        (IMAGES, LABELS, 3),
        (IMAGES.reshape(4, 1, 9, 1), LABELS, 2),
    ]
    digests = {
        write_prepared(tmp_path / f"o{i}", a, b, classes=c, name="tiny")
        for i, (a, b, c) in enumerate(others)
    }
    assert digest not in digests
    assert len(digests) >= 3


def test_an_equal_set_is_kept_and_a_damaged_one_replaced(written: tuple[Path, str]) -> None:
    folder, digest = written
    before = (folder / "images.npy").stat().st_ino
    write_prepared(folder, IMAGES, LABELS, classes=2, name="tiny")
    assert (folder / "images.npy").stat().st_ino == before
    (folder / "manifest.json").write_text(json.dumps({"digest": "x"}))
    write_prepared(folder, IMAGES, LABELS, classes=2, name="tiny")
    np.testing.assert_array_equal(open_prepared(str(folder), digest).images, IMAGES)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["set"]


def test_what_another_process_wrote_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    sync = os.fsync

    def quicker(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        write_prepared(folder, IMAGES, LABELS, classes=2, name="tiny")
        sync(descriptor)
        seen.append((folder / "images.npy").stat().st_ino)

    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", quicker)
    write_prepared(folder, IMAGES, LABELS, classes=2, name="tiny")
    assert (folder / "images.npy").stat().st_ino == seen[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


@pytest.mark.parametrize("same", [True, False])
def test_a_folder_that_appears_at_the_last_moment_is_kept_where_it_is_the_same_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    folder, theirs = tmp_path / "set", IMAGES if same else IMAGES[::-1]
    rename = Path.rename

    def after_another(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        write_prepared(folder, theirs, LABELS, classes=2, name="tiny")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", after_another)
    if same:
        write_prepared(folder, IMAGES, LABELS, classes=2, name="tiny")
    else:
        with pytest.raises(OSError, match=re.escape(str(tmp_path))):
            write_prepared(folder, IMAGES, LABELS, classes=2, name="tiny")
    np.testing.assert_array_equal(np.load(folder / "images.npy"), theirs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


@pytest.mark.parametrize(
    ("blocks", "labels", "message"),
    [
        (
            [IMAGES[:2], IMAGES[2:, :, :2]],
            LABELS,
            r"images must be \(1, 3, 3\) bytes, got \(1, 2, 3\)",
        ),
        ([IMAGES.astype(np.int16)], LABELS, r"bytes, got \(1, 3, 3\) int16"),
        ([IMAGES[:3]], LABELS, "images and labels must be as many, got 3 and 4"),
        ([], LABELS[:0], "images and labels must be as many, got 0 and 0"),
        ([IMAGES], LABELS.astype(np.int32), r"labels must be \(N,\) int64, got \(4,\) int32"),
        ([IMAGES], LABELS[:, None], r"labels must be \(N,\) int64, got \(4, 1\) int64"),
    ],
)
def test_blocks_and_labels_that_are_no_set_are_not_stored(
    tmp_path: Path, written: tuple[Path, str], blocks: Any, labels: Any, message: str
) -> None:
    about = open_prepared(str(written[0]), written[1]).about
    with pytest.raises(InputError, match=message):
        store(tmp_path, blocks, labels, about, lambda digest: digest)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_a_writing_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left"):
        write_prepared(tmp_path / "set", IMAGES, LABELS, classes=2, name="tiny")
    assert not list(tmp_path.iterdir())


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [_flip, _truncate])
@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
def test_changed_arrays_are_refused(written: tuple[Path, str], name: str, damage: Any) -> None:
    folder, digest = written
    damage(folder / name)
    with pytest.raises(InputError, match=r"prepared data must (have the digest|be whole)"):
        open_prepared(str(folder), digest)


def test_a_damaged_manifest_is_refused(written: tuple[Path, str]) -> None:
    folder, digest = written
    for text in ("", "{}", "[1]", '{"classes": "x"}', '{"classes": 3, "name": "tiny"}'):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(InputError, match="prepared data must"):
            open_prepared(str(folder), digest)


def test_absent_data_say_which(written: tuple[Path, str]) -> None:
    folder, digest = written
    shutil.rmtree(folder)
    with pytest.raises(
        DataAbsentError, match=f"data {digest[:12]}: the prepared folder must exist"
    ):
        open_prepared(str(folder), digest)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:, 0], LABELS, r"images must be \(N, C, H, W\) uint8"),
        (IMAGES.astype(np.float32), LABELS, r"images must be \(N, C, H, W\) uint8"),
        (IMAGES[:0], LABELS[:0], "with no empty axis"),
        (IMAGES, LABELS[:3], r"labels must be \(4,\) int64"),
        (IMAGES, LABELS.astype(np.int32), r"labels must be \(4,\) int64"),
        (IMAGES, LABELS * 2, r"tiny: image 1: labels must be from 0 to 1, got 2"),
    ],
)
def test_what_is_no_labelled_set_is_not_written(
    tmp_path: Path, images: Any, labels: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_prepared(tmp_path / "set", images, labels, classes=2, name="tiny")
    assert not list(tmp_path.iterdir())


def test_names_form_and_groups_are_kept_and_part_of_the_digest(
    tmp_path: Path, written: tuple[Path, str]
) -> None:
    folder, digest = written
    assert open_prepared(str(folder), digest).groups is None
    about = open_prepared(str(folder), digest).about
    for changed in (
        replace(about, class_names=("cat", "dog")),
        replace(about, form=replace(about.form, invert=True)),
        replace(about, groups=((0, 2),)),
    ):
        place, other = store(tmp_path, [IMAGES], LABELS, changed, lambda digest: digest[:8])
        assert other != digest
        opened = open_prepared(str(place), other)
        assert opened.about == changed
        text = (place / "manifest.json").read_text()
        (place / "manifest.json").write_text(text.replace("dog", "cow").replace("true", "false"))
        if (place / "manifest.json").read_text() != text:
            open_prepared.cache_clear()
            with pytest.raises(InputError, match="must have the digest"):
                open_prepared(str(place), other)
    assert opened.groups is not None and opened.groups.tolist() == [0, 1, 0, 3]


def test_what_is_done_to_pictures_of_other_sizes_is_no_part_of_the_digest(
    tmp_path: Path, written: tuple[Path, str]
) -> None:
    folder, digest = written
    about = open_prepared(str(folder), digest).about
    changed = replace(about, form=replace(about.form, other_sizes="mnist"))
    assert store(tmp_path, [IMAGES], LABELS, changed, lambda digest: digest[:8])[1] == digest


def _header(descr: str, shape: str, fortran: bool = False) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _damaged(change: dict[str, Any]) -> bytes:
    return json.dumps({"classes": 2, "name": "tiny"} | change).encode()


FOREIGN: dict[str, tuple[str, bytes, str]] = {
    # A division by zero inside NumPy's memory map, which no handler sees: the process is killed.
    "no size": ("images.npy", _header("'S0'", "(-1,)"), "plain numbers or text"),
    "long number": ("images.npy", _header("'|u1'", f"({'9' * 3900},)"), "as long as its header"),
    "long header": ("labels.npy", b"\x93NUMPY\x02\x00" + b"\xff" * 40, "at most 4096 bytes"),
    "wide text": ("labels.npy", _header("'S2147483647'", "(1,)"), "as long as its header"),
    "columns first": ("images.npy", _header("'|u1'", "(4, 1, 3, 3)", True) + bytes(36), "C order"),
    "floats": ("images.npy", _header("'<f8'", "(4, 1, 3, 3)") + bytes(288), "uint8"),
    "brackets": ("manifest.json", b"[" * 100_000, "nested at most 60 deep"),
    "values": ("manifest.json", b"[" + b"[]," * 1_000_001 + b"1]", "at most 2,000,000 values"),
    "digits": ("manifest.json", b'{"classes": 1' + b"0" * 50 + b"}", "at most 40 digits"),
    "classes": ("manifest.json", _damaged({"classes": 10**9}), "classes must be 1 to 1,000,000"),
    "endless": ("manifest.json", b'{"classes": 1e999}', "classes must be"),
    "groups": ("manifest.json", _damaged({"groups": [[0, 10**9]]}), "indices of 4 pictures"),
    "group": ("manifest.json", b'{"classes": 2, "name": "", "groups": [[1e999]]}', "infinity"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_hostile_is_refused_before_anything_is_mapped(
    name: str, written: tuple[Path, str]
) -> None:
    folder, digest = written
    file, content, message = FOREIGN[name]
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=rf"must be whole \(delete .*{message}"):
        open_prepared(str(folder), digest)


def test_a_pipe_and_a_large_manifest_are_refused_unread(written: tuple[Path, str]) -> None:
    folder, digest = written
    os.truncate(folder / "manifest.json", 1 << 40)
    with pytest.raises(InputError, match="may have at most 67,108,864 bytes"):
        open_prepared(str(folder), digest)
    (folder / "images.npy").unlink()
    os.mkfifo(folder / "images.npy")
    with pytest.raises(InputError, match="must be a regular file, got a pipe"):
        open_prepared(str(folder), digest)
