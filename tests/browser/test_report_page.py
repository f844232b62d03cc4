"""The report in a real browser: wide, narrow, dark, printed, by keyboard."""

from pathlib import Path

import pytest

from tests.browser.conftest import Opener, Watched, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(root: Path) -> str:
    run("pipeline.report", f"root={root}", "study.name=drawn")
    return (root / "drawn" / "report.html").as_uri()


def overflow(seen: Watched) -> int:
    return int(
        seen.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
    )


@pytest.mark.parametrize(
    ("width", "dark"), [(1400, False), (1400, True), (768, False), (360, False), (360, True)]
)
def test_it_shows_its_pictures_without_an_error_at_any_width(
    report: str, open_page: Opener, screenshots: Path, width: int, dark: bool
) -> None:
    seen = open_page(report, width=width, dark=dark)
    assert seen.page.locator("h1").inner_text() == "Study drawn"
    assert seen.page.locator("figure.chart svg").count() >= 6
    sizes = seen.page.eval_on_selector_all(
        "img", "images => Promise.all(images.map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert len(sizes) == 2 and min(sizes) > 100
    boxes = [chart.bounding_box() for chart in seen.page.locator("figure.chart svg").all()]
    assert all(box is not None and box["width"] > 150 and box["height"] > 50 for box in boxes)
    assert overflow(seen) <= 0, "the page must not scroll sideways"
    background = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(22, 24, 27)" if dark else "rgb(255, 255, 255)")
    seen.page.screenshot(
        path=screenshots / f"report_{width}{'_dark' if dark else ''}.png", full_page=True
    )
    assert seen.errors == []
    assert seen.elsewhere == []


def test_columns_sort_by_keyboard(report: str, open_page: Opener) -> None:
    page = open_page(report).page
    head = page.locator("table.sortable th", has_text="seconds")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    column = page.locator("table.sortable tbody tr td:nth-child(5)").evaluate_all(
        "cells => cells.map(c => Number(c.dataset.value))"
    )
    assert column == sorted(column, reverse=True)
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "ascending"


def test_the_first_stop_of_the_keyboard_skips_to_the_findings(
    report: str, open_page: Opener
) -> None:
    page = open_page(report).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") > 0
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash === '#short'")  # the jump follows the key, not at once


def test_every_picture_and_region_has_a_name_for_screen_readers(
    report: str, open_page: Opener
) -> None:
    page = open_page(report).page
    named = page.evaluate(
        "() => [...document.querySelectorAll('svg[role=img]')]"
        ".every(s => s.getAttribute('aria-labelledby').split(' ')\n"
        "        .every(id => document.getElementById(id)?.textContent.length > 5))"
    )
    assert named
    assert page.locator("[role=region]:not([aria-label])").count() == 0


def test_it_prints(report: str, open_page: Opener) -> None:
    page = open_page(report).page
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator(".scroll").first.evaluate("e => getComputedStyle(e).maxHeight") == "none"
    content = page.pdf(format="A4")
    assert content.startswith(b"%PDF")
    assert len(content) > 50_000
