"""MNIST and its family, with small stand-ins for their files: where they are looked for, how they
are downloaded and verified, what is said offline.
"""

import gzip
import hashlib
import http.server
import os
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from pipeline.configuration import compose
from pipeline.configuration.data_settings import DataSettings
from pipeline.data import (
    download,
    opened_for_evaluation,
    prepare,
    prepare_test,
)
from pipeline.data.idx_sets import SETS, TEST, TRAIN
from pipeline.data.preparation import source_of
from pipeline.data.source import PartToRead
from tests.pipeline.sources import idx_bytes, made, write_idx


def known(monkeypatch: pytest.MonkeyPatch, name: str, **facts: object) -> None:
    """Change what is known about a set."""
    monkeypatch.setitem(SETS, name, replace(SETS[name], **facts))  # type: ignore[arg-type]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's cache, no $CNN_DATA_DIR, and no mirror that could be reached."""
    monkeypatch.delenv("CNN_DATA_DIR", raising=False)
    monkeypatch.setattr(download, "user_cache", lambda: tmp_path / "cache")
    known(monkeypatch, "mnist", mirrors=("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four small files whose digests stand in for MNIST's."""
    folder = tmp_path / "files"
    folder.mkdir()
    digests = {}
    for names, count in ((TRAIN, 40), (TEST, 12)):
        images, labels = made(count, (28, 28))
        for name, array in zip(names, (images, labels), strict=True):
            digests[name] = write_idx(folder / f"{name}.gz", array)
    known(monkeypatch, "mnist", sha256=digests)
    return folder


class Server(http.server.ThreadingHTTPServer):
    """Serves files by their last name, as they are or with an answer of their own by mirror."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.answers: dict[str, bytes] = {}
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        mirror, name = self.path.rsplit("/", 1)
        content = self.server.answers.get(mirror, (self.server.folder / name).read_bytes())
        self.send_response(200 if content else 503)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    served = Server(files)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{served.server_port}"
    known(monkeypatch, "mnist", mirrors=(f"{address}/first/", f"{address}/second/"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def settings(*overrides: str) -> DataSettings:
    return compose(["data=mnist", *overrides]).data


def test_found_in_a_folder_that_is_named_compressed_or_not(
    cache: Path, files: Path, tmp_path: Path
) -> None:
    data = prepare(settings(f"data.root={files}"), tmp_path / "root")
    assert (data.image_shape, data.classes, data.valid_fraction) == ((1, 28, 28), 10, 1 / 6)
    np.testing.assert_array_equal(
        open_prepared(data.folder, data.digest).images[:, 0], made(40, (28, 28))[0]
    )
    for path in list(files.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert prepare(settings(f"data.root={files}"), tmp_path / "root").digest == data.digest


def test_found_in_the_shared_folder_before_the_cache(
    cache: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    files.rename(tmp_path / "shared" / "mnist")
    monkeypatch.setenv("CNN_DATA_DIR", str(tmp_path / "shared"))
    assert prepare(settings(), tmp_path / "root").classes == 10
    assert not cache.exists()


def test_downloaded_once_and_only_what_is_needed(
    cache: Path, server: Server, tmp_path: Path
) -> None:
    data = prepare(settings(), tmp_path / "root")
    assert server.asked == [f"/first/{name}.gz" for name in TRAIN]  # not a byte of the test set
    assert prepare(settings(), tmp_path / "other").digest == data.digest
    assert len(server.asked) == 2
    with opened_for_evaluation():
        test = prepare_test(settings(), tmp_path / "root")
    assert server.asked[2:] == [f"/first/{name}.gz" for name in TEST]
    assert len(open_prepared(test.folder, test.digest).labels) == 12


WRONG = gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\x01" * 3 + b"x")


@pytest.mark.parametrize(
    "answer", [b"", b"<html>not found</html>", WRONG], ids=["empty", "page", "another file"]
)
def test_second_mirror_where_the_first_fails_or_lies(
    answer: bytes, cache: Path, server: Server, tmp_path: Path
) -> None:
    server.answers["/first"] = answer
    assert prepare(settings(), tmp_path / "root").classes == 10
    assert [path.split("/")[1] for path in server.asked] == ["first", "second", "first", "second"]
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in TRAIN)


def test_offline_says_what_to_do_and_leaves_nothing_behind(
    cache: Path, files: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as raised:
        prepare(settings(), tmp_path / "root")
    text = str(raised.value)
    assert "cannot be reached" in text
    assert text.count("http://127.0.0.1:9/") == 2
    assert "data.root=FOLDER" in text
    assert "data=digits" in text
    assert not list(cache.glob("*"))


def test_download_can_be_forbidden(cache: Path, server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.download=false: put the four files"):
        prepare(settings("data.download=false"), tmp_path / "root")
    assert server.asked == []


def test_a_folder_without_the_files_is_refused_without_looking_elsewhere(
    cache: Path, server: Server, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError,
        match=r"data.root: must hold train-images-idx3-ubyte and train-labels-idx1-ubyte",
    ):
        prepare(settings(f"data.root={tmp_path}"), tmp_path / "root")
    assert server.asked == []


def test_other_images_under_mnists_name_are_refused(
    cache: Path, files: Path, tmp_path: Path
) -> None:
    write_idx(files / "train-images-idx3-ubyte.gz", made(40, (28, 28), seed=5)[0])
    with pytest.raises(
        InputError, match=r"train-images-idx3-ubyte.gz: must be MNIST's own, sha256"
    ):
        prepare(settings(f"data.root={files}"), tmp_path / "root")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "train-images-idx3-ubyte",
            b"\0\0\x08\x03\0\0\0\x28\0\0\0\x1c\0\0\0\x1c" + bytes(100),
            "offset 116: the file ends",
        ),
        (
            "train-images-idx3-ubyte",
            b"\0\0\x0d\x03" + bytes(12),
            "offset 0: an IDX file of unsigned bytes",
        ),
        (
            "train-labels-idx1-ubyte",
            b"\0\0\x08\x01\0\0\0\x02\x03\x0b",
            "offset 9: labels must be from 0 to 9, got 11",
        ),
    ],
)
def test_damage_is_named_with_file_and_offset(
    name: str, content: bytes, says: str, cache: Path, files: Path, tmp_path: Path
) -> None:
    (files / f"{name}.gz").unlink()
    (files / name).write_bytes(content)
    with pytest.raises(InputError) as raised:
        prepare(settings(f"data.root={files}"), tmp_path / "root")
    assert says in str(raised.value)
    assert name in str(raised.value)


def small(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path, spelling: str = "") -> None:
    """Write four small files that stand in for a set's; `spelling` begins their names."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for names, count in ((TRAIN, 40), (TEST, 12)):
        for file, array in zip(names, made(count, (28, 28)), strict=True):
            digests[file] = write_idx(folder / f"{spelling}{file}.gz", array)
    known(monkeypatch, name, sha256=digests)


@pytest.mark.parametrize(
    ("name", "first", "last", "other_sizes"),
    [
        ("mnist", "0", "9", "mnist"),
        ("fashion_mnist", "T-shirt/top", "Ankle boot", "resample"),
        ("emnist_letters", "A", "Z", "mnist"),
    ],
)
def test_each_set_has_its_folder_class_names_and_form(
    name: str,
    first: str,
    last: str,
    other_sizes: str,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small(monkeypatch, name, tmp_path / "shared" / name.replace("_", "-"))
    monkeypatch.setenv("CNN_DATA_DIR", str(tmp_path / "shared"))
    chosen = compose([f"data={name}"]).data
    source = source_of(chosen)
    for test, count in ((False, 40), (True, 12)):
        part = source.read(
            chosen, source.files(chosen, test), PartToRead(test=test, scratch=Path())
        )
        assert part.form is not None and part.form.shape == (1, 28, 28)
        assert part.form.other_sizes == other_sizes
        assert (part.class_names[0], part.class_names[-1]) == (first, last)
        assert (len(part.labels), part.classes) == (count, len(part.class_names))
        np.testing.assert_array_equal(part.images[:, 0], made(count, (28, 28))[0])
    assert source.licence != "as its owner says"


@pytest.fixture
def letters(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small files in the form that EMNIST is published in, under its names."""
    small(monkeypatch, "emnist_letters", tmp_path / "upright")
    folder, digests = tmp_path / "gzip", {}
    folder.mkdir()
    for names, count, part in ((TRAIN, 40, "train"), (TEST, 12, "test")):
        images, labels = made(count, (28, 28))
        turned = np.ascontiguousarray(images.transpose(0, 2, 1))
        for name, array in zip(names, (turned, labels + 1), strict=True):
            kind = name.split("-", 1)[1]
            digests[name] = write_idx(folder / f"emnist-letters-{part}-{kind}.gz", array)
    known(monkeypatch, "emnist_letters", turned=digests)
    return folder


def test_letters_as_published_become_upright_and_count_from_0(
    letters: Path, tmp_path: Path
) -> None:
    chosen = ["data=emnist_letters", f"data.root={letters}"]
    data = prepare(compose(chosen).data, tmp_path / "root")
    found = open_prepared(data.folder, data.digest)
    np.testing.assert_array_equal(found.images[:, 0], made(40, (28, 28))[0])
    np.testing.assert_array_equal(found.labels, made(40, (28, 28))[1])
    chosen[1] = f"data.root={tmp_path / 'upright'}"
    assert prepare(compose(chosen).data, tmp_path / "root").digest == data.digest


def test_letters_come_from_one_zip_which_does_not_stay(
    letters: Path, cache: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(server.folder / "gzip.zip", "w") as archive:
        archive.writestr("gzip/emnist-digits-train-images-idx3-ubyte.gz", b"other")
        for path in letters.iterdir():
            archive.write(path, f"gzip/{path.name}")
    address = f"http://127.0.0.1:{server.server_port}/all/gzip.zip"
    known(monkeypatch, "emnist_letters", archive=address)
    chosen = compose(["data=emnist_letters"]).data
    data = prepare(chosen, tmp_path / "root")
    with opened_for_evaluation():
        prepare_test(chosen, tmp_path / "root")
    assert server.asked == ["/all/gzip.zip"]
    kept = sorted(path.name for path in (cache.parent / "emnist-letters").iterdir())
    assert kept == sorted(path.name for path in letters.iterdir())
    np.testing.assert_array_equal(
        open_prepared(data.folder, data.digest).images[:, 0], made(40, (28, 28))[0]
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<html>moved</html>", "must be the zip of EMNIST, got: File is not a zip file"),
        (None, "There is no item named 'gzip/emnist-letters-train-images-idx3-ubyte.gz'"),
        (b"other", "must be EMNIST's own"),
    ],
    ids=["page", "empty zip", "other members"],
)
def test_a_zip_of_something_else_leaves_nothing_behind(
    content: bytes | None,
    says: str,
    letters: Path,
    cache: Path,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = server.folder / "gzip.zip"
    if content is None or content == b"other":
        with zipfile.ZipFile(path, "w") as archive:
            for member in SETS["emnist_letters"].members.values() if content else ():
                archive.writestr(member, idx_bytes(made(3, (28, 28), seed=4)[0]))
    else:
        path.write_bytes(content)
    address = f"http://127.0.0.1:{server.server_port}/all/gzip.zip"
    known(monkeypatch, "emnist_letters", archive=address)
    with pytest.raises(InputError) as raised:
        prepare(compose(["data=emnist_letters"]).data, tmp_path / "root")
    assert says in str(raised.value)
    assert "put emnist-letters-train-images-idx3-ubyte.gz, " in str(raised.value)
    assert not list((cache.parent / "emnist-letters").iterdir())


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("mnist", 60_000, 10_000),
        ("fashion_mnist", 60_000, 10_000),
        ("emnist_letters", 124_800, 20_800),
    ],
)
def test_digests_are_of_the_published_files(name: str, train: int, test: int) -> None:
    folder = os.environ.get("CNN_DATA_DIR")
    kept = SETS[name].folder
    if not folder or not Path(folder, kept, "t10k-labels-idx1-ubyte.gz").is_file():
        pytest.skip(f"{SETS[name].title} itself is not here ($CNN_DATA_DIR/{kept})")
    chosen = compose([f"data={name}", f"data.root={folder}/{kept}"]).data
    source = source_of(chosen)
    for held, count in ((False, train), (True, test)):
        part = source.read(
            chosen, source.files(chosen, held), PartToRead(test=held, scratch=Path())
        )
        assert np.bincount(part.labels).tolist() == pytest.approx(
            [count / part.classes] * part.classes, rel=0.15
        )
        assert len(part.images) == count


def test_emnists_published_digests_are_of_the_same_pictures() -> None:
    folder = os.environ.get("CNN_DATA_DIR")
    path = Path(folder or "", "emnist-letters", "t10k-images-idx3-ubyte.gz")
    if not folder or not path.is_file():
        pytest.skip("EMNIST itself is not here ($CNN_DATA_DIR/emnist-letters)")
    content = gzip.decompress(path.read_bytes())
    images = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
    turned = content[:16] + images.transpose(0, 2, 1).tobytes()
    assert hashlib.sha256(turned).hexdigest() == SETS["emnist_letters"].turned[TEST[0]]
