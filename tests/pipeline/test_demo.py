"""The demo's server: what it computes, and what it refuses."""

import http.client
import io
import json
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cnn_core.data.figures import fill_box
from cnn_core.data.image_form import ImageForm
from cnn_core.errors import InputError
from cnn_core.layers import MomentNormalization
from cnn_core.model import Sequential
from pipeline.bundle.predictor import Bundle, Net
from pipeline.bundle.writing import operations_of
from pipeline.configuration import compose
from pipeline.demo import COMMAND, main
from pipeline.demo_page import server as server_module
from pipeline.demo_page.server import DemoServer, answer, first_maps, input_of
from tests.pipeline.made_manifest import made_manifest


def net(seed: int) -> Net:
    rng = np.random.default_rng(seed)
    convolution = {
        "op": "convolution",
        "W": "W",
        "b": "b",
        "padding": [1, 1, 1, 1],
        "stride": [1, 1],
    }
    dense = {"op": "dense", "W": "V", "b": "c"}
    arrays = {
        "W": rng.normal(size=(3, 1, 3, 3)), "b": np.zeros(3),
        "V": 0.1 * rng.normal(size=(10, 192)), "c": np.zeros(10),
    }  # fmt: skip
    steps = [convolution, {"op": "relu"}, {"op": "flatten"}, dense]
    return Net(steps, {name: array.astype(np.float32) for name, array in arrays.items()})


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    form = ImageForm(channels=1, height=8, width=8, full_scale=16.0, other_sizes="box")
    manifest = replace(
        made_manifest((1, 8, 8), 10, (1.0, 1.0)), form=form, class_names=tuple("abcdefghij")
    )
    return Bundle(manifest, [[net(0)], [net(1)]])


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[DemoServer]:
    server = DemoServer(bundle, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def png(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def drawn_one(polarity: int = 255) -> Image.Image:
    picture = Image.new("L", (280, 280), 255 - polarity)
    ImageDraw.Draw(picture).line([(140, 40), (140, 240)], fill=polarity, width=22)
    return picture


def ask(
    server: DemoServer,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content, response.headers


def test_the_page_and_its_parts_are_served_and_load_nothing_from_elsewhere(
    server: DemoServer,
) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/demo.css", "text/css"),
        ("/demo.js", "text/javascript"),
    ):
        status, content, headers = ask(server, "GET", path)
        assert status == 200
        assert headers["Content-Type"].startswith(kind)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert b"//cdn" not in content and b"https://" not in content


def test_about_says_which_model_it_is(server: DemoServer) -> None:
    status, content, _ = ask(server, "GET", "/about.json")
    assert status == 200
    assert json.loads(content) | {"digest": ""} == {
        "study": "made-up", "classes": list("abcdefghij"), "image": [1, 8, 8],
        "members": ["m0", "m1"], "method": "uniform", "data": "digits", "digest": "",
        "dark_on_light": False,
    }  # fmt: skip


def test_an_answer_holds_members_ensemble_input_and_maps(
    server: DemoServer, bundle: Bundle
) -> None:
    status, content, _ = ask(server, "POST", "/predict", png(drawn_one()))
    assert status == 200
    found = json.loads(content)
    image = input_of(png(drawn_one()), bundle)
    np.testing.assert_allclose(found["ensemble"], bundle.predict_proba(image)[0], atol=1e-6)
    np.testing.assert_allclose(
        [m["probabilities"] for m in found["members"]], bundle.member_proba(image)[:, 0], atol=1e-6
    )
    assert found["prediction"] == int(np.argmax(found["ensemble"]))
    assert found["seen"] == image[0, 0].tolist()
    assert np.shape(found["maps"]) == (3, 8, 8)
    assert found["empty"] is False


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
@pytest.mark.parametrize("polarity", [0, 255])
def test_pictures_of_either_polarity_and_any_size_become_the_same_digit(
    bundle: Bundle, kind: str, polarity: int
) -> None:
    image = input_of(png(drawn_one(polarity).resize((100, 100)), kind), bundle)
    assert image.shape == (1, 1, 8, 8)
    assert (image[0, 0][:, 3:5] > 150).all()
    assert image[0, 0][:, [0, 1, 6, 7]].max() < 60


def test_an_empty_drawing_is_said_to_be_empty(bundle: Bundle) -> None:
    assert answer(bundle, png(Image.new("L", (280, 280))))["empty"] is True


def test_a_digit_fills_the_box_by_the_ink_of_its_blocks() -> None:
    """A picture whose blocks of 4x4 hold 0 or 1 shares of ink is that picture of shares."""
    shares = np.zeros((8, 8))
    shares[:, 2:6] = np.linspace(0.25, 1, 32).reshape(8, 4)
    grey = np.zeros((40, 40), np.uint8)
    grey[4:36, 4:36] = np.repeat(np.repeat(shares * 255, 4, axis=0), 4, axis=1).astype(np.uint8)
    np.testing.assert_allclose(fill_box(grey, (8, 8)) / 255, shares, atol=0.01)


def test_first_maps_are_the_first_convolution_rectified() -> None:
    from scipy.signal import correlate2d

    one = net(5)
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 8, 8)).astype(np.uint8)
    expected = np.stack(
        [
            np.maximum(correlate2d(image[0, 0] / 255, kernel[0], mode="same"), 0)
            for kernel in one.arrays["W"]
        ]
    )
    np.testing.assert_allclose(first_maps(one, image) / 255, expected / expected.max(), atol=0.003)


