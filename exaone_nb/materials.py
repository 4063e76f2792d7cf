"""What a model is calibrated on, judged on and asked, where nobody says otherwise (data/materials.yaml).

    materials_for("nano").tasks                                 # ("nano_gsm", "nano_gsm_ko", "nano_mc")
    materials_for("LGAI-EXAONE/EXAONE-4.0-1.2B").calibration    # general text, where the hub answers

nano's texts and tasks were made for nano. On another model they measure how it takes to nano's sentences, so another
model gets general text and a known benchmark, and, without a network, what there is, with a warning.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from exaone_nb.catalog import is_nano
from exaone_nb.hub import unreachable
from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.written import read_yaml

FILE = DATA / "materials.yaml"
Kind = Literal["nano", "general", "offline"]


@dataclass(frozen=True)
class Materials:
    """Texts by name (see `compress.calibration.TextSource`), lm-eval tasks and a preset of settings to ask them with.

    `why` says in a sentence what decided the choice.
    """

    kind: Kind
    why: str
    calibration: tuple[str, ...]
    held_out: tuple[str, ...]
    tasks: tuple[str, ...]
    preset: str


def materials_for(model: str | Path) -> Materials:
    """What suits `model`, known by its config and not by its name: nano's own, general, or what there is offline.

    The hub is asked for an answer of one line, and for a model that is not nano alone.
    """
    if is_nano(model):
        return _of("nano", say("The model is nano, which has texts and tasks of its own."))
    if why := unreachable():
        return without_hub(say("Nothing can be fetched: {why}.", why=why))
    return _of("general", say("The model is not nano, and the hub answers."))


def without_hub(why: str) -> Materials:
    """What there is for a model that is not nano where the hub gives nothing."""
    return _of("offline", why)


def _of(kind: Kind, why: str) -> Materials:
    chosen = read_yaml(FILE)["sets"][kind]
    return Materials(kind, why, **{k: v if isinstance(v, str) else tuple(v) for k, v in chosen.items()})


def about_text(name: str) -> dict[str, Any]:
    """What is recorded of a text (about, licence, source, date, narrow); empty for one that somebody else names."""
    known = read_yaml(FILE)["texts"]
    found = known.get(name) or known.get(Path(name).stem) or {}
    return found | {part: translated(found[part]) for part in ("about", "source") if found.get(part)}


def narrow_text(names: Iterable[str]) -> str:
    """What those of these texts do to another model that were made for nano; empty when there are none."""
    narrow = ", ".join(dict.fromkeys(name for name in names if about_text(name).get("narrow")))
    return narrow and say(
        "{names}: short arithmetic made for nano. What is calibrated on it is fitted to one narrow kind of text, and what is "
        "judged on it shows how a model does with that kind alone.",
        names=narrow,
    )


def own_tasks(names: Iterable[str]) -> list[str]:
    """Those of these tasks that the workbook brings along, by name or tag."""
    brought = {path.stem for path in (DATA / "tasks").glob("*.yaml")} | {"nano", "english"}
    return [name for name in names if name in brought]


def warnings_on(model: str | Path, texts: Iterable[str] = (), tasks: Iterable[str] = ()) -> Iterator[str]:
    """What these texts and tasks cannot say of a model that is not nano, one sentence each; nothing for nano."""
    if is_nano(model):
        return
    if narrow := narrow_text(texts):
        yield say("{narrow} Name general text in CALIBRATION and HELD_OUT.", narrow=narrow)
    own = own_tasks(tasks)
    if made := ", ".join(name for name in own if name.startswith("nano")):
        yield say(
            "{names}: made for nano, whose answers are short and end in `#### N`. They say nothing about another model, "
            "whose answers are cut after 96 tokens or read wrongly. Name other tasks: TASKS.",
            names=made,
        )
    if few := ", ".join(name for name in own if not name.startswith("nano")):
        yield say(
            "{names}: a few dozen items of the workbook's own, for places without a network. A model that was broken shows; "
            "which of two sound ones is better does not. With a network: TASKS=gsm8k and PRESET=lecture-gsm8k.",
            names=few,
        )
