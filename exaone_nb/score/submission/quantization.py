"""The quantization_config of a finished checkpoint, held against what the judging server can run: an L4 with vLLM 0.14.1.

All facts are `exaone_nb.quantization`'s, the same that a plan is judged by before the checkpoint is made.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb.anatomy.layouts import is_known
from exaone_nb.anatomy.modules import modules_of
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding, fail, ok, some, warn
from exaone_nb.gpus import find_gpu
from exaone_nb.messages import say
from exaone_nb.quantization import effects
from exaone_nb.quantization.config import Quantization, read_quantization
from exaone_nb.quantization.kernels import JUDGE, rules, support
from exaone_nb.quantization.loading import obstacles, serve
from exaone_nb.quantization.matching import Assignment
from exaone_nb.quantization.patterns import pattern_findings
from exaone_nb.score.submission.files import read_object

CARD = "L4"


def check_quantization(folder: Path) -> list[Finding]:
    """Findings about quantization_config; one `ok` line when nothing is wrong with it."""
    config = read_object(folder / "config.json")
    if isinstance(config, Finding):
        return []  # reported with the model
    try:
        quantization = read_quantization(config)
    except WorkbookError as error:
        return [fail("quantization", error.got, error.expected or say("Save the model again."))]
    if quantization is None:
        text = say("Nothing is quantized: this submission scores about 0.5, the base.")
        return [warn("quantization", text, say("Quantize it: `exaone-nb quantize`."))]
    if quantization.method != "compressed-tensors":
        text = say("quant_method is {q.method!r}; only compressed-tensors is checked.", q=quantization)
        return [warn("quantization", text, say("Boot it in vLLM before submitting (--boot)."))]
    refused = [
        say("compressed-tensors refuses the field {name}.", name=name) for name in quantization.unknown
    ]
    found = [fail("quantization", text, say("Remove it.")) for text in refused]
    found += [*_sparsity(quantization), *effects.order_findings(quantization)]
    if quantization.kv_cache:
        found.append(effects.cache_finding(quantization.kv_cache, JUDGE))
    try:
        found += _served(config, quantization)
    except WorkbookError as error:  # a config that does not add up is reported with the model
        text = say("Targets were not held against the modules: {why}", why=error.got)
        found.append(warn("quantization", text))
    if not any(finding.level == "error" for finding in found):
        found.append(ok("quantization", " ".join(quantization.sentences())))
    return found


def _served(config: dict[str, Any], quantization: Quantization) -> Iterator[Finding]:
    """What the server would stop at, patterns without effect, and what stays as it was."""
    card = find_gpu(CARD).machine
    remedy = say("Use W8A8, FP8 or W4A16; the chapter on quantization shows what runs where.")
    if not is_known(config):
        for scheme, targets in quantization.groups:
            one = support(scheme, card, JUDGE)
            if scheme.weights and not one.runs:
                text = f"{', '.join(targets)}: {one.reason}"
                yield Finding("error" if one.answer == "no" else "warning", "kernels", text, remedy)
        return
    made = Assignment(
        modules_of(config), quantization.groups, quantization.ignore, config.get("model_type", "")
    )
    stops = [finding for finding in obstacles(made, JUDGE) if finding.level == "error"]
    yield from stops
    verdict = serve(made, card, JUDGE)
    if verdict.answer != "yes" and not stops:
        text = say("{why} ({card}, vLLM {engine}).", why=verdict.why, card=CARD, engine=JUDGE)
        yield Finding("error" if verdict.answer == "no" else "warning", "kernels", text, remedy)
    yield from pattern_findings(made)
    linear = [module.name for module in made.quantizable if module.kind == "linear"]
    kept = [name for name in linear if made.assigned[name] is None]
    if kept and len(kept) < len(linear):
        share = f"{len(kept)} of {len(linear)}"
        text = say("{share} Linear modules stay 16-bit: {names}.", share=share, names=some(kept, 3))
        yield Finding("note", "quantization", text)


def _sparsity(quantization: Quantization) -> Iterator[Finding]:
    rule, has = rules(JUDGE)["sparse24"], find_gpu(CARD).compute_capability
    if quantization.sparse24 and has < rule["from"]:
        text = say("{why}; the {card} has {has}.", why=rule["why"], card=CARD, has=has)
        yield fail("kernels", text, say("Save the model without a sparsity format."))
