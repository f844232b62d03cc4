"""Archives of arrays: what NumPy writes is read; what is hostile or damaged is refused, in little
memory, and runs nothing.
"""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cnn_core.data.npy import npy_header as npy_file_header
from cnn_core.data.npy import read_npy
from cnn_core.data.npz import read_npz
from cnn_core.errors import InputError

ran: list[str] = []


class Payload:
    def __reduce__(self) -> Any:
        return (ran.append, ("the payload ran",))


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(descr: str, shape: str, version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@given(
    st.one_of(
        arrays(np.float32, array_shapes(min_dims=0, max_dims=4), elements=st.floats(width=32)),
        arrays(np.uint8, array_shapes(max_dims=3)),
        arrays(np.dtype("<U5"), 3),
    ),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=40)
def test_what_numpy_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, array: Any, compressed: bool, fortran: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.npz"
    array = np.asfortranarray(array) if fortran else array
    (np.savez_compressed if compressed else np.savez)(path, first=array, second=np.arange(3))
    loaded = read_npz(path)
    assert list(loaded) == ["first", "second"]
    assert loaded["first"].dtype == array.dtype
    np.testing.assert_array_equal(loaded["first"], array)


HOSTILE: dict[str, tuple[dict[str, bytes], str]] = {
    "object array": (
        {"a.npy": npy_header("'|O'", "(1,)") + pickle.dumps(Payload())},
        r"a\.npy: offset 10: must be plain numbers or text",
    ),
    "object in a record": (
        {"a.npy": npy_header("[('x', '|O')]", "(1,)") + bytes(8)},
        r"must be plain numbers or text \(no objects\)",
    ),
    "32 GiB header": (
        {"a.npy": npy_header("'|u1'", f"({32 << 30},)")},
        r"shape \(34359738368,\) uint8 needs 34,359,738,368 bytes, got 0",
    ),
    "32 GiB array of nothing": (
        {"a.npy": npy_header("'|V0'", f"({32 << 30},)")},
        "must be plain numbers or text",
    ),
    "negative shape": ({"a.npy": npy_header("'|u1'", "(-1,)")}, "must be plain numbers or text"),
    "bool as shape": (
        {"a.npy": npy_header("'|u1'", "(True,)") + b"x"},
        "must be plain numbers or text",
    ),
    "expression": (
        {"a.npy": npy_header("__import__('os')", "(1,)")},
        "a .npy header must give descr, fortran_order and shape",
    ),
    "deep expression": (
        {"a.npy": npy_header("(" * 900 + ")" * 900, "(1,)")},
        "a .npy header must give",
    ),
    "unknown type": ({"a.npy": npy_header("'|x9'", "(1,)")}, "a .npy header must give"),
    "no list": ({"a.npy": npy_header("'|u1'", "3")}, "must be plain numbers or text"),
    "long header": (
        {"a.npy": b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31)},
        "may have at most 4096 bytes, it states 2,147,483,648",
    ),
    "other magic": (
        {"a.npy": b"GIF89a" + bytes(20)},
        "offset 0: a .npy member begins with 93 'NUMPY'",
    ),
    "too short": ({"a.npy": npy(np.arange(4))[:-1]}, r"needs 32 bytes, got 31"),
    "too long": ({"a.npy": npy(np.arange(4)) + b"x"}, r"needs 32 bytes, got 33"),
    "leaves the archive": (
        {"../a.npy": npy(np.arange(4))},
        r"members must be arrays \(.npy\) inside the archive, got '../a.npy'",
    ),
    "leaves it further in": ({"x/../../a.npy": npy(np.arange(4))}, "inside the archive"),
    "absolute": ({"/etc/a.npy": npy(np.arange(4))}, "inside the archive"),
    "no array": ({"a.pkl": pickle.dumps(Payload())}, "inside the archive, got 'a.pkl'"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_members_are_refused(tmp_path: Path, name: str) -> None:
    members, message = HOSTILE[name]
    path = archive(tmp_path / "hostile.npz", members)
    tracemalloc.start()
    with pytest.raises(InputError, match=message) as caught:
        read_npz(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert str(path) in str(caught.value)
    assert not ran, "no code of the file may run"


def test_a_hundred_thousand_members_are_refused_unread(tmp_path: Path) -> None:
    path, count = tmp_path / "many.npz", 100_000
    one = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0
    )
    directory = b"".join(one + b"%06d.npy" % i for i in range(count))
    path.write_bytes(
        directory
        + struct.pack(
            "<4s4H2LH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), 0, 0
        )
    )
    with zipfile.ZipFile(path) as file:
        assert len(file.namelist()) == count, "the directory is one that zipfile reads"
    with pytest.raises(InputError, match="an archive may hold at most 4096 members"):
        read_npz(path)
    # The record at the end says 3 members; the directory's length gives it away.
    lying = bytearray(path.read_bytes())
    end = lying.rfind(b"PK\x05\x06")
    lying[end + 8 : end + 12] = struct.pack("<HH", 3, 3)
    path.write_bytes(lying)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"an archive may hold|must be a whole .npz archive"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_deflate_bomb_is_refused_unread(tmp_path: Path) -> None:
    content = npy_header("'|u1'", f"({1 << 28},)")
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a.npy", "w") as member,
    ):
        member.write(content)
        for _ in range(1 << 8):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    with pytest.raises(InputError, match=r"may hold at most 67,108,864, it states 268,4"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_twice_the_same_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as file:
        file.writestr("a.npy", npy(np.arange(3)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("a.npy", npy(np.arange(4)))
    with pytest.raises(InputError, match="members of different names"):
        read_npz(tmp_path / "twice.npz")


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"no archive at all", b"PK\x05\x06" + bytes(4) + b"\x01\x00\x01\x00" + bytes(10)],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"must be a whole .npz archive"):
        assert read_npz(tmp_path / "x.npz"), "an empty archive holds nothing to check"
        pytest.fail("read")


@given(st.data())
@settings(max_examples=60)
def test_a_flipped_bit_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    good = {"a": np.arange(12.0).reshape(3, 4), "b": np.arange(3)}
    np.savez_compressed(path, **good)  # type: ignore[arg-type]
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        loaded = read_npz(path)
    except InputError:
        return
    for array in loaded.values():
        assert any(array.shape == g.shape and (array == g).all() for g in good.values())


def _directory(count: int, *, zip64: bool, stated: int | None = None) -> bytes:
    """Return an archive that is a directory of `count` entries alone; its end states `stated`."""
    one = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0
    )
    directory = b"".join(one + b"%07d.npy" % i for i in range(count))
    size, offset = len(directory), 0xFFFFFFFF if stated is None else 0
    content = directory
    if zip64:
        content += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, 0)
        content += struct.pack("<4sLQL", b"PK\6\7", 0, size, 1)
        size = 0xFFFFFFFF if stated is None else 100
    few = (count if not zip64 else 0xFFFF) if stated is None else stated
    return content + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, few, few, size, offset, 0)


