"""Tools over MCP, the Model Context Protocol: a program offers tools, and any client asks it what they are and calls them.

    with ToolServer([sys.executable, "-m", "exaone_nb.engines.mcp_tools"]) as server:
        run_tools(engine, ask("Roll 2 dice with 6 sides."), server.tools())

The program is started here and speaks JSON-RPC, a message a line, over its stdin and stdout. The client is that of the
package `mcp` (read in 2.3), which is asynchronous: its event loop runs in a thread, so that a notebook can use it.
The program runs under a guard (`exaone_nb.processes`) and sees none of this process's environment but what it needs,
so no token reaches it. Run as a module, this file is such a program itself: it offers `roll_dice` and `calculator`.
"""

import functools
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from exaone_nb.conversation.tools import CALCULATOR, ROLL_DICE, Tool
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say
from exaone_nb.paths import COMPLETE
from exaone_nb.processes import guarded

# Ours, and the project's reference server for the time of day (in the lock on Linux).
OURS = (sys.executable, "-m", "exaone_nb.engines.mcp_tools")
TIME = (sys.executable, "-m", "mcp_server_time")
# The client asks a program to end, waits for 2 seconds, and then kills the guard: by then it must be done.
GUARD_PATIENCE_SECONDS = 0.5


class ToolServer(AbstractContextManager):
    """A running program that offers tools. `command` is its command line; `close` ends it with all it started."""

    def __init__(
        self, command: Sequence[str], *, start_seconds: float = 60.0, call_seconds: float = 20.0
    ) -> None:
        """Start it and wait for its first words.

        Raises UsageError without the package `mcp`, WorkbookError with the reason when the program does not speak MCP.
        """
        if find_spec("mcp") is None:
            raise UsageError(
                "Tools over MCP need the package mcp, which is not installed here.", remedy=COMPLETE
            )
        from anyio.from_thread import start_blocking_portal
        from mcp import Client, StdioServerParameters, stdio_client

        # What a program writes that is no MCP would be logged line by line, each with a traceback.
        logging.getLogger("mcp").addHandler(logging.NullHandler())
        self.name = " ".join([Path(command[0]).name, *command[1:]])[:80]
        self.call_seconds, self._closed = call_seconds, False
        self._stack = ExitStack()
        log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._log = self._stack.enter_context(log)
        guard, *rest = guarded(command, GUARD_PATIENCE_SECONDS)
        needed = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        program = StdioServerParameters(command=guard, args=rest, env=needed)
        try:
            self._portal = self._stack.enter_context(start_blocking_portal())
            # Two tries to agree on a version of the protocol, the newer one first.
            client = Client(stdio_client(program, errlog=self._log), read_timeout_seconds=start_seconds / 2)
            opened = self._portal.wrap_async_context_manager(client)
            with self._explained():
                self._client = self._stack.enter_context(opened)
        except BaseException:
            self._stack.__exit__(*sys.exc_info())  # cancels what is still under way
            raise

    def tools(self) -> list[Tool]:
        """What the program offers now. Each tool calls it, and may raise what `call` does."""
        listed = self._run(self._client.list_tools).tools
        return [
            Tool(tool.name, tool.description or "", dict(tool.input_schema), self._function(tool.name))
            for tool in listed
        ]

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """What a tool returns: its value where the program says one, else its text.

        Raises RuntimeError with what the program says of a failed call, TimeoutError for one that takes too long, both
        for the model to read, and WorkbookError when the program is gone.
        """
        result = self._run(self._client.call_tool, name, arguments, read_timeout_seconds=self.call_seconds)
        text = "\n".join(part.text for part in result.content if part.type == "text")
        if result.is_error:
            raise RuntimeError(text)
        value = result.structured_content
        if not isinstance(value, dict):
            with suppress(ValueError):
                return json.loads(text)
            return text
        # A function that returns no object has its value under this name.
        return value["result"] if value.keys() == {"result"} else value

    def close(self) -> None:
        """End the program and all it started. Closing twice is fine."""
        self._closed = True
        self._stack.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _function(self, name: str) -> Callable[..., Any]:
        return lambda **arguments: self.call(name, arguments)

    def _run(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The result of an asynchronous function of the client, which is given up when the waiting is interrupted."""
        if self._closed:
            got = say("The tool server {name} is closed.", name=self.name)
            raise UsageError(got, remedy="Start it again.")
        with self._explained():
            future = self._portal.start_task_soon(functools.partial(work, *arguments, **named))
            try:
                return future.result()
            except BaseException:
                future.cancel()
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What the client raises is put into words."""
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        try:
            yield
        except Exception as caught:
            error: BaseException = caught
            while isinstance(error, BaseExceptionGroup):  # of the client's tasks
                error = error.exceptions[0]
            if not isinstance(error, MCPError):
                raise
            if error.code not in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
                raise RuntimeError(str(error)) from error
            if error.code == CONNECTION_CLOSED:
                got = say("The tool server {name} ended.", name=self.name)
            elif hasattr(self, "_client"):
                raise TimeoutError(say("no result within {limit:g} s", limit=self.call_seconds)) from error
            else:
                got = say("The tool server {name} did not answer.", name=self.name)
            if last := self._last_line():
                got = say("{got} The last that it wrote: {last}", got=got, last=last)
            remedy = say("Run its command in a terminal: it should start, write nothing and wait for input.")
            raise WorkbookError(got, expected="a program that speaks MCP.", remedy=remedy) from error

    def _last_line(self) -> str:
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return lines[-1][:200] if lines else ""


def main() -> None:
    """Offer `roll_dice` and `calculator` until stdin ends."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("exaone-nb")
    for tool in (ROLL_DICE, CALCULATOR):
        server.add_tool(_with_reason(tool.function), tool.name, description=tool.description)
    server.run()


def _with_reason(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose mistakes are told to the client: of other exceptions it learns nothing."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(function)
    def told(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except Exception as error:
            raise ToolError(f"{type(error).__name__}: {error}") from error

    return told


if __name__ == "__main__":
    main()
