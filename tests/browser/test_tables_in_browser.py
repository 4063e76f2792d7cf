"""At 1280 pixels no table of a report is cut: it wraps, or says that it scrolls."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from exaone_nb.show.notebook import as_html
from exaone_nb.show.table import Column, Table, columns
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.workbook.report import look
from exaone_nb.workbook.report.markdown import Prose, sanitize

pytestmark = [pytest.mark.browser]

NAMES = Table(
    [*columns([f"model.layers.{n}.self_attn.q_proj.weight_scale" for n in range(4)], code=True), Column("why it is so")],
    [{f"model.layers.{n}.self_attn.q_proj.weight_scale": "re:.*self_attn.(q|k|v)_proj$" for n in range(4)}
     | {"why it is so": "A sentence that is long enough to need several lines in its column. " * 3}],
    caption="long names",
)  # fmt: skip
DIGITS = Table(
    columns([f"column {n}" for n in range(30)], ","), [{f"column {n}": 123_456_789 for n in range(30)}]
)
PROSE = "| key | value |\n|---|---|\n| `" + "layer_types" * 3 + "` | " + "words " * 60 + "|\n"
# Boxes whose content is wider than they are, with what stands before them.
WIDE = """() => Array.from(document.querySelectorAll(".scroll, .rich")).filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => [e.previousElementSibling.className, e.previousElementSibling.checkVisibility(), e.textContent.slice(0, 40)])"""
HINT = "This table scrolls to the right"


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.close()


def opened(page, *html: str):
    """The page as a chapter's report lays it out: contents at the left, outputs in their boxes."""
    boxes = "".join(f'<p>before</p><div class="output rich">{sanitize(one)}</div>' for one in html)
    text = look.fill("base.html").replace(
        '<main id="content">', f'<nav class="toc">contents</nav><main id="content">{boxes}'
    )
    page.set_content(text)
    return page


def test_long_names_and_sentences_wrap(page):
    opened(page, as_html(NAMES))
    assert page.evaluate(WIDE) == []
    assert page.get_by_text(HINT).count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert page.locator("td code").count() == 4


def test_a_figure_says_that_it_scrolls_where_the_screen_is_narrow(page):
    picture = io.BytesIO()
    Image.new("RGB", (700, 300)).save(picture, "png")
    data = base64.b64encode(picture.getvalue()).decode()
    opened(page, f'<figure class="enb"><img alt="a bar" src="data:image/png;base64,{data}"></figure>')
    assert page.get_by_text("This figure scrolls").count() == 0
    page.set_viewport_size({"width": 400, "height": 900})
    page.evaluate("dispatchEvent(new Event('resize'))")
    assert page.get_by_text("This figure scrolls").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_table_that_cannot_wrap_says_that_it_scrolls(page):
    opened(page, as_html(NAMES), as_html(DIGITS))
    wide = page.evaluate(WIDE)
    assert [entry[:2] for entry in wide] == [["scrolls", True]]
    assert page.get_by_text(HINT).is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280, "the table scrolls, not the page"
    box = page.locator(".rich").nth(1)
    assert box.get_attribute("tabindex") == "0"
    page.set_viewport_size({"width": 6000, "height": 900})
    page.add_style_tag(content=".layout { grid-template-columns: 15rem minmax(0, 5000px) !important; }")
    page.evaluate("dispatchEvent(new Event('resize'))")
    assert not page.get_by_text(HINT).is_visible(), "there is room now"


