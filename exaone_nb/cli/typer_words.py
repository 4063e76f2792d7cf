"""What typer, and click in it, say of themselves: help and refusals, in the language that is spoken.

typer brings its own click, which has no translations, and its wording differs between versions. So help is written by
a formatter of ours, and a refusal is read back by its English templates; one that none of them fits stays English.
"""

import re
from typing import Any

import typer

from exaone_nb.errors import UsageError
from exaone_nb.messages import say, translated

# click's UsageError; the module that has it depends on typer's version.
Refused: type[Exception] = typer.BadParameter.mro()[1]


def in_language(group: Any) -> Any:
    """The click group of a command line, described in the language that is spoken."""
    own = {
        "Arguments": say("Arguments"),
        "Options": say("Options"),
        "Commands": say("Commands"),
        "Show this message and exit.": say("Show this message and exit."),
    }

    class InLanguage(group.context_class.formatter_class):  # type: ignore[misc, name-defined]
        """The words that are click's own; it writes help by these methods."""

        def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
            super().write_usage(prog, args, say("Usage: "))

        def write_heading(self, heading: str) -> None:
            super().write_heading(own.get(heading, heading))

        def write_dl(self, rows: Any, *columns: Any) -> None:
            default, required = ("[default: ", say("[default: ")), ("required]", say("required]"))
            said = [(name, own.get(text, text).replace(*default).replace(*required)) for name, text in rows]
            super().write_dl(said, *columns)

    context = type("Context", (group.context_class,), {"formatter_class": InLanguage})
    for command in (group, *group.commands.values()):
        command.context_class = context
        for described in (command, *command.params):
            described.help = translated(getattr(described, "help", None) or "")
    return group


def refused(error: Any, words: list[str]) -> UsageError:
    """What typer refuses of a call: what was got, how the verb is called, where to read on."""
    context, command, call = error.ctx, " ".join(["exaone-nb", *filter(str.isalpha, words[:1])]), ""
    if context is not None:  # an option without its value is refused without one
        command = context.command_path
        call = " ".join([command, *context.command.collect_usage_pieces(context)])
    remedy = say("Read `{command} --help`.", command=command)
    return UsageError(_said(error.format_message()), expected=call, remedy=remedy)


def _said(text: str) -> str:
    """`text` by the first template that it is made from, its fields said in the same way; else as it is."""
    templates = (
        translated("Missing command."),
        translated("Missing argument {name}."),
        translated("No such command {name}. Did you mean {names}?"),
        translated("No such command {name}."),
        translated("No such option: {name} (Possible options: {names})"),
        translated("No such option: {name}"),
        translated("Option {name} requires an argument."),
        translated("Option {name} does not take a value."),
        translated("Got unexpected extra argument(s) ({words})"),
        translated("Invalid value for {name}: {why}"),
        translated("{value} is not a valid int."),
        translated("{value} is not a valid int range."),
        translated("{value} is not a valid float."),
        translated("{value} is not in the range {range}."),
        translated("{value} is not one of {choices}."),
    )
    for template in templates:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(getattr(template, "english", template)))
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return template.format(**{name: _said(value) for name, value in found.groupdict().items()})
    return text
