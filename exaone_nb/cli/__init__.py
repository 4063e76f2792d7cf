"""The command line `exaone-nb`. This folder is the only place that prints for the terminal.

A verb is the function of its name in one of the modules here. It calls its wing, then `emit`s either one JSON document
or a human view, never a mixture. Errors go to stderr; exit codes: 0 fine, 1 the thing checked
is bad, 2 the call is wrong.
"""

import errno
import importlib
import os
import sys
from typing import Annotated

import typer
from typer import Option

from exaone_nb import language
from exaone_nb.cli.output import prepare_streams, tell
from exaone_nb.cli.typer_words import Refused, in_language, refused
from exaone_nb.errors import UsageError, WorkbookError, refusal
from exaone_nb.messages import say
from exaone_nb.paths import COMPLETE

# Module -> its verbs. A verb loads its own module only, so that `inspect` does not wait for the others.
WINGS = {
    "setup": ("doctor", "fetch"),
    "chapters": ("install", "notebooks", "lab"),
    "anatomy": ("inspect", "size", "memory", "speed", "note"),
    "compress": ("plan", "quantize"),
    "gguf": ("convert",),
    "serve": ("bench", "capacity", "record"),
    "score": ("score", "compare", "pack", "check"),
    "gate": ("gate",),
    "workbook_run": ("run",),
    "workbook_runs": ("diff", "sweep"),
}


def command_line(verb: str = "") -> typer.Typer:
    """The command line with the verbs of `verb`'s module; with all of them when that is no verb, as `--help` needs."""
    app = typer.Typer(
        name="exaone-nb",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def _root(
        lang: Annotated[
            str, Option(metavar="LANGUAGE", help="en or ko; with any verb, also behind it.")
        ] = "",
    ) -> None:
        """Make EXAONE 4.0 smaller and faster without making it worse."""

    for name in [name for name, verbs in WINGS.items() if verb in verbs] or WINGS:
        module = importlib.import_module(f"exaone_nb.cli.{name}")
        for each in WINGS[name]:
            app.command(each, cls=getattr(module, "PairsOfWords", None))(getattr(module, each))
    return app


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Turns a WorkbookError into its message on stderr and its exit code."""
    if arguments is None:
        _start_again_in_utf8()
    prepare_streams()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        _require_text(words)
        words = _choose_language(words)
        group = in_language(typer.main.get_command(command_line(words[0] if words else "")))
        # Not by calling it: that would print refusals itself, in English.
        with group.make_context(group.name, list(words)) as context:
            group.invoke(context)
            context.exit()
    except typer.Exit as stop:
        raise SystemExit(stop.exit_code) from None
    except Refused as error:
        # Without a word it has the help to say.
        tell(refusal(refused(error, words)) if words else error.format_message())
        raise SystemExit(UsageError.exit_code) from None
    except WorkbookError as error:
        tell(refusal(error))
        raise SystemExit(error.exit_code) from None
    except ModuleNotFoundError as error:
        # The light installation has what the arithmetic needs; a verb that needs more says what, and how to get it.
        if not error.name or error.name.startswith("exaone_nb"):
            raise
        missing = say("This needs the Python package {name}, which is not installed here.", name=error.name)
        tell(refusal(WorkbookError(missing, remedy=COMPLETE)))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        tell(say("Interrupted."))
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        full = say("The disk that the output goes to is full. Files that were written before are whole.")
        tell(refusal(WorkbookError(full)))
        raise SystemExit(1) from None


def _choose_language(words: list[str]) -> list[str]:
    """The words without `--lang LANGUAGE`, which is set for this process and those it starts.

    It must be known before a verb's module is loaded. Without the option, what programs read (--json) is English.
    """
    ours = words[: words.index("--")] if "--" in words else words
    named = language.ENGLISH if "--json" in ours else os.environ.get(language.VARIABLE, "")
    at = next((at for at, word in enumerate(ours) if word.partition("=")[0] == "--lang"), None)
    if at is not None:
        option = words[at : at + 1 + ("=" not in words[at])]
        named, words = option[-1].removeprefix("--lang="), words[:at] + words[at + len(option) :]
    if named and named not in language.languages():
        raise UsageError(
            say("There is no language {named!r}.", named=named),
            expected=say("one of: {known}.", known=", ".join(language.languages())),
        )
    if named:
        os.environ[language.VARIABLE] = named
    return words


def _start_again_in_utf8() -> None:
    """Replace this process by one in Python's UTF-8 mode where the locale cannot hold every file name.

    That is so under LC_ALL=C with PYTHONUTF8=0 and under a Latin-1 locale. Arguments, paths and the kernels' own files
    would each fail in their own way there; what this process starts inherits the mode.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _require_text(words: list[str]) -> None:
    """Raise UsageError for an argument that is not UTF-8: no record and no report could hold it."""
    for number, word in enumerate(words, 1):
        try:
            word.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(
                say(
                    "Argument {number} is not UTF-8: {fsencode!r}.", number=number, fsencode=os.fsencode(word)
                ),
                expected="text in UTF-8.",
                remedy="Set the terminal to UTF-8, or rename the file.",
            ) from error
