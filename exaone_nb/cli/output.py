"""One JSON document on stdout, or a human view; never both.

Everything that is printed goes through here, because much of it comes from strangers: names of tensors, settings of
models, answers of servers. Control characters in it are written out (`\\x1b`), so that nothing steers the terminal, and
what the terminal's encoding cannot hold is written as an escape, so that no output ends a run.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TextIO

from typer import Option

from exaone_nb.errors import UsageError
from exaone_nb.library_types import Console
from exaone_nb.messages import in_english, say, visible

JsonFlag = Annotated[bool, Option("--json", help="Print one JSON document and nothing else.")]


# In a pipe or a log there is no screen to fit: rich's 80 columns would cut names and break lines that one searches.
LOG_COLUMNS = 140


def prepare_streams() -> None:
    """Make stdout and stderr take any text: what they cannot encode is escaped, and a closed one swallows it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (for the whole process)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # It is about this terminal. Kernels and what they start write into pipes and logs, which are UTF-8.
    os.environ.pop("PYTHONIOENCODING", None)


def tell(text: str, stream: TextIO | None = None) -> None:
    """Print one message, on stderr unless told otherwise."""
    print(visible(text), file=stream or sys.stderr, flush=True)


def console(stderr: bool = False) -> Console:
    """A rich console as wide as the terminal, or LOG_COLUMNS where there is none (COLUMNS in the environment wins)."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else LOG_COLUMNS
    return _console_class()(stderr=stderr, width=width, emoji=False)


@cache
def _console_class() -> type[Console]:
    """Rich's console, which writes control characters of a text out before it measures and lays out the text."""
    from rich.console import Console  # a tenth of a second that --json need not wait for
    from rich.text import Text

    class Screen(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **options)

        def render(self, renderable: Any, options: Any = None) -> Any:
            if isinstance(renderable, Text) and (shown := visible(renderable.plain)) != renderable.plain:
                renderable = renderable.copy()
                renderable.plain = shown
            return super().render(renderable, options)

    return Screen


def counted(what: str) -> Callable[[int, int], None]:
    """A callback for (done, total) that keeps a line on stderr, on a terminal only; it is wiped at the end."""

    def show(done: int, total: int) -> None:
        if total > 1 and sys.stderr.isatty():
            counted = say("{what} {done} of {total}", what=what, done=done, total=total)
            line = f"\r{counted}" + ("\r" + " " * 30 + "\r" if done == total else "")
            print(line, end="", file=sys.stderr, flush=True)

    return show


def writable_folder(folder: Path) -> None:
    """Make a folder that something will be written into later, and try it. Raises UsageError."""
    with writable(say("folder"), folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def lines(console: Console, sentences: Iterable[str]) -> None:
    """Print sentences, each on a line of its own."""
    for sentence in sentences:
        console.print(sentence, markup=False, highlight=False)


def show_check(console: Console, mark: str, style: str, text: str, remedy: str) -> None:
    """Print what was looked at behind its coloured mark, and the remedy where there is one."""
    from rich.text import Text

    console.print(Text(mark, style=style) + Text(text))
    if remedy:
        console.print(Text(f"       {remedy}", style="dim"))


@contextmanager
def writable(what: str, file: Path) -> Iterator[None]:
    """Raise UsageError instead of OSError when `file` cannot be written."""
    try:
        yield
    except OSError as error:
        got = say("The {what} {f} cannot be written ({why}).", what=what, f=str(file), why=error.strerror)
        raise UsageError(got, expected=say("a place that can be written.")) from error


def emit(as_json: bool, document: Any, human: Callable[[Console], None]) -> None:
    """Print `document` as JSON, or let `human` draw on a rich console."""
    if as_json:
        print(_json(in_english(document)))
    else:
        human(console())


def _json(document: Any) -> str:
    """Readable JSON; pure ASCII when it holds control characters, or what stdout cannot encode."""
    text, encoding = (
        json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False),
        sys.stdout.encoding or "utf-8",
    )
    harmless = all(map(str.isprintable, text.split("\n"))) or visible(text) == text
    if harmless and text.encode(encoding, "replace").decode(encoding) == text:
        return text
    return json.dumps(document, indent=2, allow_nan=False)
