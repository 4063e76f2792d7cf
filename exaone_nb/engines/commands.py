"""Commands that start other engines: those of data/models.yaml, each with what its flags were checked against.

Servers rename and drop flags between versions, so a command is worth as much as the version it was held against.
"""

import shlex
from dataclasses import dataclass
from itertools import pairwise

from exaone_nb import catalog
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import joined, say


@dataclass(frozen=True)
class Check:
    """What the flags of `program` (of the engine `name`) were looked up in.

    `flags` maps each flag seen there to the values looked up with it (none: it takes any, or none), `unverified` each
    flag that could not be looked up to the reason.
    """

    program: str
    name: str
    version: str
    source: str
    date: str
    flags: dict[str, list[str]]
    unverified: dict[str, str]

    def words(self, command: str) -> str:
        """In one line: what was looked up where and when, and what could not be."""
        flags = [flag for flag in flags_of(command, self.program) if flag in self.unverified]
        found = f"{self.name} {self.version}: {self.source} ({self.date})."
        missing = (
            say("NOT VERIFIED: {flag} ({why}).", flag=flag, why=self.unverified[flag]) for flag in flags
        )
        return joined([found, *missing], " ")


def check_of(command: str) -> Check:
    """The check of the program a command starts. Raises WorkbookError when data/models.yaml has none."""
    for program, entry in catalog.launchers().items():
        if command.split()[: len(program.split())] == program.split():
            return Check(program, **entry)
    raise WorkbookError(
        say("Nothing says what {command!r} was checked against.", command=command),
        expected="its program under `launchers` in data/models.yaml.",
        remedy="Look its flags up, and write down where and when.",
    )


def flags_of(command: str, program: str) -> dict[str, str]:
    """Flag -> the value that follows it, empty when none does."""
    words = [*shlex.split(command)[len(program.split()) :], ""]
    pairs = {word: following for word, following in pairwise(words) if word.startswith("-")}
    return {flag: "" if value.startswith("-") else value for flag, value in pairs.items()}


def launch_commands(model: str, context: int = 32768) -> list[dict[str, str]]:
    """How to start other engines with a catalog model; each is then used by its address.

    `least` is the engine's least version, `checked` says what the flags were looked up in.
    """
    record = catalog.record(model)
    known = {name: e for name, e in record.deployment.items() if isinstance(e, dict) and e.get("command")}
    found = []
    for engine, entry in known.items():
        command = entry["command"].format(model=record.hub_id, name=record.name, context=context)
        row = {"engine": engine, "least": str(entry.get("least", "")), "command": command}
        row["remark"] = entry.get("remark", "").replace("{model}", record.hub_id)
        row["source"] = entry.get("source", record.deployment["source"])
        found.append(row | {"checked": check_of(command).words(command)})
    return found
