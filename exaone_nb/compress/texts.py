"""Which texts a chapter calibrates on and judges on: the user's, or what suits the model; never one text for both.

texts = choose("LGAI-EXAONE/EXAONE-4.0-1.2B", samples=128, documents=128)
texts.calibration, texts.held_out          # sources
texts.table(), texts.why, texts.warnings   # what they are, under which licence, and what they cannot say
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from exaone_nb.compress.calibration import CHOICE, TextSource, divided, read_source
from exaone_nb.compress.damage import region
from exaone_nb.compress.hub_texts import hub_rows
from exaone_nb.errors import WorkbookError
from exaone_nb.language import HANGUL
from exaone_nb.materials import Materials, about_text, materials_for, warnings_on, without_hub
from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table


@dataclass(frozen=True)
class Texts:
    """`calibration` begins behind the rows that `held_out` takes, where both name one source. `rows` has a row per source
    and use; `why` says what decided, and is empty where the user named both."""

    calibration: tuple[TextSource, ...]
    held_out: tuple[TextSource, ...]
    why: str
    warnings: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    def table(self) -> Table:
        """What each text is, where its licence was read, and how much of it is Korean."""
        return Table(
            [
                Column("name", say("text"), code=True),
                Column("use", say("for")),
                Column("about", say("what it is"), missing=say("not known here")),
                Column("licence", say("licence"), missing=say("not known here: read its page")),
                Column("texts", say("texts to draw from"), ","),
                Column("korean", say("of them with Korean letters"), ".0%"),
            ],
            list(self.rows),
        )


def choose(
    model: str,
    calibration: Sequence[str] = (),
    held_out: Sequence[str] = (),
    *,
    samples: int,
    documents: int,
) -> Texts:
    """The texts that a user named, or for empty names what suits `model`; each is read, and streamed if it has to be.

    Where the hub answers and does not give what was chosen for the model, the workbook's own texts take its place, with a
    warning. Raises WorkbookError when a text that the user named cannot be had.
    """
    material = None if calibration and held_out else materials_for(model)
    try:
        return _read(model, material, calibration, held_out, samples, documents)
    except WorkbookError as error:
        if material is None or material.kind != "general":
            raise
        return _read(model, without_hub(error.got), calibration, held_out, samples, documents)


def _read(
    model: str,
    material: Materials | None,
    calibration: Sequence[str],
    held_out: Sequence[str],
    samples: int,
    documents: int,
) -> Texts:
    judged = tuple(map(TextSource, held_out or material.held_out))
    taken = {
        source.name: region(source, count)
        for source, count in zip(judged, divided(documents, judged), strict=True)
    }
    seen = tuple(
        replace(source, offset=taken.get(source.name, 0))
        for source in map(TextSource, calibration or material.calibration)
    )
    counts = zip(seen, divided(samples, seen), strict=True)
    rows = [_row(source, say("calibration"), count, CHOICE * count) for source, count in counts]
    rows += [_row(source, say("judging"), 1 if source.path else taken[source.name], 0) for source in judged]
    names = [source.name for source in (*seen, *judged)]
    return Texts(
        seen, judged, material.why if material else "", tuple(warnings_on(model, names)), tuple(rows)
    )


def _row(source: TextSource, use: str, least: int, most: int) -> dict[str, Any]:
    """What a source is, after it was read."""
    found, known = read_source(source, least, most), about_text(source.name)
    korean = sum(bool(HANGUL.search(str(text))) for text in found)
    row = {"name": source.name, "use": use, "about": known.get("about"), "texts": len(found)}
    return row | {"licence": _licence(source, known), "korean": korean / len(found)}


def _licence(source: TextSource, known: dict[str, Any]) -> str | None:
    """As the hub's page tagged it when the rows were fetched, else as it is recorded, each with its date."""
    if source.path is None:
        kept = hub_rows(source.name, source.offset, 0, lambda row, number: row, source.field)
        if kept.licence:
            return say("{tag} (its page on the hub, {date})", tag=kept.licence, date=kept.date)
    if not known.get("licence"):
        return None
    return say("{k[licence]} ({k[source]}, {k[date]})", k=known)
