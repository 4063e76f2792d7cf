"""What a Korean reader sees beside sentences: the page's language, dates, and figures whose letters are no boxes."""

import base64
import dataclasses
import json
import re
import warnings

import pytest

from exaone_nb import catalog
from exaone_nb.anatomy.against import published_files
from exaone_nb.architecture.masks import square
from exaone_nb.architecture.pictures import mask_squares
from exaone_nb.cli import main
from exaone_nb.findings import Finding
from exaone_nb.hardware import Machine
from exaone_nb.language import HANGUL
from exaone_nb.messages import in_english, joined, say
from exaone_nb.paths import ROOT
from exaone_nb.quantization.effects import JUDGE, cache_finding
from exaone_nb.quantization.kernels import support
from exaone_nb.score import leaderboard, policy, recorded
from exaone_nb.score.flips import Answered, Flip, write_page
from exaone_nb.score.policy import read_policy
from exaone_nb.score.submission.check import Report
from exaone_nb.serve.talk import dialect_table
from exaone_nb.show import figures, notebook
from exaone_nb.show.memory import files_table
from exaone_nb.show.note import model_note
from exaone_nb.show.table import Column, Table
from exaone_nb.workbook import record
from exaone_nb.workbook.diff import Change, RunDiff
from exaone_nb.workbook.doctor import Diagnosis, Requirement
from exaone_nb.workbook.report import look
from exaone_nb.workbook.scrub import Scrubber


@pytest.fixture
def korean(monkeypatch):
    monkeypatch.setenv("EXAONE_NB_LANG", "ko")


def test_a_page_says_its_language_and_escapes_what_is_filled_in(korean):
    diff = RunDiff("<b>one</b>", "two", (Change("results", "kl", 1, None, "note"),), 7)
    html = diff.html()
    assert '<html lang="ko">' in html and "<b>one</b>" not in html and "&lt;b&gt;one&lt;/b&gt;" in html
    assert "차이 1개, 같은 결과 7개." in html and "<code>없음</code>" in html


def test_a_policy_of_the_workbook_says_its_purpose_in_the_readers_language(korean):
    assert re.search("[가-힣]", read_policy("release").purpose)
    own = {"purpose": "Ours.", "critical": {"bytes": {"of_base": 0.5}}}
    assert (
        policy.parse(own, "own").purpose == "Ours."
        and policy.parse({**own, "purpose": ""}, "own").purpose == ""
    )


def test_the_same_page_in_english():
    html = RunDiff("one", "two", (), 7).html()
    assert '<html lang="en">' in html and "0 differences; 7 results are equal." in html


def test_dates_and_durations_are_written_as_koreans_write_them(korean):
    first, last, next_day = (
        f"2026-01-{when}+00:00" for when in ("02T03:04:00", "02T03:09:59", "03T00:00:00")
    )
    assert look.clock(first) == "2026년 1월 2일 03:04(UTC)"
    assert look.span(first, first) == look.clock(first)
    assert look.span(first, last) == "2026년 1월 2일 03:04부터 03:09까지(UTC)"
    assert look.span(first, next_day) == "2026년 1월 2일 03:04부터 2026년 1월 3일 00:00까지(UTC)"
    assert look.duration(59.94) == "59.9초" and look.duration(125) == "2분 05초"


def shown(monkeypatch) -> tuple[str, list[str]]:
    """The SVG of a figure with Hangul as `show` displays it, and what else it displays."""
    html = []
    monkeypatch.setattr("IPython.display.display", lambda made: html.append(made.data))
    figure, axes = figures.canvas(3, 2)
    axes.set_title("가중치와 활성값 − 1")
    axes.bar(["토큰", "latin"], [1, 2])
    notebook.show(figure, alt="two bars")
    picture = re.search(r"data:image/svg\+xml;base64,([^\"]+)", html[-1])
    assert picture
    return base64.b64decode(picture[1]).decode(), html[:-1]


def test_hangul_in_a_figure_is_drawn_with_a_font_that_has_it(monkeypatch):
    if not figures.korean_font():
        pytest.skip("no Korean font is installed here; Debian's fonts-nanum has one")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of each letter that becomes a box
        svg, others = shown(monkeypatch)
    assert "<text" not in svg and others == []


def test_without_such_a_font_the_browser_draws_the_letters_and_a_note_says_which_font_to_install(monkeypatch):
    monkeypatch.setattr(figures, "korean_font", lambda: "")
    notebook._say_which_fonts.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg, others = shown(monkeypatch)
    assert "가중치와 활성값" in svg and "NanumGothic" in svg
    assert len(others) == 1 and "NanumGothic" in others[0]


def test_run_json_is_english_whatever_language_the_run_speaks(korean, tmp_path):
    made = record.RunRecord("x", {}, "nano", "nano", "f", record.now(), record.origin())
    chapter = {"number": "01", "slug": "01_x", "title": "x", "question": "", "model": "", "mode": "nano"}
    why = say("not run yet")
    made.chapters["01"] = record.ChapterRecord(**chapter, status="skipped", began=record.now(), why=why)
    made.write(tmp_path, Scrubber({}))
    written = json.loads((tmp_path / record.FILE).read_text(encoding="utf-8"))
    assert why == "아직 실행하지 않음" and written["chapters"]["01"]["why"] == "not run yet"