@pytest.mark.parametrize("stated", [None, 3])
def test_the_record_of_zip64_is_checked(tmp_path: Path, stated: int | None) -> None:
    """What zipfile reads counts: the record before the end, whatever the end itself says."""
    path = tmp_path / "many.npz"
    path.write_bytes(_directory(50_000, zip64=True, stated=stated))
    with zipfile.ZipFile(path) as file:
        assert len(file.namelist()) == 50_000, "the directory is one that zipfile reads"
    tracemalloc.start()
    with pytest.raises(InputError, match=r"at most 4096 members .* 50000|end states 3 members"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["no record", "not before the end"])
def test_an_end_of_zip64_without_its_record_is_refused(tmp_path: Path, name: str) -> None:
    content = _directory(3, zip64=True)
    record = content.index(b"PK\6\6")
    cut = content[:record] + content[record + 76 :]
    moved = cut if name == "no record" else content[: record + 56] + b"x" + content[record + 56 :]
    (tmp_path / "x.npz").write_bytes(moved)
    with pytest.raises(InputError, match=r"must be a whole .npz archive, got: .*zip64"):
        read_npz(tmp_path / "x.npz")


def test_an_archive_of_more_than_two_gigabytes_states_zip64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    np.savez(tmp_path / "x.npz", a=np.arange(40), b=np.ones(3))
    assert b"PK\6\6" in (tmp_path / "x.npz").read_bytes()
    assert read_npz(tmp_path / "x.npz")["b"].tolist() == [1, 1, 1]


def test_an_empty_axis_does_not_hide_one_beyond_count(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", {"a.npy": npy_header("'|u1'", f"(0, {2**62}, {2**62})")})
    with pytest.raises(InputError, match="must have a size that NumPy can count, got shape"):
        read_npz(path)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        for read in (read_npz, read_npy, npy_file_header):
            with pytest.raises(InputError, match="must be a regular file, got a pipe or a device"):
                read(path)
    with pytest.raises(InputError, match="must be a readable file, got: Is a directory"):
        read_npz(tmp_path)
