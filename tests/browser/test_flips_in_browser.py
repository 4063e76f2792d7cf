"""The page of changed answers as a reader meets it: hostile answers stay text, filter and search work without a network."""

from __future__ import annotations

import pytest

from exaone_nb.score.flips import Answered, Flip, write_page

pytestmark = [pytest.mark.browser]

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</pre></article></script><img src=x onerror='window.hacked = 1'>",
    "<svg onload=window.hacked=1><a href='javascript:window.hacked=1'>click</a>",
    "{{ 7 * 7 }}{% for x in y %} <style>body{display:none}</style>",
    "\u202etxet desrever\u202c \x1b[2J \x00 \ud800 lone",
    "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe><meta http-equiv=refresh content='0;url=https://example.invalid'>",
    '" data-kind="won" onmouseover="window.hacked=1',
]


def answer(text: str, right: bool, ended: str = "stop", flags: tuple[str, ...] = ()) -> Answered:
    return Answered(text, text[:20], right, float(right), ended, flags)


@pytest.fixture
def page(browser, tmp_path):
    found = [
        Flip(
            "toy",
            "base",
            "w4",
            "lost",
            f"Question {i}: {text}",
            text,
            answer("fine 42", True),
            answer(text, False),
        )
        for i, text in enumerate(HOSTILE)
    ]
    found.append(
        Flip("other", "base", "w8", "won", "How many apples?", "7", answer("", False, "length", ("truncated", "empty")),
             answer("seven apples", True))
    )  # fmt: skip
    path = write_page(tmp_path / "flips.html", found, {"toy": 100, "other": 20})
    requests, errors = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.requests, page.errors = requests, errors
    yield page
    page.close()


def shown(page) -> int:
    return page.locator("article:visible").count()


def test_hostile_answers_are_text(page):
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None and page.errors == []
    assert len(page.requests) == 1 and page.requests[0].startswith("file:")
    assert (
        page.locator(
            "article img, article script, article iframe, article svg, article a, article style"
        ).count()
        == 0
    )
    assert page.locator("article").count() == len(HOSTILE) + 1 == shown(page)
    text = page.locator("main").inner_text()
    assert "<script>window.hacked = 1</script>" in text and "{{ 7 * 7 }}" in text
    assert "\\u202e" in text and "\\x1b[2J" in text and "\u202e" not in text
    page.locator("pre").nth(3).hover()
    assert page.evaluate("window.hacked") is None


def test_filter_and_search(page):
    assert page.locator("#count").inner_text() == f"{len(HOSTILE) + 1} shown"
    page.fill("#words", "APPLES many")
    assert shown(page) == 1 and page.locator("#count").inner_text() == "1 shown"
    page.fill("#words", "no such word")
    assert shown(page) == 0
    page.fill("#words", "")
    page.select_option("#kind", "won")
    assert shown(page) == 1
    page.select_option("#kind", "")
    page.select_option("#task", "toy")
    assert shown(page) == len(HOSTILE)
    page.select_option("#task", "")
    page.select_option("#candidate", "w8")
    assert shown(page) == 1
    page.select_option("#candidate", "")
    page.check("#cut")
    assert shown(page) == 1 and "cut at its limit; empty" in page.locator("article:visible").inner_text()


@pytest.mark.parametrize(("scheme", "ground"), [("light", "255, 255, 255"), ("dark", "18, 18, 18")])
def test_what_changed_can_be_read_on_a_light_and_on_a_dark_ground(page, scheme, ground):
    page.emulate_media(color_scheme=scheme)
    light = """colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; }"""
    behind = page.evaluate(light, ground)
    for kind in ("lost", "won", "changed"):
        page.evaluate("kind => { document.querySelector('.kind').className = 'kind ' + kind; }", kind)
        words = page.evaluate(light, page.evaluate("getComputedStyle(document.querySelector('.kind')).color"))
        assert (max(words, behind) + 0.05) / (min(words, behind) + 0.05) >= 4.5, kind


def test_the_difference_is_marked_and_nothing_is_cut_off(page):
    marks = page.locator("article").first.locator("mark")
    assert marks.count() >= 1 and "42" in "".join(marks.all_inner_texts())
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), width
