"""What the first page and the head of a chapter say of a run: from its record, and never more than was recorded."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from markupsafe import escape

from exaone_nb.workbook.explain import explain, explain_dead_kernel
from exaone_nb.workbook.record import ChapterRecord, Hardware, Origin, RunRecord, Setting
from exaone_nb.workbook.report import page

LIBRARIES = {"torch": "2.9.9", "numpy": "1.2.3", "lm-eval": "0.4.99"}
MACHINE = Hardware("Testix z80", 3, 7_000_000_000, "")
LAST = Origin("1.1.1", "last00", "3.0.0", {"torch": "1.0.0"}, Hardware("Lastix", 1, 10**9, "Tiny GPU"))


def chapter(number, day=1, **changes):
    made = ChapterRecord(
        number, f"{number}_a", "A", "Why?", "ok", "nano", "nano", f"2026-01-0{day}T10:00:00+00:00",
        ended=f"2026-01-0{day}T10:04:00+00:00", seconds=240.0, peak_bytes=2_000_000_000, kept=True,
        origin=Origin("9.8.7", f"c0ffee{day}", "3.99.1", LIBRARIES, MACHINE),
    )  # fmt: skip
    return replace(made, **changes)


def record(*chapters, **changes):
    made = RunRecord(
        "r", {}, "nano", "nano", "feed", "2026-03-03T12:00:00+00:00", LAST, status="ok", seconds=0.5,
        ended="2026-03-03T12:00:01+00:00", chapters={made.number: made for made in chapters},
    )  # fmt: skip
    return replace(made, **changes)


def text(page):
    """What a reader sees in <main>."""
    body = page.split("<main", 1)[1].split("<script>")[0]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def passport(page):
    """Label -> text of the head of the first page."""
    box = page.split('<dl class="passport">')[1].split("</dl>")[0]
    rows = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", box, re.DOTALL)
    return {label: re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", what)).strip() for label, what in rows}


def test_a_call_that_kept_everything_does_not_date_the_measurements():
    index = page.index(record(chapter("01", 1), chapter("02", 2)))
    head = passport(index)
    assert head["Executed"] == "2026-01-01 10:00 to 2026-01-02 10:04 UTC"
    assert head["Last call"] == "2026-03-03 12:00 UTC, 0.5 s; everything kept from before"
    assert head["Machine"] == "Testix z80, 3 cores, 7.0 GB memory, no GPU"
    assert head["Made with"] == "exaone-nb 9.8.7, Python 3.99.1, torch 2.9.9, lm-eval 0.4.99"
    assert head["Time"] == "8 min 00 s of work" and head["Peak memory"] == "2.00 GB"
    seen = text(index)
    assert "kept from 2026-01-01 10:04 UTC" in seen and "kept from 2026-01-02 10:04 UTC" in seen
    assert "c0ffee1 (chapters 01)" in seen and "c0ffee2 (chapters 02)" in seen
    assert "last00" not in seen and "1.0.0" not in seen and "Lastix" not in seen


def test_chapters_of_this_call_and_of_an_earlier_one_are_told_apart():
    new = chapter("02", origin=LAST, kept=False,
                  began="2026-03-03T12:00:00+00:00", ended="2026-03-03T12:00:01+00:00", seconds=1.0)  # fmt: skip
    index = page.index(record(chapter("01", 1), new))
    head = passport(index)
    assert head["Last call"].endswith("1 of 2 chapters kept from before")
    assert (
        head["Machine"]
        == "Testix z80, 3 cores, 7.0 GB memory, no GPU in 01 ; Lastix, 1 core, 1.0 GB memory, Tiny GPU in 02"
    )
    assert (
        "torch 2.9.9, lm-eval 0.4.99 in 01" in head["Made with"] and "torch 1.0.0 in 02" in head["Made with"]
    )
    assert text(index).count("kept from 2026") == 1 and "last00 (chapters 02)" in text(index).replace(
        " )", ")"
    )
    alone = passport(page.index(record(new)))
    assert (
        "Last call" not in alone
        and alone["Executed"] == "2026-03-03 12:00 UTC"
        and "by the clock" in alone["Time"]
    )


def test_a_chapter_that_an_interrupted_call_executed_counts_as_kept():
    """It is not marked as kept, because no later call has looked at it; its time tells."""
    head = passport(page.index(record(chapter("01", kept=False))))
    assert head["Last call"].endswith("everything kept from before")


def test_where_nothing_succeeded_nothing_is_measured():
    failed = chapter("01", status="failed", seconds=0.0, peak_bytes=0, failure=explain("ValueError", "x"))
    nothing = {"ended": "", "seconds": 0.0, "peak_bytes": 0, "origin": None, "kept": False}
    waiting = chapter("02", status="skipped", why="it reads 01", **nothing)
    index = page.index(record(failed, waiting))
    head = passport(index)
    assert not {"Time", "Peak memory"} & head.keys() and head["Status"] == "failed"
    assert "0.0 s of work" not in text(index)
    nothing = passport(page.index(record(waiting)))
    assert "Executed" not in nothing and nothing["Last call"].startswith("2026-03-03 12:00 UTC")


def test_modes_and_models_are_those_of_the_chapters():
    real = chapter("02", model="EXAONE-4.0-1.2B", mode="recorded")
    head = passport(page.index(record(chapter("01"), real, model="EXAONE-4.0-1.2B", mode="live")))
    assert head["Model"] == "nano in 01 ; EXAONE-4.0-1.2B in 02"
    assert "recorded numbers published or measured elsewhere" in head["Mode"] and "live" not in head["Mode"]


def test_the_head_of_a_chapter_says_when_with_what_and_where():
    document = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": "# A"}]}
    entry = chapter("01")
    for made in (
        page.chapter(document, entry),
        page.single(record(entry), {"01_a": document}).split("<article")[1],
    ):
        seen = text(made if "<main" in made else f"<main{made}")
        assert "executed 2026-01-01 10:00 to 10:04 UTC" in seen
        assert "made with exaone-nb 9.8.7, Python 3.99.1, torch 2.9.9, lm-eval 0.4.99, commit c0ffee1" in seen
        assert "on Testix z80, 3 cores, 7.0 GB memory, no GPU" in seen and "4 min 00 s" in seen


def test_the_one_file_stays_the_same_when_everything_is_kept():
    documents = {"01_a": {"cells": []}}
    first, again = (
        page.single(
            record(chapter("01"), began=f"2026-03-0{day}T12:00:00+00:00", seconds=day / 10), documents
        )
        for day in (3, 4)
    )
    assert first == again


FAILURES = [
    (explain("ModuleNotFoundError", "No module named 'vllm'"), "ModuleNotFoundError: No module named 'vllm'"),
    (explain("ValueError", "<b>7</b> is odd\nmore"), "ValueError: <b>7</b> is odd"),
    (explain_dead_kernel(-9, 1, 2, True, cell=1, source=""), "The kernel was killed (signal 9)."),
    (explain("KeyError", "k" * 5000), "KeyError: " + "k" * 290 + "…"),
]


@pytest.mark.parametrize(("failure", "line"), FAILURES, ids=[f.kind for f, _ in FAILURES])
def test_a_failure_says_its_error_in_the_open_and_leads_to_its_page(failure, line):
    failed = chapter("01", status="failed", failure=failure)
    document = {"cells": []}
    for made, link in (
        (page.index(record(failed)), 'href="html/01_a.html"'),
        (page.single(record(failed), {"01_a": document}), 'href="#01_a"'),
        (page.chapter(document, failed), ""),
    ):
        box = re.search(r'<section class="failure".*?</section>', made, re.DOTALL)[0]
        in_the_open = box.split("<details>")[0]
        assert f"<p><code>{escape(line)}</code></p>" in in_the_open
        assert "<b>" not in in_the_open and link in in_the_open


def test_commands_in_a_remedy_are_code_and_nothing_else_is_markup():
    failure = explain("WorkbookError", "No <i>weights</i>.\nWhat to do: Run `<b>05</b>` now.")
    made = page.index(record(chapter("01", status="failed", failure=failure)))
    assert "Run <code>&lt;b&gt;05&lt;/b&gt;</code> now." in made and "<i>" not in made


def test_an_error_of_ours_is_not_said_twice():
    failure = explain("WorkbookError", "No weights.\nExpected: a folder.\nWhat to do: Run 05.")
    made = page.index(record(chapter("01", status="failed", failure=failure)))
    assert text(made).split("The error and the cell")[0].count("No weights.") == 1


def timed_cell(seconds, source="x = 1", kind="code"):
    return {
        "cell_type": kind,
        "source": source,
        "metadata": {"papermill": {"duration": seconds}},
        "outputs": [],
    }


def test_slow_cells_are_listed_and_lead_to_their_code():
    cells = [timed_cell(0.9, "# quick"), timed_cell(30.0, "# long"), timed_cell(2.0, "# little of it"), timed_cell(12.5, "# middle")]  # fmt: skip
    for made, prefix in (
        (page.chapter({"cells": cells}, chapter("01")), ""),
        (page.single(record(chapter("01")), {"01_a": {"cells": cells}}), "01_a-"),
    ):
        box = re.search(r'<details class="slow">.*?</details>', made, re.DOTALL)[0]
        assert re.findall(r'href="#(.*?)"><code>(.*?)</code></a> (.*?)</li>', box) == [
            (f"{prefix}cell-1", "long", "30.0 s"),
            (f"{prefix}cell-3", "middle", "12.5 s"),
        ]
        assert "42.5 s in 2" in box
        assert (
            f'id="{prefix}cell-1"' in made and f'id="{prefix}cell-0"' not in made and "1 line, 30.0 s" in made
        )


def test_only_a_long_output_may_go_on_on_the_next_page():
    for lines, look in ((20, "output"), (40, "output long")):
        output = {"output_type": "stream", "name": "stdout", "text": "a line\n" * lines}
        cell = {"cell_type": "code", "source": "x = 1", "metadata": {}, "outputs": [output]}
        assert f'<pre class="{look}"' in page.chapter({"cells": [cell]}, chapter("01"))


def test_where_no_cell_is_slow_nothing_is_said_of_it():
    assert "Slow cells" not in page.chapter({"cells": [timed_cell(0.2), timed_cell(None)]}, chapter("01"))


def test_an_exercise_and_a_lesson_stand_open_and_a_solution_is_folded_with_what_it_says():
    def cell(text, tag):
        output = {"output_type": "stream", "name": "stdout", "text": text}
        return {"cell_type": "code", "source": "x = 1", "metadata": {"tags": [tag]}, "outputs": [output]}

    cells = [cell("NOT YET", "exercise"), cell("RIGHT", "solution"), cell("", "lesson"), cell("", "other")]
    made = page.chapter({"cells": cells}, chapter("01"))
    stub, solution, *more = re.findall(r"<details class=\"code\".*?</details>", made, re.DOTALL)
    assert [one.startswith('<details class="code" open>') for one in more] == [True, False]
    assert stub.startswith('<details class="code" open>') and "NOT YET" not in stub and "NOT YET" in made
    assert solution.startswith('<details class="code">') and "RIGHT" in solution and made.count("RIGHT") == 1


def test_the_first_page_opens_with_what_a_chapter_puts_in_front():
    def cell(output, *tags):
        output = {"output_type": "display_data", "data": {"text/html": output}}
        return {"cell_type": "code", "source": "x", "metadata": {"tags": list(tags)}, "outputs": [output]}

    cells = [
        cell("<p>unimportant</p>"),
        cell("<p>Submit <b>w8a8</b><script>alert(1)</script></p>", "headline"),
    ]
    documents = {"01_a": {"cells": cells}, "02_a": {"cells": [cell("<p>half</p>", "headline")]}}
    failed = chapter("02", status="failed", failure=explain("ValueError", "x"))
    whole = page.index(record(chapter("01"), failed), documents)
    assert whole.index("Submit <b>w8a8</b>") < whole.index('class="passport"')
    assert "unimportant" not in whole and "alert(1)" not in whole and "<p>half" not in whole
    assert "Submit" not in page.index(record(chapter("01")))
    joined = page.single(record(chapter("01")), documents)
    assert joined.count("Submit") == 2 and 'href="#01_a"' in joined


def test_a_link_to_a_heading_of_another_chapter_finds_it_on_its_page():
    cells = [{"cell_type": "markdown", "source": "[KL](00_start.ipynb#Glossary)", "metadata": {}}]
    assert 'href="00_start.html#glossary"' in page.chapter({"cells": cells}, chapter("01"))
    joined = page.single(record(chapter("01")), {"01_a": {"cells": cells}})
    assert "00_start" not in joined and "<p>KL</p>" in joined, "a chapter that is not in the file has no link"
    there = [{"cell_type": "markdown", "source": "## Glossary", "metadata": {}}]
    assert 'id="glossary"' in page.chapter({"cells": there}, chapter("00"))


def test_the_list_of_one_file_puts_chapters_beside_the_other_headings():
    cells = [{"cell_type": "markdown", "source": "# One\n\n## Its part", "metadata": {}}]
    listed = re.findall(
        r'class="level-(\d)"><a href="#(\S+)"', page.single(record(chapter("01")), {"01_a": {"cells": cells}})
    )
    assert (
        ("1", "chapters") in listed and ("1", "01_a-one") in listed and ("2", "01_a-its-part") not in listed
    )


def test_the_first_page_lists_no_guess_that_nobody_wrote():
    slots = [Setting("GUESS_MB", "float | None", value, None, "your guess: MB") for value in (None, 800)]
    assert "GUESS_MB" not in page.index(record(chapter("01", parameters=slots[:1])))
    assert "<code>GUESS_MB" in page.index(record(chapter("01", parameters=slots[1:])))


def test_a_parameter_has_a_row_for_each_of_its_meanings():
    meanings = {"03": "the table's config", "07": "the table's config", "09": "the model that is timed"}
    made = [
        chapter(n, parameters=[Setting("SHAPE", "str", "nano", "nano", words)])
        for n, words in meanings.items()
    ]
    rows = re.findall(r"<tr><th scope=\"row\"><code>SHAPE.*?</tr>", page.index(record(*made)), re.DOTALL)
    assert [re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]+>", " ", row))).strip() for row in rows] == [
        "SHAPE 'nano' 03, 07 the table's config",
        "SHAPE 'nano' 09 the model that is timed",
    ]
