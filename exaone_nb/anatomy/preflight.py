"""What would fit where a plan does not: each offer was planned itself, with the same arithmetic, and fits.

    plan = plan_memory(config, "BF16", "L4", context=32768)
    plan.fits or [offer.text for offer in offers(plan)]

Asked are a shorter context, fewer requests at once, an FP8 cache, smaller batches, an engine that follows the windows, a
scheme with fewer bits, and other numbers of the same card.
"""

from dataclasses import dataclass
from typing import Any

from exaone_nb.anatomy.memory import MemoryPlan, plan_memory
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say

SMALL_BATCH = 2048
MOST_CARDS = 16
# What is served most, and its bits per weight.
SCHEMES = {"BF16": 16, "W8A8": 8, "FP8_DYNAMIC": 8, "W4A16": 4}


@dataclass(frozen=True)
class Offer:
    """One change with which the plan fits. `what` is the argument of `plan_memory`, `value` what to set it to."""

    what: str
    value: int | str
    text: str


def offers(plan: MemoryPlan) -> list[Offer]:
    """The changes that help, one argument each; empty when the plan fits as it is, and when none of them helps."""
    if plan.fits:
        return []
    found = []
    if plan.support.answer != "no":
        if plan.longest:
            text = say("{n:,} tokens of context", n=plan.longest)
            found.append(Offer("context", plan.longest, text))
        if plan.largest_concurrency:
            text = say("{n} of these requests at once, the others waiting", n=plan.largest_concurrency)
            found.append(Offer("concurrency", plan.largest_concurrency, text))
        if plan.kv.dtype_bytes > 1 and _fits(plan, kv_dtype_bytes=1):
            found.append(Offer("kv_dtype_bytes", 1, say("an FP8 cache (--kv-cache-dtype fp8)")))
        if (
            plan.engine == "vllm"
            and plan.batched_tokens > SMALL_BATCH
            and _fits(plan, batched_tokens=SMALL_BATCH)
        ):
            text = say("batches of {n:,} tokens (--max-num-batched-tokens)", n=SMALL_BATCH)
            found.append(Offer("batched_tokens", SMALL_BATCH, text))
        if plan.kv.windows_ignored and _fits(plan, engine="vllm"):
            found.append(Offer("engine", "vllm", say("vLLM, which drops what is outside the window")))
    return [*found, *_scheme(plan), *_cards(plan)]


def words(plan: MemoryPlan) -> str:
    """The offers in one line."""
    found = offers(plan)
    if found:
        return say("What would fit: {offers}.", offers="; ".join(offer.text for offer in found))
    return say(
        "Neither a shorter context, nor fewer bits down to W4A16, nor up to {n} of these cards would do.",
        n=MOST_CARDS,
    )


def _plan(plan: MemoryPlan, **change: Any) -> MemoryPlan | None:
    """The plan with something changed; None where that is not possible, as with heads that do not divide."""
    try:
        return plan_memory(**plan.asked | change)
    except WorkbookError:
        return None


def _fits(plan: MemoryPlan, **change: Any) -> bool:
    changed = _plan(plan, **change)
    return changed is not None and changed.fits


def _scheme(plan: MemoryPlan) -> list[Offer]:
    """The first scheme with fewer bytes, or with a kernel where the plan's own has none, that fits."""
    config = {key: value for key, value in plan.asked["config"].items() if key != "quantization_config"}
    parameters = plan.asked["prediction"].parameters
    for scheme, bits in SCHEMES.items():
        if parameters * bits / 8 / plan.tensor_parallel > plan.budget:
            continue  # told without listing 90,000 tensors
        try:
            prediction = predict_checkpoint(config, scheme)
        except WorkbookError:
            continue
        other = _plan(plan, config=config, scheme=scheme, prediction=prediction, in_file=None)
        smaller = other is not None and (other.weights < plan.weights or plan.support.answer == "no")
        if smaller and other.fits and other.support.runs:
            return [Offer("scheme", scheme, say("the scheme {scheme}", scheme=scheme))]
    return []


def _cards(plan: MemoryPlan) -> list[Offer]:
    """The smallest other number of this card that fits."""
    size = plan.asked["prediction"].data_bytes
    for number in range(1, MOST_CARDS + 1):
        if number == plan.tensor_parallel or size / number > plan.budget:
            continue
        if _fits(plan, tensor_parallel=number):
            text = say("{n} x {gpu} (--tensor-parallel {n})", n=number, gpu=plan.gpu.name)
            return [Offer("tensor_parallel", number, text)]
    return []
