"""What an engine is opened with: the number format with its reason, memory, GPUs and copies, alike for every use of vLLM.

    choose_dtype({"model_type": "exaone4", "dtype": "bfloat16"}, 7.5)
    # ("float16", "compute capability 7.5 has no bfloat16")

The rules are those of vLLM 0.32 (platforms/cuda.py and cpu.py `supported_dtypes`, config/model.py
`_resolve_auto_dtype` and `_FLOAT16_NOT_SUPPORTED_MODELS`); tests/engines/test_contract.py holds them against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exaone_nb import catalog, fields
from exaone_nb.anatomy.attention import context_limit
from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.engines.environment import core_count, has_gpu
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.fields import named_dtype, whole
from exaone_nb.hardware import this_machine
from exaone_nb.messages import say
from exaone_nb.quantization.config import presets_of, read_quantization
from exaone_nb.quantization.loading import refused_by

DTYPES = ("auto", "bfloat16", "float16", "float32")
# Families whose activations overflow or lose too much in float16, so that vLLM refuses it.
WITHOUT_FLOAT16 = ("gemma2", "gemma3", "gemma3_text", "glm4")
# The share of a GPU's memory that an engine takes: what the hackathon's server was started with.
MEMORY_SHARE = 0.85
CACHE_GIB = 1.0
GIB = 2**30
# Below this many parameters a step is bound by overhead; a second thread then waits more than it works.
TINY_BELOW = 50_000_000
# nano's thoughts take a line. Those of a real model take pages, and on a CPU pages take minutes.
TINY_ANSWER, CPU_ANSWER, GPU_ANSWER = 160, 512, 4096
# The longest prompt of the chapter: two tool schemas, a call and its result.
PROMPT_ROOM = 1024


def choose_dtype(config: Mapping[str, Any], capability: float | None, asked: str = "auto") -> tuple[str, str]:
    """(number format, why) for a config.json on a GPU of this compute capability, or on a CPU for None.

    "auto" keeps the checkpoint's 16-bit format where the engine can compute in it. Raises UsageError for a name that is
    none of DTYPES, and for a format that the engine refuses for this family on this device.
    """
    require_name(asked)
    family = str(config.get("model_type", ""))
    lacking = {}
    if capability is not None and capability < 8:
        lacking["bfloat16"] = say("compute capability {capability} has no bfloat16", capability=capability)
    if capability is not None and capability < 6:
        lacking["float16"] = say("compute capability {capability} has no float16", capability=capability)
    elif family in WITHOUT_FLOAT16:
        lacking["float16"] = say("vLLM refuses float16 for {family}: numerically unstable", family=family)
    usable = [name for name in DTYPES[1:] if name not in lacking]
    if asked in lacking:
        raise UsageError(
            say("dtype {asked} cannot be used: {why}.", asked=asked, why=lacking[asked]),
            expected=say("auto, or {usable}.", usable=" or ".join(usable)),
        )
    if asked != "auto":
        return asked, say("asked for")
    stored = named_dtype(config)
    if stored in usable and stored != "float32":
        return stored, say("as the checkpoint is stored")
    why = [lacking[name] for name in DTYPES[1 : DTYPES.index(usable[0])] if name in lacking]
    if not why and stored == "float32":
        why = [say("16 bits are enough for a checkpoint stored in float32")]
    return usable[0], "; ".join(why) or say("the checkpoint does not say how it is stored")


def require_name(dtype: str) -> None:
    """Raise UsageError for a name that is none of DTYPES."""
    if dtype not in DTYPES:
        raise UsageError(say("dtype is {dtype!r}.", dtype=dtype), expected=", ".join(DTYPES) + ".")


def vllm_arguments(
    config: Mapping[str, Any],
    capability: float | None,
    *,
    dtype: str = "auto",
    kv_cache_gib: float = CACHE_GIB,
    gpu_memory_utilization: float = MEMORY_SHARE,
    eager: bool | None = None,
) -> tuple[dict[str, Any], str]:
    """Arguments of `vllm.LLM` for number format, memory and compiling, and the reason for the format.

    `kv_cache_gib` holds on a CPU, `gpu_memory_utilization` on a GPU. `eager` None compiles graphs on a GPU, not on a
    CPU, where that takes a minute at the start. Raises WorkbookError for a checkpoint whose scheme has no kernel on this
    machine: vLLM would find out after a minute.
    """
    schemes = [scheme or name for name, scheme in presets_of(read_quantization(config)) if scheme or name]
    if refused := refused_by(schemes, this_machine()):
        raise WorkbookError(
            refused,
            expected=say("a scheme with a kernel here; the inference chapter shows the table."),
            remedy=say("Use transformers to read its answers, or a checkpoint of another recipe."),
        )
    chosen, why = choose_dtype(config, capability, dtype)
    on_cpu = capability is None
    memory = {"gpu_memory_utilization": gpu_memory_utilization}
    if on_cpu:
        memory = {"kv_cache_memory_bytes": int(kv_cache_gib * GIB)}
    return {"dtype": chosen, "enforce_eager": on_cpu if eager is None else eager, **memory}, why


def check_sizes(tensor_parallel_size: int, data_parallel_size: int = 1) -> None:
    """Raises UsageError for a size that is not a whole number of at least 1."""
    whole("tensor_parallel_size", tensor_parallel_size)
    whole("data_parallel_size", data_parallel_size)


def copies_note(tensor_parallel_size: int, data_parallel_size: int, server: bool) -> str:
    """What several copies of the model change here; empty for one. Raises UsageError for sizes nothing can use.

    `tensor_parallel_size` GPUs hold one copy of the model, and there are `data_parallel_size` copies.
    """
    check_sizes(tensor_parallel_size, data_parallel_size)
    if data_parallel_size == 1:
        return ""
    if not server:
        raise UsageError(
            say("DATA_PARALLEL_SIZE is {count}, and SERVER is off.", count=data_parallel_size),
            expected=say("the server: vLLM inside one process holds one copy of a model."),
            remedy=say("Set SERVER to True, or DATA_PARALLEL_SIZE to 1."),
        )
    return say(
        "{count} copies of the model stand behind the server. Every speed below is that of one copy.",
        count=data_parallel_size,
    )


def is_tiny(config: dict[str, Any]) -> bool:
    """Whether a model is one whose steps wait for Python rather than for memory; False where its layers are unknown."""
    try:
        return sum(spec.elements for spec in expected_tensors(fields.unquantized(config))) < TINY_BELOW
    except WorkbookError:
        return False


def threads_for(config: dict[str, Any], threads: int = 0) -> int:
    """`threads`, or for 0 one for a tiny model and every core for others."""
    return threads or (1 if is_tiny(config) else core_count())


@dataclass(frozen=True)
class Sizes:
    """What the engines of one chapter are opened with; `max_model_len` holds prompt and answer."""

    threads: int
    answer_tokens: int
    max_model_len: int


def sizes_for(model: str, *, threads: int = 0, answer_tokens: int = 0, max_model_len: int = 0) -> Sizes:
    """Sizes for `model`; 0, as in a chapter's parameters, asks for what suits it.

    An answer never takes more than the room its prompt leaves. Raises UsageError for numbers below 0, and for a context longer than the model's.
    """
    asked = {"threads": threads, "answer_tokens": answer_tokens, "max_model_len": max_model_len}
    for name, value in asked.items():
        whole(name, value, least=0)
    config = catalog.read_config(catalog.weights_folder(model) / "config.json")
    held = context_limit(config, max_model_len)
    wanted = answer_tokens or (TINY_ANSWER if is_tiny(config) else GPU_ANSWER if has_gpu() else CPU_ANSWER)
    room = max_model_len or min(max(2048, wanted + PROMPT_ROOM), held)
    return Sizes(threads_for(config, threads), min(wanted, max(room - PROMPT_ROOM, room // 2)), room)
