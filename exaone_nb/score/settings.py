"""How a model is asked: everything that can change a score, in one record."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self, get_args

from exaone_nb.engines.options import MEMORY_SHARE, check_sizes
from exaone_nb.errors import UsageError
from exaone_nb.fields import whole
from exaone_nb.messages import say

Backend = Literal["vllm", "hf", "llama.cpp", "server", "server-chat"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
# These say where, and how many at once: they change no answer.
PLACES = {
    "base_url",
    "tokenizer",
    "key_variable",
    "concurrency",
    "timeout",
    "batch_size",
    "data_parallel_size",
    "gpu_memory_utilization",
}


@dataclass(frozen=True)
class Settings:
    """One way of scoring. `limit` is items per task; `max_gen_toks` applies to tasks that name none themselves.

    `llama.cpp` reads GGUF files and models in 16 bits (generation only); it answers GGUF files whatever the backend.
    `server` asks /v1/completions with token ids (generation and log-likelihood); `server-chat` asks /v1/chat/completions,
    where the server applies the template (generation only). `concurrency` requests are sent at once,
    each is given `timeout` seconds and tried three times.
    """

    backend: Backend = "vllm"
    limit: int | None = None
    num_fewshot: int | None = None
    chat_template: bool = True
    fewshot_as_multiturn: bool = True
    thinking: bool = False
    think_end_token: str | None = None
    system: str = ""
    max_gen_toks: int | None = None
    max_model_len: int = 2048
    gen_kwargs: dict[str, Any] = field(default_factory=dict)
    dtype: str = "auto"
    seed: int = 1234
    batch_size: int = 16
    tensor_parallel_size: int = 1
    data_parallel_size: int = 1
    gpu_memory_utilization: float = MEMORY_SHARE
    engine: dict[str, Any] = field(default_factory=dict)
    base_url: str = ""
    tokenizer: str = ""
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 16
    timeout: int = 300

    def __post_init__(self) -> None:
        backend, sizes = self.backend, (self.tensor_parallel_size, self.data_parallel_size)
        if backend not in BACKENDS:
            got = say("No backend {backend!r}.", backend=backend)
            raise UsageError(got, expected=say("one of {names}.", names=", ".join(BACKENDS)))
        if self.limit is not None and self.limit < 1:
            raise UsageError(say("limit is {limit}.", limit=self.limit), expected="at least one item.")
        check_sizes(*sizes)
        for name in ("max_model_len", "concurrency", "timeout", "batch_size"):
            whole(name, getattr(self, name))
        if not 0 < self.gpu_memory_utilization <= 1:
            raise UsageError(
                say("gpu_memory_utilization is {share!r}.", share=self.gpu_memory_utilization),
                expected=say("a share of the GPU's memory, above 0 and at most 1."),
            )
        got = remedy = ""
        if backend != "vllm" and max(sizes) > 1:
            got = say("Backend {backend!r} does not divide a model between GPUs.", backend=backend)
            remedy = say("Use --backend vllm; a server is given its sizes when it is started.")
        elif backend.startswith("server") and not self.base_url:
            got = say("Backend {backend!r} needs the server's address.", backend=backend)
            remedy = say("Give --base-url, for instance http://127.0.0.1:8000/v1")
        elif backend == "server" and not self.tokenizer:
            got = say("Backend {backend!r} sends token ids and needs the model's tokenizer.", backend=backend)
            remedy = say("Give --tokenizer FOLDER, or use --backend server-chat.")
        elif backend == "server-chat" and not self.chat_template:
            got = say("Backend {backend!r} applies its own chat template.", backend=backend)
            remedy = say("Leave the template on, or use --backend server.")
        if got:
            raise UsageError(got, remedy=remedy)
        if self.thinking and not self.think_end_token:
            # lm-eval refuses thinking without it: the thought would be scored as the answer.
            object.__setattr__(self, "think_end_token", "</think>")

    def asked(self) -> dict[str, Any]:
        """What decides the answers, as JSON: where things are and how many ask at once are left out."""
        return {name: value for name, value in asdict(self).items() if name not in PLACES}

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.asked(), sort_keys=True, default=str).encode()).hexdigest()[:16]

    def with_preset(self, name: str) -> Self:
        """These settings with a preset's on top; "" is none. Raises UsageError for an unknown name."""
        if not name:
            return self
        if name not in PRESETS:
            got = say("No preset {name!r}.", name=name)
            raise UsageError(got, expected=say("one of {names}.", names=", ".join(PRESETS)))
        return replace(self, **PRESETS[name])


# The lecture's command: gsm8k, 5-shot, --limit 512, --apply_chat_template, enable_thinking=False,
# max_gen_toks=2048. The lm-eval of its day put the five examples into one user turn; today's default is a
# conversation of five turns, which is another prompt.
PRESETS: dict[str, dict[str, Any]] = {
    "lecture-gsm8k": {
        "limit": 512,
        "num_fewshot": 5,
        "chat_template": True,
        "fewshot_as_multiturn": False,
        "thinking": False,
        "max_gen_toks": 2048,
        "max_model_len": 4096,
    },
}