def test_what_is_decided_by_a_word_is_english_and_shown_in_korean(korean):
    """The answers of the kernels' table: programs compare them, people read them."""
    table = Table([Column("L4", ours=True), Column("name")], [{"L4": "unknown", "name": "unknown"}])
    assert table.cells() == [["알 수 없음", "unknown"]] and table.records()[0]["L4"] == "unknown"
    found = support("W8A16", Machine("CPU", flags=frozenset({"avx2"})))
    assert found.answer == "no" and found.reason == "CPU 커널은 4비트 가중치만 받음"
    assert in_english(found.reason) == "the CPU kernel takes 4-bit weights only"
    both = joined([found.reason, say("no kernel")])
    assert both == f"{found.reason}; 커널 없음"
    assert in_english(both) == "the CPU kernel takes 4-bit weights only; no kernel"
    ignored = cache_finding({"num_bits": 8, "type": "float"}, JUDGE).text
    assert "서버가 이 옵션을 주지 않으므로" in ignored and "the server does not set" in in_english(ignored)


def test_the_run_card_and_the_note_have_korean_labels(korean):
    assert list(record.facts("nano")) == ["모델", "모드", "컴퓨터", "만든 환경", "날짜"]
    note = model_note("EXAONE-4.0-1.2B")
    assert "## 주요 사양" in note and "| 어휘 | 102,400, 헤드와 묶여 있음 |" in note


def test_what_the_catalog_says_of_a_model_is_korean_and_english_to_programs(korean, monkeypatch):
    records = {name: catalog.record(name) for name in ("nano", "EXAONE-4.0-1.2B", "Qwen3-1.7B")}
    assert records["EXAONE-4.0-1.2B"].languages == ["한국어", "영어", "스페인어"]
    assert records["Qwen3-1.7B"].sampling["settings"][0]["remark"].startswith("greedy로 하지 말 것")
    written = {name: in_english(dataclasses.asdict(record)) for name, record in records.items()}
    assert all(mode["name"] in ("reasoning", "non-reasoning") for r in records.values() for mode in r.modes)
    monkeypatch.setenv("EXAONE_NB_LANG", "en")
    assert written == {name: dataclasses.asdict(catalog.record(name)) for name in records}


def test_what_was_recorded_and_what_is_judged_is_korean_in_tables(korean):
    """Sentences of data/*.csv, and words that programs compare."""
    assert all(HANGUL.search(one.belief + one.what_differed) for one in leaderboard.conclusions())
    assert all(HANGUL.search(row[0]) for row in files_table(published_files()).cells())
    findings = (Finding("error", "zip", "x"), Finding("warning", "zip", "x"), Finding("ok", "zip", "x"))
    assert [row[0] for row in Report("x", findings).table().cells()] == ["실패", "경고", "정상"]
    found = Diagnosis([Requirement("memory", "OK", "x"), Requirement("torch", "OK", "x")], "CPU")
    assert [row[0] for row in found.requirement_table().cells()] == ["메모리", "torch"]
    assert all(HANGUL.search(row[3]) for row in recorded.nemo_table().cells())
    assert all(HANGUL.search(row[3]) for row in dialect_table().cells())


def test_a_chapter_that_picks_rows_by_a_name_finds_them_in_korean(korean):
    """The names of tests and intervals are words too: the table of simulated tests was empty for a Korean reader."""
    chapter = json.loads((ROOT / "notebooks/ko/10_lm_eval.ipynb").read_text(encoding="utf-8"))
    sources = ("".join(cell["source"]) for cell in chapter["cells"])
    (cell,) = (source for source in sources if "recorded.simulation_tables()" in source)
    shown = []
    there = {
        "recorded": recorded,
        "replace": dataclasses.replace,
        "in_english": in_english,
        "print": lambda text: None,
    }
    there |= {"note": lambda *_, **__: None, "show_table": lambda table, caption: shown.append(table)}
    exec(cell, there)
    (table,) = shown
    assert {in_english(row["test"]) for row in table.rows} == set(there["used"])
    assert all(HANGUL.search(row[0]) for row in table.cells())


def test_a_note_has_no_english_sentence(korean):
    """Four English words in a row stand in names (licences, papers, "Pre-LN with QK norm") and in code, alone."""
    for name in ("nano", "EXAONE-4.0-1.2B", "EXAONE-4.0-32B", "EXAONE-3.5-2.4B-Instruct", "Qwen3-1.7B"):
        note = re.sub(r"```[\s\S]*?```|\*\*[^*]+\*\*|`[^`]+`|Pre-LN with QK norm", "", model_note(name))
        assert re.findall(r"(?:\b[A-Za-z]+ ){3,}[a-z]+", note) == [], name


def test_help_has_korean_words_of_its_own(korean, capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    text = capsys.readouterr().out
    assert text.startswith("사용법: ") and "\n옵션:\n" in text and "이 도움말을 보여 주고 끝냅니다." in text
    assert "[기본값: 0.01]" in text and "Show this" not in text


def test_a_page_of_answers_that_changed_is_korean_around_the_answers(korean, tmp_path):
    answers = [Answered("<i>yes</i>", "", right, float(right), "stop", ()) for right in (True, False)]
    one = Flip("toy", "base", "candidate", "lost", "Question?", "yes", *answers)
    html = write_page(tmp_path / "page.html", [one], {"toy": 1}).read_text(encoding="utf-8")
    assert (
        '<html lang="ko">' in html
        and "달라진 답" in html
        and "&lt;i&gt;yes" in html.replace("</mark>", "").replace("<mark>", "")
    )
    assert 'data-words="{n}개 표시">1개 표시<' in html


def test_a_figure_that_is_arranged_before_it_is_shown_warns_of_no_boxes(korean):
    if not figures.korean_font():
        pytest.skip("no Korean font is installed here; Debian's fonts-nanum has one")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask_squares({"윈도우 4": square(4, 2)})
    figure, axes = figures.canvas(3, 2)
    axes.set_title("가중치")
    figures.arrange(figure)
    assert figures.korean_font() in axes.title.get_fontfamily()
