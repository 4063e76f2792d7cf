"""llama.cpp, and the only module that imports it: checked against xllamacpp 2026.10.11549.

Its server holds one GGUF file in a process of its own, on 127.0.0.1 and behind a key: a file that crashes it takes
nothing else along, its memory is given back when it ends, and Ctrl-C ends it at any moment. (Inside this process xllamacpp
would take SIGINT and SIGTERM from Python.) It is asked through /completion and /tokenize of llama.cpp's documented
interface (tools/server/README.md there), which take and return token ids.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exaone_nb import processes
from exaone_nb.conversation.answers import Answer, Sampling, split_thought
from exaone_nb.conversation.prompt import opens_thought
from exaone_nb.engines.environment import environment_of_child
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

READY = "EXAONE-NB-READY "
KEY_VARIABLE = "EXAONE_NB_LLAMACPP_KEY"
# What CommonParams must have; tests/engines/test_llamacpp.py looks each up, so that an upgrade fails there first.
SETTINGS = {
    "ui": False,
    "verbosity": 0,
    "cache_ram_mib": 0,  # a repeated prompt must be read again, or prefill times are fiction
    "n_ctx_checkpoints": 0,
    "fit_params": False,  # it would load every file twice
    "endpoint_metrics": True,  # its queue, for `exaone_nb.engines.dialects.server_load`
}
# As a request of ours says it, for requests that come from elsewhere: llama.cpp's own defaults leave tokens out.
SAMPLING = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
FIELDS = ["content", "tokens", "tokens_predicted", "tokens_evaluated", "stop_type", "id_slot", "timings"]
# The vector instructions and kernels that llama.cpp names when it is asked what it was built with.
_KERNELS = re.compile(
    r"(AVX\w*|AMX\w*|NEON|SVE\w*|MATMUL_INT8|LLAMAFILE|REPACK) = 1|(METAL|CUDA|VULKAN|ROCm) :", re.I
)


class LlamaServer:
    """llama.cpp's server with one GGUF file, loaded when the constructor returns; `close` ends it.

    `slots` requests of `context` tokens are answered at once, the others wait. `kernel` is what llama.cpp says it was
    built with.
    """

    def __init__(self, file: Path, *, slots: int, context: int, threads: int, batch: int = 2048) -> None:
        """Raises WorkbookError with llama.cpp's reason when it cannot load the file."""
        import urllib3

        self.name, self.key = file.name, secrets.token_urlsafe(24)
        self.slots, self.context = slots, context
        request = {"file": str(file), "slots": slots, "context": context, "threads": threads, "batch": batch}
        request["parent"] = os.getpid()
        command = [sys.executable, "-m", "exaone_nb.engines.llamacpp_adapter", json.dumps(request)]
        environment = environment_of_child() | {KEY_VARIABLE: self.key}
        self._process: subprocess.Popen[str] | None = None
        self._client: urllib3.HTTPConnectionPool | None = None
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            self._process = processes.start(
                command, env=environment, stdout=subprocess.PIPE, stderr=self._log, text=True
            )
            ready = next((line for line in self._process.stdout if line.startswith(READY)), "")
            if not ready:
                raise self._failed()
            self.address, self.kernel = json.loads(ready.removeprefix(READY))
            headers = {"Authorization": f"Bearer {self.key}"}
            # A third less of the processor per request than httpx takes, which shows beside a tiny model. Nothing is sent twice.
            self._client = urllib3.connection_from_url(
                self.address, headers=headers, timeout=None, retries=False
            )
        except BaseException:
            self.close()
            raise

    def complete(self, prompts: Sequence[Sequence[int]], sampling: Sampling, tokenizer: Any) -> list[Answer]:
        """Continue token ids as one batch; token ids come back, `tokenizer` only tells an open think block.

        Drawn as vLLM draws, with one difference: a presence penalty also counts the tokens of the prompt. Ctrl-C stops
        what is under way and leaves the server as it was.
        """
        named = ("temperature", "top_p", "top_k", "presence_penalty", "ignore_eos")
        drawn = sampling.temperature or sampling.presence_penalty
        request = {
            **{name: getattr(sampling, name) for name in named},
            "prompt": [list(prompt) for prompt in prompts],
            "n_predict": sampling.max_tokens,
            "seed": -1 if sampling.seed is None else sampling.seed,
            "n_probs": sampling.logprobs or 0,
            "samplers": ["penalties", "temperature", "top_k", "top_p"] if drawn else ["temperature"],
            "repeat_last_n": self.context,
            "cache_prompt": False,
            "return_tokens": True,
            "response_fields": [*FIELDS, "completion_probabilities"],
        }
        if sampling.json_schema:
            # A grammar that allows white space allows an answer of nothing else, up to the limit.
            request["json_schema"] = sampling.json_schema | {"x-guidance": {"whitespace_flexible": False}}
        found = self._ask("/completion", request)
        found = found if isinstance(found, list) else [found]  # of one prompt it makes no list
        answers, free = [], dict.fromkeys(range(self.slots), 0.0)
        for prompt, one in zip(prompts, found, strict=True):
            answers.append(_answer(one, free[one["id_slot"]], opens_thought(tokenizer, prompt)))
            free[one["id_slot"]] = answers[-1].seconds  # a slot answers one prompt after the other
        return answers

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text by the tokenizer in the file, special tokens recognised and none added."""
        return self._ask("/tokenize", {"content": text, "add_special": False, "parse_special": True})[
            "tokens"
        ]

    def _ask(self, path: str, request: dict[str, Any]) -> Any:
        import urllib3

        try:
            reply = self._client.request("POST", path, json=request)
            document = reply.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise self._failed() from error
        if reply.status != 200:
            raise WorkbookError(
                say("llama.cpp refuses the request: {reason}", reason=document["error"]["message"])
            )
        return document

    def _failed(self) -> WorkbookError:
        """Why it does not answer, by the last error in its log."""
        if self._process is not None:
            processes.end(self._process)
        self._log.seek(0)
        errors = [line.partition(" E ")[2] for line in self._log if " E " in line]
        told = [line.partition("error loading model: ")[2] for line in errors]
        reason = next((line.strip() for line in (*filter(None, told), *reversed(errors))), "")
        return WorkbookError(
            say(
                "llama.cpp could not go on with {name}: {reason}",
                name=self.name,
                reason=reason or say("it gave no reason"),
            ),
            expected=say("a whole GGUF file of a family that llama.cpp knows, and memory for it."),
            remedy=say("exaone-nb inspect {name} shows what is in it.", name=self.name),
        )

    def close(self) -> None:
        """End the process. Closing twice is fine."""
        process, self._process = self._process, None
        if process is not None:
            processes.end(process)
            process.stdout.close()
            self._log.close()
        if self._client is not None:
            self._client.close()

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.close()


def _answer(found: dict[str, Any], waited: float, opened: bool) -> Answer:
    text, tokens, timings = found["content"], found["tokens"], found["timings"]
    thought, visible = split_thought(text, opened=opened)
    first = waited + timings["prompt_ms"] / 1e3
    return Answer(
        text=visible,
        thought=thought,
        raw=text,
        finish_reason="length" if found["stop_type"] == "limit" else "stop",
        prompt_tokens=found["tokens_evaluated"],
        token_ids=tuple(tokens),
        output_tokens=found["tokens_predicted"],
        first_token_seconds=first,
        seconds=first + timings["predicted_ms"] / 1e3,
        queued_seconds=0.0,
        top_logprobs=_top_logprobs(tokens, found.get("completion_probabilities") or ()),
    )


def _top_logprobs(tokens: Sequence[int], entries: Sequence[dict[str, Any]]) -> tuple[dict[int, float], ...]:
    """Per token the alternatives, the chosen one first; empty for part of a letter, of which llama.cpp gives none."""
    if not entries:
        return ()
    found, left = [], list(reversed(entries))
    for token in tokens:
        entry = left.pop() if left and left[-1]["id"] == token else None
        top = {other["id"]: other["logprob"] for other in entry["top_logprobs"]} if entry else {}
        found.append({token: entry["logprob"]} | top if entry else {})
    return tuple(found)


def serve(request: dict[str, Any]) -> None:
    """The child's side: load the file, say where it answers, and stay until ended."""
    import psutil
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = request["file"]
    parameters.n_parallel, parameters.n_batch = request["slots"], request["batch"]
    parameters.n_ctx = request["slots"] * request["context"]
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = request["threads"]
    for name, value in SETTINGS.items():
        setattr(parameters, name, value)
    for name, value in SAMPLING.items():
        setattr(parameters.sampling, name, value)
    parameters.api_keys = [os.environ.pop(KEY_VARIABLE)]
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError:
        parameters.verbosity = 3  # its reason is only in this log
        server = xllamacpp.Server(parameters)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    kernels = ", ".join("".join(match) for match in _KERNELS.findall(xllamacpp.get_system_info()))
    print(READY + json.dumps([server.listening_address, f"ggml {kernels}"]), flush=True)
    while psutil.pid_exists(request["parent"]):
        time.sleep(1)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
