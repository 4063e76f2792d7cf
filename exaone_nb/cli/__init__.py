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

WINGS = ("doctor", "anatomy", "compress", "serve", "score", "workbook")

app = typer.Typer(
    name="exaone-nb",
    help="Make EXAONE 4.0 smaller and faster without making it worse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _root() -> None:
    """Make EXAONE 4.0 smaller and faster without making it worse."""


for _wing in WINGS:
    importlib.import_module(f"exaone_nb.cli.{_wing}").register(app)


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Turns a WorkbookError into its message on stderr and its exit code."""
    try:
        app(args=arguments)
    except WorkbookError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
