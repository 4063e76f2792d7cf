"""Why an engine did not start, in three lines instead of two hundred.

vLLM's reason stands somewhere in its traceback or log. The common ones are recognized here, with what to lower and
by how much; of the others the last error line is shown.
"""

from __future__ import annotations

import re

from exaone_nb.errors import WorkbookError

GIB = r"([\d.]+) ?GiB"

_FREE = re.compile(
    rf"Free memory on device[^()]*\(([\d.]+)/{GIB}\).*?utilization (?:is )?\(([\d.]+), {GIB}\)", re.S
)
_CACHE_SHORT = re.compile(
    rf"max seq len\s+\((\d+)\), \({GIB} KV cache is needed.*?available KV cache memory \({GIB}\)"
    rf"(?:.*?estimated maximum model length is (\d+))?",
    re.S,
)
_CPU_SPACE = re.compile(
    r"Available memory on node \d+ \(([\d.]+)/([\d.]+) GiB\).*?less than \w+[^(]*\(([^)]*)\)", re.S
)
_NO_KERNEL = re.compile(r"Failed to find a kernel[^\n]*\n?(?:Reasons?: ?)?([^\n]*)")
# A setting that does not fit is reported by pydantic over several lines; the reason is in this one.
_VALUE = re.compile(r"\bValue error, (.+?)(?: \[type=.*)?$")
_ERROR_LINE = re.compile(r"^(?:.*\b)?((?:\w+\.)*\w*(?:Error|Exception)): (.+)$")


def explain(text: str, model: str = "the model") -> WorkbookError:
    """A WorkbookError made of an exception's text or a server's log."""
    if match := _FREE.search(text):
        free, total, share, wanted = (float(value) for value in match.groups())
        fits = max(int(free / total * 100) - 2, 1) / 100
        return WorkbookError(
            f"The GPU has {free:g} of {total:g} GiB free; utilization {share:g} asks for {wanted:g} GiB.",
            expected=f"gpu_memory_utilization of at most {fits:.2f} while the other programs hold their memory.",
            remedy=f"Set gpu_memory_utilization={fits:.2f}, or close the engine or notebook that holds the GPU.",
        )
    if match := _CACHE_SHORT.search(text):
        length, needed, available, estimate = match.groups()
        lower = f"max_model_len={estimate}" if estimate and int(estimate) > 0 else "a smaller max_model_len"
        return WorkbookError(
            f"One request of {int(length):,} tokens needs {needed} GiB of KV cache; {available} GiB are there.",
            expected="room for at least one request of max_model_len tokens.",
            remedy=f"Set {lower}, or raise the cache: gpu_memory_utilization on a GPU, kv_cache_gib on a CPU.",
        )
    if match := _CPU_SPACE.search(text):
        free, total, wanted = match.groups()
        return WorkbookError(
            f"The machine has {free} of {total} GiB free; vLLM asks for {wanted.split(', ')[-1]}.",
            expected=f"a KV cache of at most {max(int(float(free)) - 1, 1)} GiB.",
            remedy=f"Set kv_cache_gib={max(int(float(free)) // 2, 1)}, or close other programs.",
        )
    if "CUDA out of memory" in text or "OutOfMemoryError" in text:
        wanted = re.search(r"Tried to allocate ([\d.]+ [GM]iB)", text)
        return WorkbookError(
            f"The GPU ran out of memory while {model} was loaded"
            + (f" (the last request was {wanted[1]})." if wanted else "."),
            remedy="Lower max_num_seqs (halve it) or max_num_batched_tokens first, then max_model_len; see "
            "`exaone-nb memory` for what fits. A quantized checkpoint needs less.",
        )
    if "No available memory for the cache blocks" in text:
        return WorkbookError(
            "The weights and the activations leave nothing for the KV cache.",
            remedy="Raise gpu_memory_utilization by 0.05, lower max_num_batched_tokens by half, or take a smaller scheme.",
        )
    if match := _NO_KERNEL.search(text):
        return WorkbookError(
            f"vLLM has no kernel on this device for the way {model} is quantized: {_short(match[0])}",
            remedy="See the kernel table of the chapter on inference, or `exaone-nb speed` for other cards; choose another scheme.",
        )
    if "address already in use" in text.lower():
        return WorkbookError(
            "The port is taken by another program.", remedy="Leave port at 0: a free one is then chosen."
        )
    if "are not supported for now" in text:
        line = next(line for line in text.splitlines() if "are not supported for now" in line)
        return WorkbookError(
            f"vLLM cannot load {model}: {_short(line)}", remedy="Use engine='transformers' for this model."
        )
    kind, message = last_error(text)
    return WorkbookError(
        f"vLLM could not load {model}: {kind + ': ' if kind else ''}{message or 'it gave no reason'}",
        remedy="Look at config.json and quantization_config of the checkpoint; verbose=True shows vLLM's whole log.",
    )


def last_error(text: str) -> tuple[str, str]:
    """(kind, message) of the last line that looks like `SomethingError: reason`, or ("", last line).

    Pydantic's "Value error, reason" wins: what follows it is a link to its manual.
    """
    found = ("", "")
    for line in text.splitlines():
        if match := _VALUE.search(line.strip()):
            return "a setting does not fit", _short(match[1])
        if match := _ERROR_LINE.match(line.strip()):
            kind, message = match.groups()
            # The engine's own wrapper says only "see root cause above".
            if "root cause" not in message and "initialization failed" not in message:
                found = (kind.rpartition(".")[2], _short(message))
    if found[1]:
        return found
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "", _short(lines[-1]) if lines else ""


def _short(text: str, limit: int = 300) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def messages_of(error: BaseException) -> str:
    """The messages of an exception and of those behind it, the root last."""
    lines, seen = [], set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines.append(f"{type(current).__name__}: {current}")
        current = current.__cause__ or current.__context__
    return "\n".join(lines)
