"""The report as a reader meets it: opened from a file, the network cut, in light and dark, wide and narrow."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest

from exaone_nb.paths import NOTEBOOKS, RUNS
from exaone_nb.results import RunFolder
from exaone_nb.score import scoreboard_views
from exaone_nb.show.table import Table, columns
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.workbook.diff import Change, RunDiff
from exaone_nb.workbook.runner import run
from exaone_nb.workbook.sweep import grid as grids
from exaone_nb.workbook.sweep.run import write_leaderboard

pytestmark = [pytest.mark.browser, pytest.mark.notebook]

EVIL = """
from exaone_nb.workbook import note, show_table
import pandas as pd
from IPython.display import HTML, Markdown, display
answer = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'><a href='javascript:window.hacked=1'>x</a>"
print(answer)
note(answer)
show_table(pd.DataFrame({"answer": [answer, "fine", "good"], "n": [10, 9, 100]}), "Answers")
show_table(pd.DataFrame({f"tokens_per_second_interval_{n}": ["0.690 (0.434 to 0.830)", "1234567.890123"] for n in range(14)}), "Wide")
show_table(pd.DataFrame({f"n{n}": [1234567.25, 1234567.5] for n in range(12)}), "Numbers")
show_table(pd.DataFrame({"prompt": ["x" * 300], "n": [1]}), "Long word")
display(HTML(answer)); display(Markdown(answer)); display(HTML("<img src='https://example.invalid/x.png'>"))
answer
"""
MATH = "# Model output\n\nScores are $\\\\frac{QK^\\\\top}{\\\\sqrt{d_k}}$, in Korean 점수."


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    for path in sorted(NOTEBOOKS.glob("0[12]_*.ipynb")):
        shutil.copy(path, folder / path.name)
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": MATH.replace("\\\\", "\\")},
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "source": EVIL,
            "outputs": [],
            "execution_count": None,
        },
    ]
    metadata = {"exaone_nb": {"chapter": "09"}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}
    document = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (folder / "09_evil.ipynb").write_text(json.dumps(document))
    report = run(folder=folder, out=folder / "run", single=True)
    assert report.record.status == "ok", report.outcomes
    return report.path


@pytest.fixture(scope="module")
def side_pages(tmp_path_factory):
    """The leaderboard of a sweep, the difference of two runs, and one without any difference."""
    folder = tmp_path_factory.mktemp("side")
    grid = grids.expand({"chapters": ["07"], "recipes": ["w8a8", "w4a16_rtn"]}, "toy", folder / "toy")
    for n, one in enumerate(grid.runs):
        for kind in ("accuracy", "checkpoint_bytes", "prefill_seconds", "tokens_per_second"):
            RunFolder(grid.folder / one.name).write_result(
                kind,
                recipe="w8a8",
                value=0.5 + n,
                unit="points",
                n=10,
                interval=(0.1234, 9.8765),
                label="nano_gsm",
            )
    changes = tuple(
        Change("results", f"accuracy w8a8 {n} [points]", n, n + 1, "intervals overlap") for n in range(9)
    )
    paths = [write_leaderboard(grid, {}), folder / "diff.html", folder / "same.html"]
    paths[1].write_text(RunDiff("before", "after", changes, 3).html(), encoding="utf-8")
    paths[2].write_text(RunDiff("before", "after", (), 3).html(), encoding="utf-8")
    return paths


@pytest.fixture(params=["light", "dark"])
def page(browser, request):
    context = browser.new_context(
        color_scheme=request.param, offline=True, viewport={"width": 1200, "height": 900}
    )
    page = context.new_page()
    page.heard = []
    page.on("console", lambda message: page.heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: page.heard.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (page.heard.append("dialog"), dialog.dismiss()))
    page.on(
        "request",
        lambda r: r.url.startswith(("file:", "data:")) or page.heard.append(f"request: {r.url[:80]}"),
    )
    page.scheme = request.param
    yield page
    context.close()


def pages(report):
    return [report / "index.html", report / "report.html", *sorted((report / "html").glob("*.html"))]


def test_every_page_opens_without_a_request_or_complaint(page, report):
    shots = RUNS / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    assert len(pages(report)) == 5
    figures = formulas = 0
    for path in pages(report):
        page.goto(path.as_uri())
        page.screenshot(path=shots / f"{path.stem}-{page.scheme}.png", full_page=path.stem != "report")
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.locator("h1").count() == 1 and page.title()
        pictures = page.evaluate(
            "Array.from(document.images, i => [i.complete && i.naturalWidth > 0, i.alt.trim().length > 0])"
        )
        assert all(drawn and described for drawn, described in pictures), path.name
        heights = page.evaluate(
            "Array.from(document.querySelectorAll('math'), m => m.getBoundingClientRect().height)"
        )
        assert all(height > 5 for height in heights)
        levels = page.evaluate(
            "Array.from(document.querySelectorAll('h1,h2,h3,h4,h5,h6'), h => +h.tagName[1])"
        )
        assert all(b <= a + 1 for a, b in itertools.pairwise(levels)), (path.name, levels)
        ids = page.evaluate("Array.from(document.querySelectorAll('[id]'), e => e.id)")
        assert len(ids) == len(set(ids)), path.name
        dead = page.evaluate(
            "Array.from(document.querySelectorAll('a[href^=\"#\"]')).filter(a => "
            "!document.getElementById(decodeURIComponent(a.hash.slice(1)))).map(a => a.hash)"
        )
        assert dead == [], path.name
        figures, formulas = figures + len(pictures), formulas + len(heights)
    assert page.heard == [] and figures >= 4 and formulas >= 1


def test_leaderboards_and_differences_have_the_width_of_the_window(page, side_pages):
    page.set_viewport_size({"width": 1280, "height": 900})
    for path in side_pages:
        page.goto(path.as_uri())
        page.screenshot(path=RUNS / "screenshots" / f"{path.parent.name}-{path.stem}-{page.scheme}.png")
        assert page.locator("main").bounding_box()["width"] > 0.6 * 1280, path.name
        assert (
            page.locator("h1").count() == 1 and page.evaluate("document.documentElement.scrollWidth") <= 1280
        )
    page.goto(side_pages[0].as_uri())
    page.locator("button.sort").first.click()
    assert page.locator("th[aria-sort=ascending]").count() == 1
    assert page.heard == []


# A table that is wider than its box or the page, and a number that goes on in the next line.
CUT = """
() => Array.from(document.querySelectorAll("table, .scroll, .rich")).filter(e => e.offsetParent
  && (e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth + 1)).map(e => e.textContent.trim().slice(0, 60))
