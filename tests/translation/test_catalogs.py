"""The committed catalogs: what is translated holds what its English holds, and says words as the style sheet does."""

import csv
import io
import runpy

import pytest
from babel.messages.pofile import read_po

from exaone_nb.paths import ROOT

TRANSLATE = runpy.run_path(str(ROOT / "scripts" / "translation" / "__main__.py"))


@pytest.mark.parametrize("name", TRANSLATE["CATALOGS"])
def test_every_translation_agrees_with_its_english(name: str) -> None:
    catalog = TRANSLATE["read"](name)
    assert [(m.id, why) for m, why in TRANSLATE["state"](catalog)["wrong"]] == []


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
