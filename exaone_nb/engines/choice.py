"""Which engine, and why: the choice always comes with its reason."""

from dataclasses import dataclass
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.answers import Engine
from exaone_nb.engines.endpoint import EndpointEngine
from exaone_nb.engines.environment import has_vllm, require_vllm
from exaone_nb.engines.transformers_engine import TransformersEngine
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.errors import UsageError

ENGINES = ("auto", "vllm", "transformers", "endpoint")


@dataclass(frozen=True)
class Choice:
    """An engine's name and why it was taken."""

    name: str
    reason: str


def choose_engine(engine: str = "auto", *, address: str = "") -> Choice:
    """Decide between the engines. Raises UsageError for an unknown name, WorkbookError for one that is not there."""
    if engine not in ENGINES:
        raise UsageError(f"No engine {engine!r}.", expected=", ".join(ENGINES) + ".")
    if engine == "endpoint" and not address:
        raise UsageError("The endpoint engine needs an address.", expected="address=http://HOST:PORT/v1.")
    if address and engine in ("auto", "endpoint"):
        return Choice("endpoint", f"an address was given: {address}")
    if engine == "auto":
        if has_vllm():
            return Choice("vllm", "vLLM is installed; in process it starts fastest and times each request")
        return Choice(
            "transformers", "vLLM is not installed here; answers can be read, speed cannot be judged"
        )
    if engine == "vllm":
        require_vllm()
    return Choice(engine, "asked for")


def open_engine(
    model: str, engine: str = "auto", *, address: str = "", key: str = "", **options: Any
) -> Engine:
    """Open `model` (catalog name, folder, hub id) with the chosen engine; use it in a `with` block.

    `options` go to the engine. Raises what `choose_engine` and the engine raise.
    """
    choice = choose_engine(engine, address=address)
    if choice.name == "endpoint":
        return EndpointEngine(address, key, **options)
    kind = VllmEngine if choice.name == "vllm" else TransformersEngine
    return kind(catalog.weights_folder(model), **options)
