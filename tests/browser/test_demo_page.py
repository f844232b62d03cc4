"""Drawing digits on the demo page with mouse and finger, and dropping a file."""

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.browser.conftest import Opener, free_port, run, serving

pytestmark = pytest.mark.slow

Strokes = list[list[tuple[float, float]]]
DIGITS: dict[int, Strokes] = {
    0: [
        [
            (0.5, 0.15),
            (0.33, 0.25),
            (0.27, 0.5),
            (0.33, 0.75),
            (0.5, 0.85),
            (0.67, 0.75),
            (0.73, 0.5),
            (0.67, 0.25),
            (0.5, 0.15),
        ]
    ],
    1: [[(0.5, 0.15), (0.5, 0.85)]],
    3: [[(0.3, 0.2), (0.6, 0.16), (0.7, 0.3), (0.5, 0.47), (0.72, 0.65), (0.6, 0.83), (0.3, 0.82)]],
    5: [
        [
            (0.7, 0.17),
            (0.35, 0.17),
            (0.33, 0.45),
            (0.6, 0.45),
            (0.7, 0.65),
            (0.55, 0.83),
            (0.3, 0.8),
        ]
    ],
    7: [[(0.25, 0.2), (0.75, 0.2), (0.55, 0.5), (0.42, 0.85)]],
}

SLOW_FETCH = """() => {
  const real = window.fetch;
  window.sent = 0;
  window.answers = [];
  window.fetch = async (...what) => {
    window.sent += 1;
    const response = await real(...what);
    await new Promise((done) => setTimeout(done, 900));
    window.answers.push((await response.clone().json()).prediction);
    return response;
  };
}"""


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    run("pipeline.export", f"root={root}", "study.name=drawn")
    address = f"http://127.0.0.1:{free_port()}/"
    with serving(
        address,
        "pipeline.demo",
        f"bundle={root / 'drawn' / 'bundle'}",
        f"port={address[:-1].rpartition(':')[2]}",
    ):
        yield address


def answered(page: Any) -> str:
    """Waits until the page shows what it thinks of all that is on the paper."""
    page.locator("#result[aria-busy=false]").wait_for()
    return str(page.inner_text("#digit"))


def draw(page: Any, strokes: Strokes) -> None:
    box = page.locator("#paper").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=5)
        page.mouse.up()


def drawn_file(strokes: Strokes) -> bytes:
    picture = Image.new("L", (200, 200), 255)
    pen = ImageDraw.Draw(picture)
    for stroke in strokes:
        for (x0, y0), (x1, y1) in itertools.pairwise(stroke):
            pen.line([200 * x0, 200 * y0, 200 * x1, 200 * y1], fill=0, width=16)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(("width", "dark"), [(1100, False), (390, True)])
def test_drawn_digits_are_read(
    address: str, root: Path, open_page: Opener, screenshots: Path, width: int, dark: bool
) -> None:
    manifest = json.loads((root / "drawn" / "bundle" / "manifest.json").read_text())
    filters = min(manifest["members"][0]["model"]["filters"], 32)
    seen = open_page(address, width=width, dark=dark)
    page = seen.page
    page.locator("#heads th").first.wait_for()
    right = 0
    for digit, strokes in DIGITS.items():
        page.click("#clear")
        assert page.inner_text("#digit") == "–"
        draw(page, strokes)
        right += answered(page) == str(digit)
    page.screenshot(path=screenshots / f"demo_{width}.png", full_page=True)
    assert right >= 4, f"{right} of {len(DIGITS)} drawn digits were read right"
    assert page.locator("#rows td").count() == 10
    assert page.locator("#maps canvas").count() == filters
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    assert seen.errors == []
    assert seen.elsewhere == []


def test_the_answer_is_that_of_all_that_is_drawn(address: str, open_page: Opener) -> None:
    """Asked in the middle of a stroke and answered late, as on a slow machine: the page is busy
    until the answer to the last question is there.
    """
    page = open_page(address).page
    page.locator("#heads th").first.wait_for()
    page.evaluate(SLOW_FETCH)
    (stroke,) = DIGITS[7]
    box = page.locator("#paper").bounding_box()
    assert box is not None
    for index, (x, y) in enumerate(stroke):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=5)
        if index == 0:
            page.mouse.down()
        page.wait_for_timeout(300)
    page.mouse.up()
    shown = answered(page)
    sent, answers = page.evaluate("[window.sent, window.answers]")
    assert sent == len(answers) > 1
    assert shown == str(answers[-1])


def test_a_finger_draws_too(address: str, open_page: Opener) -> None:
    page = open_page(address, width=390, touch=True).page
    page.locator("#heads th").first.wait_for()
    box = page.locator("#paper").bounding_box()
    assert box is not None
    finger = page.context.new_cdp_session(page)
    for step in range(15):
        point = {
            "x": box["x"] + 0.5 * box["width"],
            "y": box["y"] + (0.15 + 0.05 * step) * box["height"],
        }
        finger.send(
            "Input.dispatchTouchEvent",
            {"type": "touchMove" if step else "touchStart", "touchPoints": [point]},
        )
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert answered(page) == "1"


def test_a_chosen_file_is_read_and_a_wrong_one_is_explained(
    address: str, open_page: Opener
) -> None:
    page = open_page(address).page
    page.locator("#heads th").first.wait_for()
    page.set_input_files(
        "#file", {"name": "seven.png", "mimeType": "image/png", "buffer": drawn_file(DIGITS[7])}
    )
    assert answered(page) == "7"
    page.set_input_files(
        "#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture at all"}
    )
    page.locator("#problem").wait_for(state="visible")
    assert "must be one that Pillow reads" in page.inner_text("#problem")
