"""Loading a submission as the server does, in a process of its own: offline, with a time limit, from its files alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines import vllm_adapter
from exaone_nb.engines.apart import run_apart
from exaone_nb.engines.environment import has_gpu, has_vllm
from exaone_nb.engines.options import context_limit
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding, fail, ok, warn
from exaone_nb.judging import rules
from exaone_nb.messages import say
from exaone_nb.quantization.kernels import JUDGE

TIMEOUT_SECONDS = 60 * rules()["minutes_online"].value  # the server's own limit
MESSAGES = [{"role": "user", "content": "1 + 1 = ?"}]
CLOSED_THOUGHT = "</think>\n\n"


def load_offline(folder: Path, *, trust_remote_code: bool = False) -> Iterator[Finding]:
    """AutoTokenizer and AutoModelForCausalLM from the files alone, a forward pass and 16 tokens."""
    request = {"folder": str(folder), "trust_remote_code": trust_remote_code}
    try:
        outcome = run_apart(f"{__name__}:in_transformers", request, timeout=TIMEOUT_SECONDS)
    except WorkbookError as error:
        text = say("AutoTokenizer or AutoModelForCausalLM stops: {reason}", reason=error.got)
        remedy = say("Load it with local_files_only=True; save tokenizer and model again from the base.")
        yield fail("load", text, remedy)
        return
    vocabulary, rows = outcome["vocabulary"], outcome["rows"]
    if not outcome["finite"]:
        remedy = say("A scale overflowed: quantize again, in bfloat16.")
        yield fail("load", say("The logits are not finite."), remedy)
    if vocabulary > rows:
        text = say("The tokenizer has {n:,} tokens, the model {rows:,} rows.", n=vocabulary, rows=rows)
        yield fail("tokenizer", text, say("Use the tokenizer that belongs to the model."))
    if not (prompt := outcome["prompt"]).endswith(CLOSED_THOUGHT):
        text = say(
            "The prompt ends with {end!r}, EXAONE 4.0's with a closed empty thought.", end=prompt[-24:]
        )
        remedy = say("Use the base model's template, unless you changed it on purpose.")
        yield warn("chat template", text, remedy)
    if outcome["finite"] and vocabulary <= rows:
        answer = outcome["text"][:60]
        yield ok("load", say("loads offline in transformers here and answers {answer!r}", answer=answer))


def boot_in_vllm(folder: Path, *, trust_remote_code: bool = False) -> Iterator[Finding]:
    """A boot in vLLM with the server's arguments, and one answer through the chat template."""
    if not has_vllm():
        remedy = say("Run this where vLLM is.")
        yield warn("boot", say("vLLM is not installed here, so the boot was not tried."), remedy)
        return
    options = {"gpu_memory_utilization": rules()["gpu_memory_utilization"].value, "tensor_parallel_size": 1}
    request = {"folder": str(folder), "options": options | {"trust_remote_code": trust_remote_code}}
    try:
        outcome = run_apart(f"{__name__}:in_vllm", request, timeout=TIMEOUT_SECONDS)
    except WorkbookError as error:
        remedy = say(
            "`exaone-nb bench FOLDER` explains a failed start. Too little memory or a missing kernel is a matter of "
            "this machine, not of the submission."
        )
        yield fail("boot", say("vLLM does not start with it: {reason}", reason=error.got), remedy)
        return
    where = say("vLLM {o[version]} on this {o[device]}", o=outcome)
    if answer := outcome["text"].strip()[:60]:
        text = say(
            "{where} starts it ({o[kernel]}) and answers {answer!r}", where=where, o=outcome, answer=answer
        )
        yield ok("boot", text)
    else:
        remedy = say("An empty answer is no proof of life: look at the chat template and the weights.")
        yield warn("boot", say("{where} starts it, but its answer is empty.", where=where), remedy)
    if outcome["version"].split("+")[0] != JUDGE:
        text = say("The judging server has vLLM {judge} on an L4, not {where}.", judge=JUDGE, where=where)
        yield warn("boot", text, say("requirements/hackathon-l4.txt is its package set."))


def in_transformers(request: dict[str, Any]) -> dict[str, Any]:
    """The child's side of `load_offline`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = request["folder"]
    options = {"trust_remote_code": request["trust_remote_code"], "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    prompt = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **options)
    inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits  # [batch, tokens, vocabulary]
        made = model.generate(**inputs, max_new_tokens=16, do_sample=False)
    return {
        "prompt": prompt,
        "finite": bool(torch.isfinite(logits).all()),
        "vocabulary": len(tokenizer),
        "rows": int(logits.shape[-1]),
        "text": tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=False),
    }


def in_vllm(request: dict[str, Any]) -> dict[str, Any]:
    """The child's side of `boot_in_vllm`: the model's whole context on a GPU, as the server has it."""
    gpu = has_gpu()
    config = catalog.read_config(Path(request["folder"], "config.json"))
    length = context_limit(config) if gpu else 2048
    with VllmEngine(request["folder"], max_model_len=length, **request["options"]) as engine:
        answer = engine.chat(MESSAGES, sampling=Sampling(max_tokens=32))
        return {
            "text": answer.raw,
            "version": vllm_adapter.version(),
            "device": "GPU" if gpu else "CPU",
            "kernel": engine.kernel,
        }
