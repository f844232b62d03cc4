"""IDX files: read as they are, and refused with file and offset where they are damaged, hostile or
not IDX.
"""

import gzip
import hashlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnn_core
from cnn_core.data.idx import read_idx, read_idx_images, read_idx_labels
from cnn_core.errors import InputError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("compress", [False, True])
def test_reading_back(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES)) if compress else idx_bytes(IMAGES))
    np.testing.assert_array_equal(read_idx_images(path), IMAGES[:, None])


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda b: b"",
            r"offset 0: an IDX file of unsigned bytes with 3 dimensions begins with 0000 08 03, "
            r"got an empty file",
        ),
        (lambda b: b"\x00\x00\x08", r"offset 0: .* got 00 00 08$"),
        (lambda b: b"\x00\x01" + b[2:], r"offset 0: .* got 00 01 08 03"),
        (lambda b: b"\x00\x00\x0d" + b[3:], r"offset 0: .* got 00 00 0d 03"),
        (lambda b: b"\x00\x00\x08\x01" + b[4:], r"offset 0: .* got 00 00 08 01"),
        (
            lambda b: b[:9],
            r"offset 4: the header must give 3 sizes of 4 bytes, the file ends at offset 9",
        ),
        (
            lambda b: b[:4] + struct.pack(">III", 2, 0, 4) + b[16:],
            r"offset 4: every dimension must be at least 1, got \(2, 0, 4\)",
        ),
        (
            lambda b: b[:4] + struct.pack(">III", 3, 3, 4) + b[16:],
            r"offset 40: the file ends, but dimensions \(3, 3, 4\) ask for 12 bytes more",
        ),
        (
            lambda b: b[:4] + struct.pack(">III", 1, 3, 4) + b[16:],
            r"offset 28: the file must end here by its dimensions \(1, 3, 4\)",
        ),
        (
            lambda b: b[:-1],
            r"offset 39: the file ends, but dimensions \(2, 3, 4\) ask for 1 bytes more",
        ),
        (
            lambda b: b[:4] + b"\xff" * 12 + b[16:],
            r"offset 4: dimensions .*: a file of .* may hold at most 67,108,864, it states 79,",
        ),
    ],
)
def test_damage_is_named_with_its_offset(
    tmp_path: Path, compress: bool, damage, message: str
) -> None:
    path = tmp_path / "images"
    content = damage(idx_bytes(IMAGES))
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(InputError, match=message) as caught:
        read_idx_images(path)
    assert str(caught.value).startswith(str(path))


def test_a_truncated_or_flipped_gzip_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = gzip.compress(idx_bytes(rng.integers(0, 256, (20, 8, 8)).astype(np.uint8)))
    for content in (
        whole[:-1],
        whole[: len(whole) // 2],
        whole[:11],
        whole[:-5] + b"\x00" + whole[-4:],
    ):
        (tmp_path / "images.gz").write_bytes(content)
        with pytest.raises(InputError, match=r"images\.gz"):
            read_idx_images(tmp_path / "images.gz")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="must be a readable file, got: "):
            read_idx(path, 3)


def test_a_label_out_of_range_is_named_with_its_offset(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(idx_bytes(np.array([1, 9, 10, 3], np.uint8)))
    with pytest.raises(InputError, match=r"labels: offset 10: labels must be from 0 to 9, got 10"):
        read_idx_labels(tmp_path / "labels", 10)
    assert read_idx_labels(tmp_path / "labels", 11).dtype == np.int64


@given(st.binary(max_size=60))
@settings(max_examples=150)
def test_arbitrary_bytes_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "arbitrary"
    for variant in (
        content,
        b"\x00\x00\x08\x01\x00\x00\x00" + content,
        b"\x1f\x8b\x08\x00" + content,
    ):
        path.write_bytes(variant)
        try:
            assert read_idx(path, 1).ndim == 1
        except InputError as error:
            assert str(path) in str(error)


def gzip_of_zeros(header: bytes, megabytes: int) -> bytes:
    """Compress one megabyte of zeros and repeat it: the checksum at the end is wrong, which nobody
    may read far enough to see.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(header) + packer.flush(zlib.Z_FULL_FLUSH)
    one = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + one * megabytes


@pytest.mark.parametrize("dimensions", [(1 << 10, 1 << 10, 1 << 10), (2, 3, 4)])
def test_a_gzip_bomb_is_refused_in_little_memory(
    tmp_path: Path, dimensions: tuple[int, int, int]
) -> None:
    bomb = gzip_of_zeros(struct.pack(">BBBBIII", 0, 0, 8, 3, *dimensions), 1 << 10)
    assert len(bomb) < 1.1e6
    (tmp_path / "bomb.gz").write_bytes(bomb)
    code = (
        "import re, sys, pathlib\n"
        "from cnn_core.data.idx import read_idx_images\n"
        "from cnn_core.errors import InputError\n"
        "try: read_idx_images(pathlib.Path(sys.argv[1]))\n"
        "except InputError: print(int(re.search(r'VmHWM:\\s+(\\d+)', "
        "pathlib.Path('/proc/self/status').read_text())[1]) // 1024)\n"
    )
    root = Path(cnn_core.__file__).parent.parent
    command = [sys.executable, "-c", code, str(tmp_path / "bomb.gz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert 5 < int(done.stdout) < 200


def test_all_of_mnist(mnist_folder: Path) -> None:
    labels = read_idx(mnist_folder / "t10k-labels-idx1-ubyte.gz", 1)
    images = read_idx(mnist_folder / "t10k-images-idx3-ubyte.gz", 3)
    assert images.shape == (10_000, 28, 28)
    for array, digest in (
        (labels, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        (images, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ):
        assert hashlib.sha256(idx_bytes(array)).hexdigest() == digest