def test_a_table_that_scrolls_on_a_phone_gives_its_columns_room(page):
    names = [
        "asked for",
        "what the plan says of the attempt",
        "requests of the whole context at once",
        "n",
        "verdict",
        "why",
    ]
    texts = dict.fromkeys(names, "loses at most 5 points of the base's 100, or more than it said") | {
        names[2]: 1234,
        "n": 5,
        "verdict": "GO",
    }
    table = as_html(Table(columns(names), [texts] * 3))
    opened(page, table, as_html(Table(columns(["a", "b"]), [{"a": "few words", "b": "here"}])))
    wide = page.evaluate("Array.from(document.querySelectorAll('th'), e => e.offsetWidth)")
    page.set_viewport_size({"width": 500, "height": 900})
    page.evaluate("dispatchEvent(new Event('resize'))")
    asked, says, requests, n, verdict, why, *small = page.evaluate(
        "Array.from(document.querySelectorAll('th'), e => e.offsetWidth)"
    )
    assert min(asked, says, why) >= 9 * 16 and 6 * 16 <= requests <= 7 * 16, "a word a line is no column"
    assert n < 5 * 16 and verdict < 8 * 16 and small == wide[6:], "a short column stays short"
    assert page.evaluate("document.documentElement.scrollWidth") <= 500
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate("dispatchEvent(new Event('resize'))")
    assert page.evaluate("Array.from(document.querySelectorAll('th'), e => e.offsetWidth)") == wide


def test_paper_has_no_hint(page):
    opened(page, as_html(DIGITS))
    page.emulate_media(media="print")
    assert not page.get_by_text(HINT).is_visible()


def test_tables_in_prose_stay_on_the_page(page):
    opened(page)
    body = Prose().render(PROSE)
    page.evaluate(
        "html => document.querySelector('main').innerHTML = `<div class='prose'>${html}</div>`", body
    )
    assert page.evaluate(WIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_a_table_that_is_a_few_pixels_too_wide_gives_no_hint(page):
    width = opened(page).locator("main").evaluate("e => e.clientWidth")
    for more, hints in ((4, 0), (40, 1)):
        opened(
            page,
            f'<table style="min-width: {width + more}px; width: {width + more}px"><tr><td>x</td></tr></table>',
        )
        assert page.locator(".rich").evaluate("e => e.scrollWidth - e.clientWidth") == more
        assert page.get_by_text(HINT).count() == hints


def test_paper_breaks_no_number_of_an_interval(page):
    names = [f"n{n}" for n in range(12)]
    table = Table(columns(names, ".1f"), [dict.fromkeys(names, Estimate(279.2, 189.1, 369.3))])
    opened(page, as_html(table))
    page.set_viewport_size({"width": 718, "height": 1000})
    page.emulate_media(media="print")
    lines = """e => { const range = document.createRange(), text = e.firstChild; range.setStart(text, 0);
      range.setEnd(text, text.length); return new Set(Array.from(range.getClientRects(), r => Math.round(r.top))).size; }"""
    assert {cell.evaluate(lines) for cell in page.locator("td.interval").all()} <= {1, 2}


def test_paper_breaks_no_name_while_there_is_room(page):
    names = ["CPUInt8ScaledMMLinearKernel", "quantization", "nano_calibration"]
    table = Table(
        [Column("name", code=True), *columns([f"number {n}" for n in range(8)], ",")],
        [{"name": name} | {f"number {n}": 123_456 for n in range(8)} for name in names],
    )
    opened(page, as_html(table))
    page.set_viewport_size({"width": 718, "height": 1000})
    page.emulate_media(media="print")
    assert page.locator("td code").evaluate_all("all => all.map(e => e.getClientRects().length)") == [1, 1, 1]


def test_a_click_shows_a_picture_in_its_own_size(page):
    drawing = io.BytesIO()
    Image.new("RGB", (1051, 400)).save(drawing, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(drawing.getvalue()).decode()}"
    opened(page, f'<figure class="enb"><img alt="a" src="{source}"></figure>')
    page.set_viewport_size({"width": 500, "height": 800})
    picture = page.locator("figure img")
    fitted = range(786, 800)  # three quarters of its size, the least on a narrow screen
    for width in (fitted, range(1051, 1060), fitted):
        assert picture.evaluate("e => e.clientWidth") in width
        assert page.evaluate("document.documentElement.scrollWidth") <= 500
        picture.click(position={"x": 9, "y": 9})
