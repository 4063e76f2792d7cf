"""The model itself: config against weights, tied tables, dtypes, and what the judging server cannot read or run.

The server has transformers 4.57.3, which reads some settings under other names (`older_names`). The
quantization_config is held against an L4 with vLLM 0.14.1; all facts are `exaone_nb.quantization`'s, the same that a
plan is judged by before the checkpoint is made.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb import older_names
from exaone_nb.anatomy.layouts import is_known
from exaone_nb.anatomy.logical import expectations
from exaone_nb.anatomy.modules import modules_of
from exaone_nb.anatomy.names import wrong_prefix
from exaone_nb.anatomy.reader import Checkpoint, read_headers
from exaone_nb.errors import WorkbookError
from exaone_nb.findings import Finding, fail, ok, some, warn
from exaone_nb.gpus import find_gpu
from exaone_nb.judging import rules
from exaone_nb.messages import say, translated
from exaone_nb.quantization import effects, kernels
from exaone_nb.quantization.config import Quantization, read_quantization
from exaone_nb.quantization.kernels import JUDGE
from exaone_nb.quantization.loading import obstacles, serve
from exaone_nb.quantization.matching import Assignment
from exaone_nb.quantization.patterns import pattern_findings
from exaone_nb.score.submission.texts import read_object
from exaone_nb.score.submission.tokenizer import check_tokenizer

CARD = "L4"
# The base that a submission must be derived from: shapes that compression does not change.
ARCHITECTURE = "Exaone4ForCausalLM"
# What codes are stored as; a loader copies other numbers into their place and rounds them away.
_CODES = ("I8", "U8", "I32", "F8_E4M3")
BASE_SHAPE = {"model_type": "exaone4", "hidden_size": 2048, "vocab_size": 102400, "num_hidden_layers": 30}


def check_model(folder: Path) -> list[Finding]:
    """Findings about config.json, the tokenizer's and generation's settings, and the tensors in the files."""
    config = read_object(folder / "config.json")
    if isinstance(config, Finding):
        return [config]
    found = [*_config(config), *_old_names(folder, config), *_generation(folder, config)]
    found += check_tokenizer(folder, config)
    again = say("Save the model again.")
    try:
        checkpoint = read_headers(folder)
    except WorkbookError as error:
        return [*found, fail("weights", error.got, error.remedy or again)]
    found += checkpoint.findings
    found += [*_tensors(config, checkpoint), *_tied(config, checkpoint), *_dtypes(config, checkpoint)]
    if not any(finding.level == "error" for finding in found):
        facts = {"n": len(checkpoint.entries), "bytes": checkpoint.file_bytes}
        found.append(ok("weights", say("{n} tensors, {bytes:,} bytes, as the config says", **facts)))
    return found


def _config(config: dict[str, Any]) -> Iterator[Finding]:
    layers, types = config.get("num_hidden_layers"), config.get("layer_types")
    if isinstance(types, list) and types and len(types) != layers:
        counts = {"n": len(types), "layers": layers}
        text = say(
            "layer_types has {n} entries for {layers} layers: transformers and vLLM refuse it.", **counts
        )
        remedy = say("Shorten layer_types together with num_hidden_layers when layers are removed.")
        yield fail("layer_types", text, remedy)
    if config.get("auto_map"):
        text = say("auto_map makes the loader look for code.")
        yield warn("code", text, say("Remove it: exaone4 is part of transformers."))
    if config.get("model_type") != BASE_SHAPE["model_type"]:
        text = say("model_type is {kind!r}.", kind=config.get("model_type"))
        yield fail("base model", text, say("A submission derives from EXAONE-4.0-1.2B: exaone4."))
        return
    if config.get("architectures") != [ARCHITECTURE]:
        text = say(
            "architectures is {names}: vLLM looks the model's class up there.",
            names=config.get("architectures"),
        )
        yield fail("base model", text, say("Write [{name}], as in the base model.", name=repr(ARCHITECTURE)))
    changed = [
        say("{name} {value}, not {wanted}", name=name, value=config.get(name), wanted=wanted)
        for name, wanted in BASE_SHAPE.items()
        if config.get(name) != wanted
    ]
    if changed:
        text = say("Not the shape of EXAONE-4.0-1.2B: {changed}.", changed=", ".join(changed))
        remedy = say("Fine for practice. Removed layers or tokens scored .26 to .48 (public, 2026-02).")
        yield warn("base model", text, remedy)
    limit = config.get("max_position_embeddings")
    longest = int(rules()["max_gen_toks"].value)
    if isinstance(limit, int) and limit < longest:
        fields = {"limit": limit, "longest": longest}
        text = say(
            "max_position_embeddings is {limit:,}, and answers get up to {longest:,} tokens.", **fields
        )
        remedy = say("Leave it at 65,536: a smaller one makes nothing faster, memory sizes vLLM's cache.")
        yield warn("context", text, remedy)


def _old_names(folder: Path, config: dict[str, Any]) -> Iterator[Finding]:
    for text in older_names.disagreements(config):
        yield fail("two names", text, say("Write the base model's value under both names."))
    for change in older_names.changes(folder):
        remedy = say("`exaone-nb pack` mends it ({done}).", done=change.done)
        yield Finding(change.level, "old libraries", change.problem, remedy)


def _generation(folder: Path, config: dict[str, Any]) -> Iterator[Finding]:
    path = folder / "generation_config.json"
    if not path.is_file():
        return
    generation = read_object(path)
    if isinstance(generation, Finding):
        yield generation
        return
    own = config.get("eos_token_id")
    ends = generation.get("eos_token_id", own)
    if ends is not None and "eos_token_id" not in generation:
        text = say("generation_config.json has no eos_token_id; config.json says {own}.", own=own)
        yield warn("generation config", text, say("Copy generation_config.json from the base model."))
    if ends is None:
        text = say("No eos_token_id: answers never end before 16,384 tokens.")
        remedy = say("Copy generation_config.json from the base model (its eos_token_id is 361).")
        yield fail("generation config", text, remedy)
    elif own is not None and own not in (ends if isinstance(ends, list) else [ends]):
        text = say("eos_token_id is {ends} here and {own} in config.json.", ends=ends, own=own)
        remedy = say("vLLM stops at the one of generation_config.json as well; make them agree.")
        yield warn("generation config", text, remedy)
    names = ("max_length", "max_new_tokens", "min_new_tokens", "repetition_penalty")
    if odd := [name for name in names if name in generation]:
        text = say("It sets {names}: the effect under the server's own is not known.", names=", ".join(odd))
        remedy = say("Keep the base model's: one submission with an edited file scored .45 (2026-02).")
        yield warn("generation config", text, remedy)


def _tensors(config: dict[str, Any], checkpoint: Checkpoint) -> Iterator[Finding]:
    if not is_known(config):
        return
    try:
        expected = expectations(config)
    except (WorkbookError, KeyError, TypeError) as error:
        text = say("The config cannot be held against the files: {why}", why=str(error)[:200])
        yield warn("weights", text)
        return
    have = {entry.name: entry for entry in checkpoint.entries}
    missing = [name for name in expected if name not in have]
    if prefix := wrong_prefix(missing, have):
        yield fail("weights", prefix.text, prefix.remedy)
        # What else is wrong with them is said of the names they should have.
        have = {name: have[stored] for name, stored in prefix.renamed.items()}
        missing = [name for name in expected if name not in have]
    extra = [name for name in have if name not in expected and name != "lm_head.weight"]
    shapes = {name: (have[name].shape, item.tensor.shape) for name, item in expected.items() if name in have}
    other = [
        say("{name} is {has}, not {wanted}", name=name, has=tuple(has), wanted=tuple(wanted))
        for name, (has, wanted) in shapes.items()
        if tuple(has) != tuple(wanted)
    ]
    formats = [
        say("{name} is {has}, not {wanted}", name=name, has=have[name].dtype, wanted=item.tensor.dtype)
        for name, item in expected.items()
        if name in have and item.tensor.dtype in _CODES and have[name].dtype != item.tensor.dtype
    ]
    remedy = say("Check quantization_config and the number of layers; save the model again.")
    for kind, names, what in (
        (fail, missing, say("that the config calls for are missing")),
        (fail, other, say("have another shape")),
        (fail, formats, say("have another number format")),
        (warn, extra, say("are not called for by the config")),
    ):
        if names:
            text = say("{n} tensors {what}: {names}.", n=len(names), what=what, names=some(names, 3))
            yield kind("weights", text, remedy)


def _tied(config: dict[str, Any], checkpoint: Checkpoint) -> Iterator[Finding]:
    have = {entry.name: entry for entry in checkpoint.entries}
    head, tied = have.get("lm_head.weight"), config.get("tie_word_embeddings")
    if tied and head is not None:
        size = math.prod(head.shape) * 2
        text = say("lm_head.weight is stored although it is tied: about {size:,} bytes twice.", size=size)
        remedy = say("Use llm-compressor 0.13 or newer, or delete the tensor. It costs bytes, not speed.")
        yield warn("tied head", text, remedy)
    elif not tied and config.get("model_type") == "exaone4" and head is not None:
        text = say("tie_word_embeddings is false: the head is a second table of its own.")
        remedy = say("EXAONE-4.0-1.2B is tied. If nothing changed one of the two, tie them again.")
        yield warn("tied head", text, remedy)
    elif head is None and not tied and not any(name.startswith("lm_head.") for name in have):
        text = say("tie_word_embeddings is false and there is no lm_head: the output layer would be random.")
        yield fail("tied head", text, say("Set tie_word_embeddings to true, as in the base model."))


def _dtypes(config: dict[str, Any], checkpoint: Checkpoint) -> Iterator[Finding]:
    large = [entry for entry in checkpoint.entries if math.prod(entry.shape) > 4096]
    if wide := [entry.name for entry in large if entry.dtype in ("F32", "F64")]:
        text = say("{n} large tensors have 32 bits or more: {names}.", n=len(wide), names=some(wide, 3))
        yield warn("dtype", text, say("Save in bfloat16."))
    given = str(config.get("torch_dtype") or config.get("dtype") or say("not given")).removeprefix("torch.")
    if given not in ("bfloat16", "float16"):
        text = say("The config's dtype is {dtype}.", dtype=given)
        yield warn("dtype", text, say("bfloat16, as in the base model."))


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
    if quantization.method == "unnamed":
        text = say("quantization_config has no quant_method: transformers and vLLM stop at it.")
        return [fail("quantization", text, say('Write "quant_method": "compressed-tensors" into it.'))]
    if quantization.method != "compressed-tensors":
        text = say("quant_method is {q.method!r}; only compressed-tensors is checked.", q=quantization)
        return [warn("quantization", text, say("Boot it in vLLM before submitting (--boot)."))]
    refused = [
        say("compressed-tensors refuses the field {name}.", name=name) for name in quantization.unknown
    ]
    found = [fail("quantization", text, say("Remove it.")) for text in refused]
    found += [*_sparsity(quantization), *_stored_as(quantization), *effects.order_findings(quantization)]
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
            one = kernels.support(scheme, card, JUDGE)
            if scheme.weights and not one.runs:
                text = say("{label}: {why}", label=", ".join(targets), why=one.reason)
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
        text = say(
            "{n} of {all} Linear modules stay 16-bit: {names}.",
            n=len(kept),
            all=len(linear),
            names=some(kept, 3),
        )
        yield Finding("note", "quantization", text)


def _stored_as(quantization: Quantization) -> Iterator[Finding]:
    """The names under which the file says how its codes are stored, as vLLM 0.14.1 and transformers 4.57.3 read them."""
    for (scheme, targets), given in zip(quantization.groups, quantization.formats, strict=True):
        # compressed_tensors.py, _get_scheme_from_parts: weights alone are looked for as pack-quantized only, and codes
        # with activations under every other name (int-, float- and naive-quantized).
        packed = scheme.format == "pack-quantized"
        if scheme.weights and given and packed != (given == "pack-quantized"):
            text = say(
                "{targets}: the format is {given}, and {form} is what such a scheme is stored as: vLLM {engine} finds no "
                "scheme for it.",
                targets=", ".join(targets), given=given, form=scheme.format, engine=JUDGE,
            )  # fmt: skip
            yield fail(
                "quantization", text, say("Write the format that the tensors have; or save the model again.")
            )
    if quantization.status != "compressed":
        text = say(
            "quantization_status is {status}: {older} takes the codes for plain weights, vLLM does not ask.",
            status=quantization.status or say("not given"), older=older_names.OLDER,
        )  # fmt: skip
        yield warn("quantization", text, say('Write "quantization_status": "compressed".'))


def _sparsity(quantization: Quantization) -> Iterator[Finding]:
    rule, has = kernels.rules(JUDGE)["sparse24"], find_gpu(CARD).compute_capability
    if quantization.sparse24 and has < rule["from"]:
        text = say("{why}; the {card} has {has}.", why=translated(rule["why"]), card=CARD, has=has)
        yield fail("kernels", text, say("Save the model without a sparsity format."))
