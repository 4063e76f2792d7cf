"""Which engine, and why: the choice always comes with its reason."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.answers import Engine
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.engines.environment import has_llamacpp, has_vllm, require_llamacpp, require_vllm
from exaone_nb.engines.llamacpp_engine import LlamacppEngine
from exaone_nb.engines.transformers_engine import TransformersEngine
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.errors import UsageError
from exaone_nb.messages import say

IN_PROCESS = {"vllm": VllmEngine, "llama.cpp": LlamacppEngine, "transformers": TransformersEngine}
ENGINES = ("auto", *IN_PROCESS, "endpoint")
# With these each request is timed.
TIMED = ("vllm", "llama.cpp")


@dataclass(frozen=True)
class Choice:
    """An engine's name and why it was taken."""

    name: str
    reason: str


def choose_engine(engine: str = "auto", *, address: str = "", folder: Path | None = None) -> Choice:
    """Decide between the engines, for the model in `folder` where one is named.

    Raises UsageError for an unknown name and an engine that cannot read the model, WorkbookError for one that is not there.
    """
    if engine not in ENGINES:
        raise UsageError(say("No engine {engine!r}.", engine=engine), expected=", ".join(ENGINES) + ".")
    if engine == "endpoint" and not address:
        raise UsageError("The endpoint engine needs an address.", expected="address=http://HOST:PORT/v1.")
    if address and engine in ("auto", "endpoint"):
        return Choice("endpoint", say("an address was given: {address}", address=address))
    gguf = catalog.gguf_in(folder) if folder is not None else None
    if gguf is not None and engine not in ("auto", "llama.cpp"):
        raise UsageError(
            say("{file} is a GGUF file, and {engine} reads none.", file=gguf.name, engine=engine),
            remedy=say("Leave the engine to choose itself, or name llama.cpp."),
        )
    if gguf is not None or engine == "llama.cpp":
        require_llamacpp()
        return Choice("llama.cpp", say("the model is a GGUF file") if gguf is not None else say("asked for"))
    if engine == "auto":
        return _best(folder)
    if engine == "vllm":
        require_vllm()
    return Choice(engine, say("asked for"))


def _best(folder: Path | None) -> Choice:
    """What answers safetensors best of what is installed here."""
    if has_vllm():
        return Choice("vllm", say("vLLM is installed; in process it starts fastest and times each request"))
    compressed = folder is not None and "quantization_config" in catalog.read_config(folder / "config.json")
    if has_llamacpp() and not compressed:
        return Choice(
            "llama.cpp",
            say("vLLM is not installed here; llama.cpp runs models in 16 bits, and times each request"),
        )
    return Choice(
        "transformers", say("vLLM is not installed here; answers can be read, speed cannot be judged")
    )


def open_engine(
    model: str, engine: str = "auto", *, address: str = "", key: str = "", **options: Any
) -> Engine:
    """Open `model` (catalog name, folder, GGUF file, hub id) with the chosen engine; use it in a `with` block.

    `options` go to the engine. Raises what `choose_engine` and the engine raise.
    """
    folder = None if address else catalog.weights_folder(model)
    choice = choose_engine(engine, address=address, folder=folder)
    if choice.name == "endpoint":
        return EndpointEngine(address, key, **options)
    return IN_PROCESS[choice.name](folder, **options)
