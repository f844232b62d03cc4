"""MNIST, with a small stand-in for its files: where it is looked for, how it is downloaded and
verified, what is said offline.
"""

import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from pipeline.configuration import compose
from pipeline.configuration.data_settings import DataSettings
from pipeline.data import mnist, opened_for_evaluation, prepare, prepare_test
from tests.pipeline.sources import made, write_idx


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's cache, no $CNN_DATA_DIR, and no mirror that could be reached."""
    monkeypatch.delenv("CNN_DATA_DIR", raising=False)
    monkeypatch.setattr(mnist, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four small files whose digests stand in for MNIST's."""
    folder = tmp_path / "files"
    folder.mkdir()
    digests = {}
    for names, count in ((mnist.TRAIN, 40), (mnist.TEST, 12)):
        images, labels = made(count, (28, 28))
        for name, array in zip(names, (images, labels), strict=True):
            digests[name] = write_idx(folder / f"{name}.gz", array)
    monkeypatch.setattr(mnist, "SHA256", digests)
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
    monkeypatch.setattr(mnist, "MIRRORS", (f"{address}/first/", f"{address}/second/"))
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
    assert server.asked == [
        f"/first/{name}.gz" for name in mnist.TRAIN
    ]  # not a byte of the test set
    assert prepare(settings(), tmp_path / "other").digest == data.digest
    assert len(server.asked) == 2
    with opened_for_evaluation():
        test = prepare_test(settings(), tmp_path / "root")
    assert server.asked[2:] == [f"/first/{name}.gz" for name in mnist.TEST]
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
    assert sorted(path.name for path in cache.iterdir()) == sorted(
        f"{name}.gz" for name in mnist.TRAIN
    )


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


def test_digests_are_of_the_published_files() -> None:
    import os

    folder = os.environ.get("CNN_DATA_DIR")
    if not folder or not Path(folder, "mnist", "t10k-labels-idx1-ubyte.gz").is_file():
        pytest.skip("MNIST itself is not here ($CNN_DATA_DIR/mnist)")
    found = mnist.find_mnist(compose(["data=mnist", f"data.root={folder}/mnist"]).data, True)  # type: ignore[arg-type]
    assert len(mnist.read_mnist(compose(["data=mnist"]).data, found, True).labels) == 10_000  # type: ignore[arg-type]