"""
BROKEN = """
() => Array.from(document.querySelectorAll("table:not(.dense) td.number")).filter(e => e.offsetParent && e.textContent.trim()).filter(e => {
  const range = document.createRange(); range.selectNodeContents(e);
  const ends = Array.from(range.getClientRects(), r => r.bottom);
  return Math.max(...ends) - Math.min(...ends) > 5; }).map(e => e.textContent)
"""


def test_paper_loses_no_column_and_breaks_no_number(page, report, side_pages):
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 less its margins
    page.emulate_media(media="print")
    count = 0
    for path in [*pages(report), *side_pages]:
        page.goto(path.as_uri())
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        count += page.locator("table").count()
        assert page.evaluate(CUT) == [], path.name
        assert page.evaluate(BROKEN) == [], path.name
        heads = "Array.from(document.querySelectorAll('thead'), e => getComputedStyle(e).display)"
        assert set(page.evaluate(heads)) <= {"table-header-group"}
        buttons = "Array.from(document.querySelectorAll('button.sort'), e => getComputedStyle(e).display)"
        assert set(page.evaluate(buttons)) <= {"contents"}, "a repeated head would be empty"
    assert count > 20


def test_model_output_never_runs(page, report):
    page.goto((report / "html" / "09_evil.html").as_uri())
    assert page.evaluate("window.hacked") is None
    assert page.get_by_text("<script>window.hacked = 1</script>").count() >= 3
    assert page.locator("main script, main iframe, main [onerror], main a[href^=javascript]").count() == 0
    assert page.heard == []


def test_the_policy_stops_what_sanitizing_might_miss(page, report, tmp_path):
    """The same page with markup smuggled in behind the sanitizer's back."""
    text = (report / "html" / "09_evil.html").read_text(encoding="utf-8")
    smuggled = "<script>window.hacked = 1</script><img src='https://example.invalid/x.png' onerror='window.hacked = 1'>"
    copy = tmp_path / "smuggled.html"
    copy.write_text(text.replace("</main>", smuggled + "</main>"), encoding="utf-8")
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.failure))
    page.goto(copy.as_uri())
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None
    assert sum("Content Security Policy" in line for line in page.heard) >= 2
    assert failed == ["csp"], "the picture's address is refused before anything is sent"
    assert page.locator("button.sort").count() > 0, "our own script still runs"