def test_a_framed_net_shows_what_it_sees_and_its_maps_of_that(bundle: Bundle) -> None:
    one, layer = net(5), MomentNormalization("box")
    layer.build((1, 8, 8), np.random.default_rng(0), np.float32)
    operations, _ = operations_of(Sequential([layer]))
    framed = Net([*operations, *one.operations], one.arrays)
    image = input_of(png(drawn_one()), bundle)
    seen = np.rint(layer.forward(image.transpose(1, 2, 3, 0).astype(np.float32), training=False))[
        :, :, :, 0
    ]
    found = answer(Bundle(bundle.manifest, [[framed], *bundle.nets[1:]]), png(drawn_one()))
    assert found["seen"] == seen[0].astype(int).tolist() != image[0, 0].tolist()
    np.testing.assert_allclose(found["maps"], first_maps(one, seen[None].astype(np.uint8)), atol=3)
    beside = Net(
        [{**operations[0], "beside": True}, *two_channels(one).operations], two_channels(one).arrays
    )
    assert (
        answer(Bundle(bundle.manifest, [[beside], *bundle.nets[1:]]), png(drawn_one()))["seen"]
        == found["seen"]
    )


def two_channels(one: Net) -> Net:
    """Return the net for two channels, each with half of its first kernels."""
    name = next(op["W"] for op in one.operations if op["op"] == "convolution")
    return Net(one.operations, {**one.arrays, name: np.repeat(one.arrays[name] / 2, 2, axis=1)})


@pytest.mark.parametrize("behind", [[], [{"op": "flatten"}], [{"op": "scale_shift"}]])
def test_first_maps_are_rectified_whatever_is_behind_the_convolution(
    behind: list[dict[str, str]],
) -> None:
    """Nothing, what ends the maps, and what belongs to them: here it doubles them."""
    one = net(5)
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 8, 8)).astype(np.uint8)
    arrays = one.arrays
    if behind == [{"op": "scale_shift"}]:
        behind = [{"op": "scale_shift", "scale": "s", "shift": "t"}]
        arrays = {**arrays, "s": np.full(3, 2, np.float32), "t": np.zeros(3, np.float32)}
    alike = first_maps(Net([one.operations[0], *behind], arrays), image)
    np.testing.assert_array_equal(alike, first_maps(one, image))


def test_a_net_without_convolution_has_no_maps() -> None:
    flat = Net([{"op": "flatten"}, {"op": "dense", "W": "V", "b": "c"}], {})
    assert first_maps(flat, np.zeros((1, 1, 8, 8), np.uint8)).shape[0] == 0


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", png(drawn_one())[:200], b"\x89PNG\r\n\x1a\n" + b"\0" * 40]
)
def test_what_is_no_picture_is_refused_in_one_line(server: DemoServer, content: bytes) -> None:
    status, body, _ = ask(server, "POST", "/predict", content)
    assert status == 400
    message = json.loads(body)["error"]
    assert "picture" in message and "\n" not in message and "/tmp" not in message


