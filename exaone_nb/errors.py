"""One family of errors: what was got, what was expected, what to do."""

from collections.abc import Iterator

from exaone_nb.messages import say, translated


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those behind it, as a traceback shows them, the root last."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


class WorkbookError(Exception):
    """Base of every error this package raises on purpose. The thing that was checked is bad (exit code 1).

    The three parts are kept as fields, in the reader's language, so that the command line, a report and a test can each
    show them in their own way.
    """

    exit_code = 1

    def __init__(self, got: str, *, expected: str = "", remedy: str = "") -> None:
        self.got, self.expected, self.remedy = map(translated, (got, expected, remedy))
        super().__init__(self.got)

    def __str__(self) -> str:
        lines = [self.got]
        if self.expected:
            lines.append(say("Expected: {what}", what=self.expected))
        if self.remedy:
            lines.append(say("What to do: {remedy}", remedy=self.remedy))
        return "\n".join(lines)


def refusal(error: WorkbookError) -> str:
    """An error as a terminal and an open notebook show it."""
    return say("error: {got}", got=str(error))


class DiskFull(WorkbookError):
    """There is no room for what was to be written."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM) and did so in order, as on Ctrl-C."""


class UsageError(WorkbookError):
    """The call itself is wrong: an unknown name, a value of the wrong type (exit code 2)."""

    exit_code = 2
