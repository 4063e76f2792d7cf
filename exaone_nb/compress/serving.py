"""Where a planned checkpoint can be served: this CPU and a GPU with the vLLM of today, and the hackathon's server.

Kernels and loading are `exaone_nb.quantization.loading`'s answer; here the room in memory is added, and which models
the hackathon's server was seen with.
"""

from dataclasses import replace

from exaone_nb import catalog
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.compress.plan import Plan
from exaone_nb.errors import WorkbookError
from exaone_nb.gpus import find_gpu
from exaone_nb.hardware import Machine, this_cpu
from exaone_nb.messages import say
from exaone_nb.quantization.effects import cache_bytes, cache_finding
from exaone_nb.quantization.kernels import JUDGE, TODAY
from exaone_nb.quantization.loading import ServingVerdict, serve

JUDGES_CARD = "L4"
# The models that were judged: what decides the shapes of their matrices.
JUDGED = ("EXAONE-4.0-1.2B", "nano")
SHAPE = (
    "model_type", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size",
)  # fmt: skip


def verdicts(plan: Plan, gpu: str = "L4", *, makeable: bool = True) -> list[ServingVerdict]:
    """This CPU, the chosen GPU, and the hackathon's server; all unknown when the checkpoint cannot be made."""
    cpu, card, judge = this_cpu(), find_gpu(gpu), find_gpu(JUDGES_CARD)
    server = say("hackathon server ({card}, vLLM {engine})", card=judge.name, engine=JUDGE)
    places = [
        (cpu, TODAY, say("this CPU (vLLM {engine})", engine=TODAY)),
        (card.machine, TODAY, say("{card} (vLLM {engine})", card=card.name, engine=TODAY)),
        (judge.machine, JUDGE, server),
    ]
    if not makeable:
        why = say("no verdict on a plan with errors")
        return [ServingVerdict(where, "unknown", why) for *_, where in places]
    here, there, judged = (serve(plan, *place) for place in places)
    return [
        _with_room(here, *_room_here(plan, cpu)),
        _with_room(there, *_room_on(plan, gpu)),
        _hackathon(plan, judged),
    ]


def _with_room(verdict: ServingVerdict, answer: str, size: str) -> ServingVerdict:
    """The verdict, held against the machine's memory: what has no room does not run, whatever the kernels."""
    if (verdict.answer != "no" and answer == "no") or (verdict.answer == "yes" and answer == "unknown"):
        return replace(verdict, answer=answer, why=size, recorded=False)
    return replace(verdict, why=f"{verdict.why}; {size}") if size and verdict.answer == "yes" else verdict


def _room_on(plan: Plan, gpu: str) -> tuple[str, str]:
    """("no", why) when not one token fits beside the weights; ("yes", the longest context) when not all of it does."""
    try:
        cache = cache_bytes(plan.recipe.kv_cache)
        memory = plan_memory(plan.config, "BF16", gpu, prediction=plan.prediction, kv_dtype_bytes=cache)
    except WorkbookError as error:
        return "unknown", say("its memory cannot be computed: {why}", why=error.got)
    if memory.left_for_cache <= 0 or memory.longest_for_one <= 0:
        return "no", say(
            "{weights:,.1f} GB of weights and {rest:,.1f} GB that vLLM needs itself do not fit into {budget:,.1f} GB",
            weights=memory.weights / 1e9,
            rest=memory.overhead / 1e9,
            budget=memory.budget / 1e9,
        )
    short = memory.longest_for_one < memory.context
    return "yes", say("contexts up to {n:,} tokens fit", n=memory.longest_for_one) if short else ""


def _room_here(plan: Plan, cpu: Machine) -> tuple[str, str]:
    weights, memory = plan.prediction.data_bytes / 1e9, cpu.memory_bytes / 1e9
    text = say(
        "{weights:,.1f} GB of weights do not fit into {memory:,.1f} GB of memory",
        weights=weights,
        memory=memory,
    )
    return ("no", text) if weights > memory else ("yes", "")


def _hackathon(plan: Plan, verdict: ServingVerdict) -> ServingVerdict:
    """The verdict on the judging server, as far as this model was seen there."""
    if verdict.answer != "yes":
        return verdict
    judged = [catalog.resolve(model).config() for model in JUDGED]
    if not any(all(plan.config.get(key) == config.get(key) for key in SHAPE) for config in judged):
        why = say("only EXAONE-4.0-1.2B was judged there")
        return replace(verdict, answer="unknown", why=why, recorded=True)
    if plan.recipe.kv_cache:
        cache = cache_finding(plan.recipe.kv_cache, JUDGE)
        answer = "no" if cache.level == "error" else "yes"
        return replace(verdict, answer=answer, why=f"{verdict.why}; {cache.text}")
    return verdict
