"""What a file system refuses names the file meant, what it cannot do for a folder is no error, and
lines are appended wholly or not at all.
"""

import errno
import os
from pathlib import Path

import pytest

from cnn_core.whole_files import append_whole, naming, whole_file


def test_an_error_without_a_number_is_told_as_it_is() -> None:
    error = OSError("cannot identify image file")
    with pytest.raises(OSError, match=r"^cannot identify image file$") as caught, naming(Path("x")):
        raise error
    assert caught.value is error


def open_files() -> int:
    """Return how many files this process has open, 0 where the system does not tell."""
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.exists() else 0


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_synced_counts_where_the_disk_is_at_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    sync, folder = os.fsync, tmp_path.stat().st_ino

    def refuses(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == folder:
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    def write() -> None:
        with whole_file(tmp_path / "a.txt") as file:
            file.write(b"all of it")

    monkeypatch.setattr(os, "fsync", refuses)
    handles = open_files()
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output error") as caught:
            write()
        assert caught.value.filename == str(tmp_path)
    else:
        write()
    assert (tmp_path / "a.txt").read_bytes() == b"all of it"
    assert open_files() == handles, "the folder is closed again"


@pytest.mark.parametrize("another", [b"", b"theirs\n"])
def test_a_line_cut_by_a_full_disk_is_taken_back_unless_another_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, another: bytes
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"first\n")
    write, calls = os.write, list[bytes]()

    def full_disk(descriptor: int, content: bytes) -> int:
        calls.append(content)
        if len(calls) == 1:
            return write(descriptor, content[:2])
        write(descriptor, another)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        monkeypatch.setattr(os, "write", full_disk)
        with pytest.raises(OSError, match="No space left") as caught:
            append_whole(descriptor, b"mine\n", path)
    finally:
        monkeypatch.undo()
        os.close(descriptor)
    assert caught.value.filename == str(path) and calls == [b"mine\n", b"ne\n"]
    # What another process wrote behind the part is not cut off with it.
    assert path.read_bytes() == (b"first\nmitheirs\n" if another else b"first\n")
