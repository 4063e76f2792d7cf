"""README.ko.md says what README.md says: the same commands, links, headings and numbers, block by block."""

import re
import runpy

from agreement import differences
from pages import markdown_pieces
from PIL import Image

from exaone_nb.paths import ROOT

TERMS = runpy.run_path(str(ROOT / "scripts" / "translation" / "__main__.py"))["terms"]()
ENGLISH, KOREAN = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
LANGUAGES = 1  # the block in which each names the other, below the title


def test_every_block_agrees_with_its_english() -> None:
    blocks = list(zip(markdown_pieces(ENGLISH), markdown_pieces(KOREAN), strict=True))
    assert "(README.ko.md)" in blocks[LANGUAGES][0].key and "(README.md)" in blocks[LANGUAGES][1].key
    del blocks[LANGUAGES]
    wrong = [
        (korean.key, why)
        for english, korean in blocks
        if (why := differences(english.key, korean.key.replace(".ko.png)", ".png)"), TERMS))
    ]
    assert wrong == []


def test_what_is_to_be_typed_is_the_same_byte_by_byte() -> None:
    typed = [re.findall(r"^```[\s\S]*?^```$", text, re.MULTILINE) for text in (ENGLISH, KOREAN)]
    assert typed[0] == typed[1] != []


def test_where_it_leads_exists() -> None:
    for path in re.findall(r"\]\(([^)#]+)\)", KOREAN):
        assert "://" in path or (ROOT / path).exists(), path


def test_its_picture_is_drawn_in_korean_like_the_english_one() -> None:
    """One run, one figure: as tall as the other, with what Korean letters take in width."""
    english, korean = (ROOT / "data" / "pictures" / name for name in ("scoreboard.png", "scoreboard.ko.png"))
    assert f"]({korean.relative_to(ROOT)})" in KOREAN and korean.stat().st_size < 300_000
    (width, height), (wide, tall) = (Image.open(picture).size for picture in (english, korean))
    assert abs(tall - height) < 0.05 * height and abs(wide - width) < 0.2 * width
