"""`check`: what is wrong with a submission, zip or folder, before the server says so without a reason.

From the harmless to the expensive: names and sizes in the zip, then files, config and tensors, then loading the model
as the server does, then a boot in vLLM. A step that needs an earlier one is left out when that one failed.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.anatomy.attention import context_limit
from exaone_nb.conversation.answers import Sampling
from exaone_nb.engines import vllm_adapter
from exaone_nb.engines.apart import run_apart
from exaone_nb.engines.environment import has_gpu, has_vllm
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.errors import UsageError, WorkbookError
from exaone_nb.findings import Finding, fail, ok, warn, worst_first
from exaone_nb.judging import rules
from exaone_nb.lfs import LONGEST, REMEDY, pointer_words
from exaone_nb.messages import say
from exaone_nb.quantization.kernels import JUDGE
from exaone_nb.score.submission import archive
from exaone_nb.score.submission.files import check_files
from exaone_nb.score.submission.model import check_model, check_quantization
from exaone_nb.score.submission.tokenizer import QUESTION
from exaone_nb.show.table import Column, Table, columns

TIMEOUT_SECONDS = 60 * rules()["minutes_online"].value  # the server's own limit
MESSAGES = [{"role": "user", "content": QUESTION}]
# What the report calls a level. `fail`: the server will refuse it, or it breaks a rule.
WORDS = {"error": "fail", "warning": "warn", "no-op": "note"}


@dataclass
class Report:
    """The findings about one submission."""

    submission: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when nothing failed; warnings do not count."""
        return not any(finding.level == "error" for finding in self.findings)

    def table(self) -> Table:
        """One row per finding: failures first, then warnings, then what was fine; otherwise in the order of checking."""
        rows = [
            {"level": WORDS.get(f.level, f.level), "check": f.code, "message": f.text, "remedy": f.remedy}
            for f in worst_first(self.findings)
        ]
        told = [Column("level", ours=True), Column("check", ours=True)]
        return Table([*told, *columns(("message", "remedy"))], rows)

    def document(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        rows = self.table().records()
        return {"submission": self.submission, "passed": self.passed, "findings": rows}


def check(
    submission: str | Path, *, load: bool = True, boot: bool = False, trust_remote_code: bool = False
) -> Report:
    """Check a submit.zip or a model folder. Raises UsageError when there is neither."""
    path = Path(submission)
    report = Report(path.name)

    def look_at(folder: Path) -> None:
        report.findings += check_static(folder)
        if load and report.passed:
            report.findings += load_offline(folder, trust_remote_code=trust_remote_code)
        if boot and report.passed:
            report.findings += boot_in_vllm(folder, trust_remote_code=trust_remote_code)

    if path.is_dir():
        inner = path / archive.MODEL
        nested = (inner / "config.json").is_file() and not (path / "config.json").is_file()
        look_at(inner if nested else path)
    elif not path.is_file():
        raise UsageError(
            say("There is no {path}.", path=str(path)), expected=say("a submit.zip or a model folder.")
        )
    elif not zipfile.is_zipfile(path):
        with path.open("rb") as handle:
            words = pointer_words(path.name, handle.read(LONGEST))
        remedy = say("Make it with `exaone-nb pack FOLDER`; rar and 7z are refused.")
        text = words or say("{name} is not a zip.", name=path.name)
        report.findings.append(fail("zip", text, REMEDY if words else remedy))
    else:
        report.findings += archive.check_archive(path)
        try:
            if report.passed:
                with archive.unpacked(path) as folder:
                    look_at(folder)
        except WorkbookError as error:
            report.findings.append(fail("zip", error.got, error.remedy or archive.AGAIN))
    return report


def check_static(folder: Path) -> list[Finding]:
    """The checks that read files and headers only."""
    found = [*check_files(folder), *check_model(folder), *check_quantization(folder)]
    return list(dict.fromkeys(found))  # one file may be asked for twice


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
        fields = {"where": where, "kernel": outcome["kernel"], "answer": answer}
        yield ok("boot", say("{where} starts it ({kernel}) and answers {answer!r}", **fields))
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
