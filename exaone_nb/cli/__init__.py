"""The command line `exaone-nb`. This folder is the only place that prints for the terminal.

Each wing has one module here with `register(app)`. A verb's function calls the wing, then `emit`s either one
JSON document or a human view, never a mixture. Errors go to stderr; exit codes: 0 fine, 1 the thing checked
is bad, 2 the call is wrong.
"""

from __future__ import annotations

import importlib
import sys

import typer

from exaone_nb.errors import WorkbookError

# Wing -> its verbs. A verb loads its own wing only, so that `inspect` does not wait for the others.
WINGS = {
    "doctor": ("doctor",),
    "fetch": ("fetch",),
    "anatomy": ("inspect", "size", "memory", "speed", "note"),
    "compress": ("plan", "quantize"),
    "serve": ("bench",),
    "score": ("score", "compare", "pack", "check"),
    "workbook": ("run", "diff", "sweep"),
}


def command_line(verb: str = "") -> typer.Typer:
    """The command line with the wing of `verb`; with all of them when that is no verb, as `--help` needs."""
    app = typer.Typer(
        name="exaone-nb",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def _root() -> None:
        """Make EXAONE 4.0 smaller and faster without making it worse."""

    wings = [wing for wing, verbs in WINGS.items() if verb in verbs] or WINGS
    for wing in wings:
        importlib.import_module(f"exaone_nb.cli.{wing}").register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Turns a WorkbookError into its message on stderr and its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        command_line(words[0] if words else "")(args=words)
    except WorkbookError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except SystemExit as stop:
        # typer turns Ctrl-C into a silent exit; the interrupt stands behind it.
        if isinstance(getattr(stop.__context__, "__cause__", None), KeyboardInterrupt):
            print("Interrupted.", file=sys.stderr)
        raise
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