def test_tables_sort_by_mouse_and_keyboard(page, report):
    page.goto((report / "html" / "09_evil.html").as_uri())
    table = page.locator("table.sortable", has=page.locator("caption", has_text="Answers"))
    head = table.locator("th", has_text="n").last
    column = "rows => rows.map(row => row.cells[1].textContent.trim())"
    head.locator("button").click()
    assert table.locator("tbody tr").evaluate_all(column) == ["9", "10", "100"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert table.locator("tbody tr").evaluate_all(column) == ["100", "10", "9"]
    assert head.get_attribute("aria-sort") == "descending"


CONTRAST = """
selector => Array.from(document.querySelectorAll(selector)).filter(e => e.offsetParent).map(e => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let back = e; while (back && parse(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
  const a = light(parse(getComputedStyle(e).color)), b = light(back ? parse(getComputedStyle(back).backgroundColor) : [255, 255, 255]);
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 30)];
})
"""


def test_contrast_is_enough_for_every_text(page, report):
    for path in pages(report):
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        measured = page.evaluate(
            CONTRAST,
            "p, li, dt, dd, th, td, summary, a, h1, h2, h3, button, figcaption, caption, span, pre, aside",
        )
        assert len(measured) > 10
        assert [what for ratio, what in measured if ratio < 4.5] == [], (path.name, page.scheme)


def test_theme_button_narrow_screen_and_paper(page, report):
    page.goto((report / "index.html").as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.locator("#theme").click()
    assert page.evaluate(colour) != before
    for path in pages(report):
        page.set_viewport_size({"width": 360, "height": 740})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path.name
    page.goto((report / "html" / "09_evil.html").as_uri())
    page.evaluate("document.querySelector('.rich:has(th:nth-child(14))').scrollLeft = 300")
    captions = page.evaluate(
        "Array.from(document.querySelectorAll('.rich caption > span'), c => [c.getBoundingClientRect().left, c.getBoundingClientRect().right])"
    )
    assert len(captions) >= 4 and all(left >= 0 and right <= 360 for left, right in captions)
    page.goto((report / "html" / "02_parameters_and_memory.html").as_uri())
    widths = page.evaluate("Array.from(document.querySelectorAll('figure.enb img'), i => i.width)")
    assert widths and min(widths) > 500, "figures scroll rather than shrink until their words cannot be read"
    page.emulate_media(media="print")
    assert not page.locator(".toc").is_visible() and not page.locator(".bar").is_visible()
    unfolded = page.locator("details.code[open]")
    assert unfolded.count() > 0 and all(one.is_visible() for one in unfolded.all()), "the lesson is on paper"
    assert not any(one.is_visible() for one in page.locator("details.code:not([open])").all())
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open]):not(.code):not(.messages)").count() == 0


def test_the_scoreboard_scrolls_in_its_own_box(page, tmp_path, monkeypatch):
    names = [f"a measured thing {n}" for n in range(12)]
    rows = [dict.fromkeys(names, value) for value in (123, Estimate(0.69, 0.434, 0.83))]
    monkeypatch.setattr(
        scoreboard_views, "full_table", lambda board: Table(columns(names, ",.3g"), rows, "a" * 90)
    )
    page.goto(scoreboard_views.write_tables(None, tmp_path)[1].as_uri())
    for width in (320, 400, 1200):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1062, "height": 718})  # A4, lying, less its margins
    page.emulate_media(media="print")
    assert page.evaluate(CUT) == [] and page.heard == []


def test_keyboard_reaches_the_content_first(page, report):
    page.goto((report / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
