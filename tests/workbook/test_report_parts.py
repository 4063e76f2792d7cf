"""Markdown with math, cells, and what may not act in a report."""

from __future__ import annotations

import base64
import io
import re

import pytest

from exaone_nb.workbook.report.markdown import Prose, sanitize
from exaone_nb.workbook.report.page import LARGEST_PICTURE_BYTES, cells_to_html


def output_to_html(output):
    """What stands below the folded code of a cell with this output."""
    cell = {"cell_type": "code", "metadata": {}, "source": "x", "outputs": [output]}
    return cells_to_html([cell], Prose(), str).partition("</details>")[2].strip()


PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<a href='javascript:alert(1)'>x</a>",
        "<svg onload=alert(1)><script>alert(1)</script></svg>", "<iframe src=https://example.org></iframe>",
        "<link rel=stylesheet href=https://example.org/x.css>", "<style>@import 'https://example.org/x'</style>",
        "<p style='background:url(https://example.org/x)'>x</p>", "<img src='https://example.org/x.png'>",
        "<form action=https://example.org><input></form>", "<math><mtext><script>alert(1)</script></mtext></math>",
        "<scr<script>x</script>ipt>alert(1)</script>", "<img alt='a' src='embedded-picture-0' onerror='alert(1)'>",
        "<meta http-equiv=refresh content='0;url=https://example.org'>", "<base href=https://example.org>",
        "<object data=https://example.org></object>", "<video src=https://example.org/v></video>",
    ],
)  # fmt: skip
def test_nothing_that_acts_or_loads_survives(html):
    clean = sanitize(html)
    tags = re.findall(r"<\s*(\w+)", clean)
    assert not {"script", "iframe", "style", "svg", "link", "form", "meta", "base", "object", "video"} & set(
        tags
    )
    assert not re.search(r"<[^>]*(\son\w+=|javascript:|url\()", clean)
    assert not re.search(r"<[^>]*\s(src|data)=[\"']?http", clean)


def test_harmless_markup_and_embedded_pictures_stay():
    html = f'<figure class="enb"><img alt="a &amp; b" src="{PIXEL}"><figcaption>c</figcaption></figure>'
    assert sanitize(html) == html
    assert (
        sanitize('<table><tr><td data-sort="3" style="text-align: right">3</td></tr></table>').count(
            "data-sort"
        )
        == 1
    )


@pytest.mark.parametrize("kind", ["stream", "execute_result", "error"])
def test_text_is_never_markup(kind):
    evil = "<script>alert(1)</script><b>x</b>"
    output = {
        "output_type": kind,
        "name": "stdout",
        "text": evil,
        "data": {"text/plain": evil},
        "traceback": [evil],
    }
    html = output_to_html(output)
    assert "<script" not in html and "<b>" not in html and "&lt;script&gt;" in html


def test_math_becomes_mathml_and_money_stays_money():
    html = Prose().render("So $d_k = 64$ costs $5 and $6.\n\n$$\\frac{QK^\\top}{\\sqrt{d}}$$\n")
    assert html.count("<math") == 2 and 'display="block"' in html and "$5 and $6" in html


def test_headings_get_unique_anchors_and_links_are_rewritten():
    prose = Prose(prefix="05-", deeper=1)
    html = prose.render(
        "# One\n\n## 같은 제목\n\n## 같은 제목\n\n[next](06_x.ipynb)", lambda a: a.replace(".ipynb", ".html")
    )
    assert [(h["level"], h["anchor"]) for h in prose.headings] == [
        (2, "05-one"),
        (3, "05-같은-제목"),
        (3, "05-같은-제목-2"),
    ]
    assert 'href="06_x.html"' in html and '<h2 id="05-one">' in html


@pytest.mark.parametrize(
    "address",
    [
        "https://colab.research.google.com/github/OWNER/workbook/blob/main/a.ipynb",
        "elsewhere/colab_kaggle.ipynb",
        "00_start.ipynb#Glossary",
    ],
)
def test_what_no_reader_can_open_is_no_link(address):
    assert Prose().render(f"[the words]({address})") == "<p>the words</p>\n"
    kept = "https://github.com/openai/simple-evals/blob/main/demo.ipynb"
    assert f'href="{kept}"' in Prose().render(f"[another]({kept})")


def test_a_table_drawn_in_characters_is_marked_so_that_its_lines_stay_whole():
    def html(text):
        return output_to_html({"output_type": "stream", "name": "stdout", "text": text})

    assert 'class="output drawn"' in html("hf, limit: 64\n|Tasks|n-shot|\n|-----|-----:|\n|nano_gsm|0|\n")
    assert 'class="output"' in html("a|b\n|--|\n--- nano_gsm: 512 items")


def test_code_is_folded_and_long_output_is_bounded():
    cell = {"cell_type": "code", "metadata": {}, "source": "# Count\nx = 1", "outputs": []}
    html = cells_to_html([cell], Prose(), str)
    assert html.startswith('<details class="code"><summary><code>Count</code>') and "2 lines" in html
    long = output_to_html({"output_type": "stream", "name": "stdout", "text": "line\n" * 5000})
    assert len(long) < 5000 and "lines are in the executed notebook" in long


def test_a_large_picture_is_made_smaller():
    numpy = pytest.importorskip("numpy")
    from PIL import Image

    noise = numpy.random.default_rng(0).integers(0, 255, (1800, 1800, 3), dtype="uint8")
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    assert buffer.tell() > LARGEST_PICTURE_BYTES
    png = base64.b64encode(buffer.getvalue()).decode()
    html = output_to_html({"output_type": "display_data", "data": {"image/png": png}, "metadata": {}})
    assert "data:image/jpeg" in html and len(html) < buffer.tell()


def test_a_progress_bar_is_not_called_a_control():
    def widget(text):
        return {
            "output_type": "display_data",
            "data": {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": text},
        }

    assert output_to_html(widget("Loading weights:   0%|          | 0/46 [00:00<?, ?it/s]")) == ""
    assert "interactive control" in output_to_html(widget("HBox(children=())"))
