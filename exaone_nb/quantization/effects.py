"""Which setting has an effect, in which version of the library that reads it. The facts: data/setting_effects.yaml."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from exaone_nb.findings import Finding
from exaone_nb.messages import joined, say, translated
from exaone_nb.paths import DATA
from exaone_nb.quantization.config import Quantization
from exaone_nb.quantization.kernels import JUDGE, TODAY
from exaone_nb.quantization.schemes import QuantArgs
from exaone_nb.written import read_yaml

# The version that quantizes here; a test holds it against requirements/.
OUR_LLMCOMPRESSOR = "0.14.0.1"


@dataclass(frozen=True)
class Effect:
    """`answer` is yes, no, refused or unknown."""

    answer: str
    why: str = ""


@cache
def _facts() -> dict[str, Any]:
    return read_yaml(DATA / "setting_effects.yaml")


def actorder(value: str, strategy: str, *, llmcompressor: str = "", compressed_tensors: str = "") -> Effect:
    """What the order of columns ("static" or "group") does to weights with this strategy.

    Give the version of the library that makes the file, or the version of compressed-tensors that a finished file
    names. Unknown for a version that nobody read.
    """
    rows = _facts()["actorder"][value]
    rows = rows.get("any") or rows["group" if strategy == "group" else "other"]
    library = "llmcompressor" if llmcompressor else "compressed_tensors"
    version = llmcompressor or compressed_tensors
    for row in rows:
        if _within(version, row.get(library, "")):
            return Effect(row["effect"], translated(row.get("why", "")))
    return Effect("unknown", joined(translated(row["why"]) for row in rows))


def _within(version: str, wanted: str) -> bool:
    # Only here: `inspect` of most checkpoints compares no versions.
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return not wanted or SpecifierSet(wanted).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def order_findings(quantization: Quantization) -> list[Finding]:
    """What is to be said about the orders of columns that a finished checkpoint names."""
    found = []
    for scheme, _ in quantization.groups:
        weights = scheme.weights
        if weights is None or weights.actorder not in ("static", "group"):
            continue
        effect = actorder(weights.actorder, weights.strategy, compressed_tensors=quantization.version)
        if weights.actorder == "group":
            text = say("{name}: actorder group: {why}.", name=scheme.name, why=effect.why)
            remedy = say("actorder static costs nothing at run time.")
            found.append(Finding("warning", "actorder-group", text, remedy))
        elif effect.answer == "no":
            text = say("{name}: actorder static had no effect here: {why}.", name=scheme.name, why=effect.why)
            found.append(Finding("no-op", "setting-actorder", text, say("Do not explain a score by it.")))
        elif effect.answer == "unknown":
            text = say(
                "{name}: whether actorder static changed these weights depends on the version that made them: {why}.",
                name=scheme.name, why=effect.why,
            )  # fmt: skip
            found.append(Finding("note", "actorder-channel", text))
    return found


def cache_finding(kv_cache: dict[str, Any], engine: str = TODAY) -> Finding:
    """What an engine does with the scales of a kv_cache_scheme."""
    args = QuantArgs.read(kv_cache)
    # Of the number formats vLLM 0.14.1 refuses only what is neither float nor 8 bits wide; 0.32 all but 8-bit floats.
    wrong = (args.type != "float", args.num_bits != 8)
    strategies = ("tensor",) if engine == JUDGE else ("tensor", "attn_head")
    refused = all(wrong) if engine == JUDGE else any(wrong)
    if refused or args.strategy not in strategies or not args.symmetric:
        text = say("vLLM {engine} refuses this KV cache: {what}.", engine=engine, what=args.sentence())
        remedy = say("Use kv_cache: fp8, or leave it out.")
        return Finding("error", "kv-cache", text, remedy, f"vLLM {engine}")
    row = next(row for row in _facts()["kv_cache_scheme"]["vllm"] if row["version"] == engine)
    why = translated(row["why"])
    if row["effect"] == "yes":
        text = say("vLLM {engine} uses the KV-cache scales stored: {why}.", engine=engine, why=why)
        return Finding("note", "kv-cache", text, where=f"vLLM {engine}")
    text = say("vLLM {engine} does not use the KV-cache scales: {why}.", engine=engine, why=why)
    return Finding("no-op", "kv-cache-ignored", text, say("Leave it out for that server."), f"vLLM {engine}")


def cache_bytes(kv_cache: dict[str, Any] | None, engine: str = TODAY) -> int:
    """Bytes of one value in the KV cache under `--kv-cache-dtype auto`: 1 where the engine follows a kv_cache_scheme."""
    return 1 if kv_cache and cache_finding(kv_cache, engine).level == "note" else 2
