"""Work with an engine in a process of its own: a crash, a hang or a gigabyte of memory ends with that process.

    run_apart("exaone_nb.architecture.engine:probe", {"layers": 8}, timeout=240)   # what probe({"layers": 8}) returned

The named function takes one JSON document and returns one. The process is started with the engines' own environment.
"""

import importlib
import json
import subprocess
import sys
from typing import Any

from exaone_nb import processes
from exaone_nb.engines.environment import environment_of_child, prepare_process
from exaone_nb.engines.failures import last_error
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import joined, say

MARK = "EXAONE-NB-RESULT "


def run_apart(
    function: str, request: dict[str, Any], *, timeout: float, offline: bool = True
) -> dict[str, Any]:
    """What `function` ("module:name") returns for `request`. `timeout` in seconds; `offline`: no hub is asked.

    Raises WorkbookError with the reason in one line when the process fails or takes longer.
    """
    command = [sys.executable, "-m", "exaone_nb.engines.apart", function, json.dumps(request)]
    child = processes.start(
        command,
        env=environment_of_child(offline=offline),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        out, errors = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise WorkbookError(
            say("not ready after {minutes:g} minutes", minutes=timeout / 60),
            remedy=say("Run it while the machine is idle, or raise the limit."),
        ) from error
    finally:
        processes.end(child)
    for line in out.splitlines():
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))
    kind, reason = last_error(errors)
    reason = joined(filter(None, (kind, reason)), ": ")
    raise WorkbookError(reason or say("the process ended with code {code}", code=child.returncode))


def main(function: str, request: str) -> None:
    """The child's side: call the function, print its result behind a mark that no library prints."""
    module, _, name = function.partition(":")
    prepare_process()
    found = getattr(importlib.import_module(module), name)(json.loads(request))
    print(f"\n{MARK}{json.dumps(found)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
