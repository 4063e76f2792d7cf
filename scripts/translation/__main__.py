"""The Korean edition from one source: `make translate` brings the catalogs up to date and writes notebooks/ko/.

    python scripts/translation            new texts get an empty entry, changed ones are marked fuzzy; the pages are made
    python scripts/translation --check    nothing is written; exit code 1 where the catalogs or the pages are not those
                                          that the sources give, or a translation disagrees with its English
    python scripts/translation --all      with --check: a text without translation counts too

locale/ko/workbook.po is what the package says, notebooks.po what the chapters say, terms.csv how a word is said.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from agreement import Term, differences
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from keys import NOTEBOOKS, ROOT, WORKBOOK, template
from pages import translated

LANGUAGE = "ko"
FOLDER = ROOT / "locale" / LANGUAGE
CATALOGS = {"workbook": WORKBOOK, "notebooks": NOTEBOOKS}


def read(name: str) -> Catalog:
    path = FOLDER / f"{name}.po"
    return read_po(io.BytesIO(path.read_bytes() if path.exists() else b""), locale=LANGUAGE)


def brought_up_to_date(name: str) -> Catalog:
    """The catalog with what the sources say now: new texts are empty, changed ones fuzzy, gone ones are gone."""
    catalog = read(name)
    catalog.update(template(CATALOGS[name]))
    return catalog


def text_of(catalog: Catalog) -> str:
    out = io.BytesIO()
    write_po(out, catalog, width=110, omit_header=True, ignore_obsolete=True, include_lineno=False)
    return out.getvalue().decode()


def terms() -> list[Term]:
    with open(FOLDER / "terms.csv", encoding="utf-8", newline="") as file:
        return [Term(**row) for row in csv.DictReader(file)]


def state(catalog: Catalog) -> dict[str, list[Any]]:
    """The entries that are missing and fuzzy, and those that disagree with their English, with what differs."""
    entries = [message for message in catalog if message.id]
    known = terms()
    wrong = [(m, differences(m.id, m.string, known)) for m in entries if m.string and not m.fuzzy]
    return {
        "missing": [m for m in entries if not m.string],
        "fuzzy": [m for m in entries if m.fuzzy],
        "wrong": [(m, found) for m, found in wrong if found],
    }


def notebooks(catalog: Catalog) -> dict[Path, str]:
    """Every chapter in the language: where it goes, and its text. Links to a heading go to the translated heading."""
    said = {m.id: m.string for m in catalog if m.id and m.string and not m.fuzzy}
    made, anchors = {}, {}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for cell in document["cells"]:
            for heading in re.findall(r"^#+ .*$", "".join(cell["source"]), re.MULTILINE):
                anchors[f"({path.name}#{_anchor(heading)})"] = (
                    f"({path.name}#{_anchor(said.get(heading, heading))})"
                )
        made[path.name] = translated(document, LANGUAGE, lambda text: said.get(text, text))
    found = {}
    for name, document in made.items():
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        for before, after in anchors.items():
            text = text.replace(before, after)
        found[ROOT / "notebooks" / LANGUAGE / name] = text
    return found


def _anchor(heading: str) -> str:
    return heading.lstrip("# ").replace(" ", "-")


def is_whole(catalog: Catalog) -> bool:
    return not any(state(catalog).values())


def wanted() -> Iterator[tuple[Path, str]]:
    """Every generated file and its text; the pages once the chapters are translated whole."""
    for name in CATALOGS:
        catalog = brought_up_to_date(name)
        yield FOLDER / f"{name}.po", text_of(catalog)
        if name == "notebooks" and is_whole(catalog):
            yield from notebooks(catalog).items()


def main(words: list[str]) -> int:
    check, bad = "--check" in words, False
    for path, text in wanted():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            bad = True
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {'not what the sources give' if check else 'written'}")
    for name in CATALOGS:
        catalog = brought_up_to_date(name)
        found = state(catalog)
        total = sum(1 for message in catalog if message.id)
        counts = ", ".join(f"{len(entries)} {what}" for what, entries in found.items())
        print(f"{name}: {total} texts, {counts}")
        for message in found["fuzzy"]:
            print(f"  fuzzy: {message.id[:90]!r}")
        for message, why in found["wrong"]:
            print(f"  {message.id[:90]!r}: {'; '.join(why)}")
        bad = bad or bool(found["wrong"]) or ("--all" in words and bool(found["missing"] or found["fuzzy"]))
    return int(check and bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