def test_bombs_and_floods_are_refused(server: DemoServer) -> None:
    huge = png(Image.new("1", (20_000, 20_000)))
    status, body, _ = ask(server, "POST", "/predict", huge)
    assert status == 400 and "exceeds limit" in json.loads(body)["error"]
    status, body, _ = ask(server, "POST", "/predict", None, {"Content-Length": str(1 << 40)})
    assert status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/../server.py", 404), ("GET", "/manifest.json", 404), ("POST", "/", 400)],
)
def test_other_paths_lead_nowhere(server: DemoServer, method: str, path: str, status: int) -> None:
    assert ask(server, method, path, b"x" if method == "POST" else None)[0] == status


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example:80"}, {"Origin": "http://evil.example"}]
)
def test_other_sites_cannot_ask(server: DemoServer, headers: dict[str, str]) -> None:
    status, _, _ = ask(server, "POST", "/predict", png(drawn_one()), headers)
    assert status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost", 200), ("LOCALHOST:{port}", 200),
        ("127.0.0.1:{port}", 200),
        ("127.0.0.1:1", 403), ("localhost:80", 403), ("localhost:{port}0", 403), ("", 403),
        ("evil.example", 403), ("evil.example:{port}", 403), ("localhost:", 403),
    ],
)  # fmt: skip
def test_it_answers_to_its_own_names_alone(server: DemoServer, host: str, status: int) -> None:
    headers = {"Host": host.format(port=server.server_port)}
    assert ask(server, "GET", "/about.json", None, headers)[0] == status


@pytest.mark.parametrize("length", ["-1", "1_0", "+5", "x", "", "9" * 5000, str(17 << 20)])
def test_a_length_that_is_none_is_refused(server: DemoServer, length: str) -> None:
    assert sent(server, b"POST /predict HTTP/1.0\r\nHost: localhost\r\nContent-Length: "
                + length.encode() + b"\r\n\r\n").split()[1] == b"400"  # fmt: skip


def sent(server: DemoServer, content: bytes) -> bytes:
    """Return what the server answers to these bytes."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(content)
        with connection.makefile("rb") as answered:
            return answered.read()


def test_a_host_that_is_given_twice_is_refused(server: DemoServer) -> None:
    twice = b"GET / HTTP/1.0\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert sent(server, twice).split()[1] == b"403"


def test_half_a_picture_is_not_answered(server: DemoServer) -> None:
    head = b"POST /predict HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(head + b"half")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


def test_a_client_that_goes_away_leaves_no_traceback(
    server: DemoServer, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = b"POST /predict HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf"
    for content in (begun, b"GET / HT", b"GET /about.json HTTP/1.0\r\nHost: localhost\r\n\r\n"):
        connection = socket.create_connection(("127.0.0.1", server.server_port))
        connection.sendall(content)
        hard = struct.pack("ii", 1, 0)  # it resets: what is written to it fails
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
        connection.close()
    assert ask(server, "GET", "/about.json")[0] == 200
    while server._begun:
        threading.Event().wait(0.01)
    assert capfd.readouterr() == ("", "")


def test_connections_are_bounded_in_number_and_time(
    server: DemoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that say nothing, or a byte now and then, do not keep others out for long."""
    where = ("127.0.0.1", server.server_port)
    waiting = [socket.create_connection(where) for _ in range(server_module.MOST_CONNECTIONS)]
    while len(server._begun) < len(waiting):
        threading.Event().wait(0.01)
    threads = threading.active_count()
    assert sent(server, b"").split()[1] == b"503"
    assert threading.active_count() <= threads
    monkeypatch.setattr(server_module, "LONGEST_S", 0.0)
    for connection in waiting:
        connection.settimeout(20)
        assert connection.recv(100) == b""  # ended by the server
        connection.close()
    monkeypatch.undo()
    while server._begun:
        threading.Event().wait(0.01)
    assert ask(server, "GET", "/about.json")[0] == 200


def test_a_fault_is_a_line(server: DemoServer, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise RuntimeError("\x1b[2J at http://ann:Zq/7kX@host")
    except RuntimeError:
        server.handle_error(None, None)
    assert capsys.readouterr().err == "demo: RuntimeError: \\x1b[2J at http://***@host\n"


def test_it_listens_on_this_machine_alone(server: DemoServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_the_command_needs_a_bundle_that_exists(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bundle: must name a folder with an exported model"):
        main(compose([], COMMAND))
    with pytest.raises(InputError, match=r"bundle: .*manifest\.json"):
        main(compose([f"bundle={tmp_path}"], COMMAND))
