"""The committed catalogs and chapters: whole, what the sources give, and in their English's sense."""

import ast
import csv
import io
import json
import re
import runpy
from pathlib import Path

import pages
import pytest
from babel.messages.pofile import read_po

from exaone_nb.paths import NOTEBOOKS, ROOT

KOREAN = sorted((NOTEBOOKS / "ko").glob("*.ipynb"))
TRANSLATE = runpy.run_path(str(ROOT / "scripts" / "translation" / "__main__.py"))


@pytest.mark.parametrize("name", TRANSLATE["CATALOGS"])
def test_every_text_has_a_translation(name: str) -> None:
    found = TRANSLATE["state"](TRANSLATE["brought_up_to_date"](name))
    assert {what: [message.id for message in found[what]] for what in ("missing", "fuzzy")} == {
        "missing": [],
        "fuzzy": [],
    }, "run `make translate`, then say them in locale/ko/"


@pytest.mark.parametrize("name", TRANSLATE["CATALOGS"])
def test_every_translation_agrees_with_its_english(name: str) -> None:
    catalog = TRANSLATE["read"](name)
    assert [(m.id, why) for m, why in TRANSLATE["state"](catalog)["wrong"]] == []


def test_the_committed_files_are_what_the_sources_give() -> None:
    """Catalogs and chapters; an emptied or fuzzy text leaves chapters out, which is told as well."""
    wanted = dict(TRANSLATE["wanted"]())
    made = {path.name for path in wanted if path.suffix == ".ipynb"}
    assert made == {path.name for path in NOTEBOOKS.glob("[0-9]*.ipynb")}
    other = [str(p.relative_to(ROOT)) for p, text in wanted.items() if p.read_text(encoding="utf-8") != text]
    assert other == [], "run `make translate`"
    assert {path.name for path in KOREAN} == made


def cells(path: Path) -> list[str]:
    """The sources of a chapter's cells with code."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", KOREAN, ids=lambda path: path.stem)
def test_a_korean_chapter_is_python_with_the_parameters_of_its_english(path: Path) -> None:
    language, *korean = [ast.parse(source) for source in cells(path)]
    english = [ast.parse(source) for source in cells(NOTEBOOKS / path.name)]
    assert "EXAONE_NB_LANG" in ast.unparse(language)
    assert ast.dump(korean[0]) == ast.dump(english[0])


@pytest.mark.parametrize("path", KOREAN, ids=lambda path: path.stem)
def test_a_label_is_told_from_the_others_of_its_chapter(path: Path) -> None:
    document = json.loads((NOTEBOOKS / path.name).read_text(encoding="utf-8"))
    catalog = TRANSLATE["read"]("notebooks")
    labels = [re.sub("^f?['\"]|['\"]$", "", label) for label in pages.labels(document)]
    said = [catalog.get(label).string for label in labels]
    assert len(set(said)) == len(said)


def test_the_style_sheet_says_each_word_once() -> None:
    with open(ROOT / "locale" / "ko" / "terms.csv", encoding="utf-8", newline="") as file:
        terms = list(csv.DictReader(file))
    assert len({term["english"] for term in terms}) == len(terms) >= 60
    assert all(term["korean"] for term in terms)


def test_what_is_new_changed_and_gone_is_told_from_each_other() -> None:
    """A changed text keeps its translation, marked as fuzzy; the kernel of the package does not read it then."""
    before = 'msgid "The file has {n:,} bytes in all."\nmsgstr "파일은 모두 {n:,}바이트입니다."\n\nmsgid "Gone."\nmsgstr "x"\n'
    catalog = read_po(io.BytesIO(before.encode()), locale="ko")
    sources = type(catalog)()
    for text in ("The file has {n:,} bytes altogether.", "Entirely new: {reason}"):
        sources.add(text)
    catalog.update(sources)
    found = TRANSLATE["state"](catalog)
    assert [m.id for m in found["fuzzy"]] == ["The file has {n:,} bytes altogether."]
    assert [m.id for m in found["missing"]] == ["Entirely new: {reason}"]
    assert "Gone." not in TRANSLATE["text_of"](catalog)
