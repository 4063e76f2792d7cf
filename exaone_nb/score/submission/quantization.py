"""The quantization_config, held against what the judging server can run: an L4 with vLLM 0.14.1.

Kernel facts of today's vLLM come from `quantization.kernels`; what the server's older version refused is known from
participants' reports (2026-02) and is marked as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exaone_nb.anatomy.layouts import expected_tensors
from exaone_nb.anatomy.logical import is_known
from exaone_nb.errors import WorkbookError
from exaone_nb.quantization.config import read_quantization
from exaone_nb.quantization.matching import matches
from exaone_nb.quantization.schemes import Scheme
from exaone_nb.score.submission.files import read_object
from exaone_nb.score.submission.findings import Finding, fail, ok, warn

REPORTED = "reported by participants, 2026-02"


def check_quantization(folder: Path) -> list[Finding]:
    """Findings about quantization_config; one `ok` line when the model is not quantized."""
    config = read_object(folder / "config.json")
    if isinstance(config, Finding):
        return []  # reported with the model
    document = config.get("quantization_config")
    if not document:
        return [
            warn(
                "quantization",
                "Nothing is quantized: this submission scores about 0.5, the base.",
                "Quantize it: chapter 05.",
            )
        ]
    if document.get("quant_method") != "compressed-tensors":
        return [
            warn(
                "quantization",
                f"quant_method is {document.get('quant_method')!r}; only compressed-tensors is checked here.",
                "Boot it in vLLM before submitting (--boot).",
            )
        ]
    try:
        quantization = read_quantization(config)
    except WorkbookError as error:
        return [fail("quantization", error.got, error.expected or "Save the model again.")]
    found = [*_sparsity(document), *_cache(document)]
    for scheme, targets in quantization.groups:
        found += _scheme(scheme, targets)
    found += _order(document)
    if is_known(config):
        try:
            found += _matching(config, quantization)
        except WorkbookError as error:  # a config that does not add up is reported with the model
            found.append(warn("quantization", f"Targets were not held against the modules: {error.got}"))
    if not any(finding.level == "fail" for finding in found):
        found.append(ok("quantization", " ".join(quantization.sentences())))
    return found


def _scheme(scheme: Scheme, targets: tuple[str, ...]) -> Iterator[Finding]:
    weights, activations = scheme.weights, scheme.activations
    where = ", ".join(targets)
    if weights is None:
        return
    name = f"{where}: {scheme.sentence()}"
    if weights.type == "float" and weights.num_bits == 4:
        yield fail(
            "kernels",
            f"{name}. FP4 needs Blackwell; on an L4 vLLM runs it weight-only at best, and 0.14.1 was not seen to.",
            "Use W8A8, FP8 or W4A16.",
        )
    elif weights.num_bits == 4 and activations is not None:
        kind = "FP8" if activations.type == "float" else "INT8"
        yield fail(
            "kernels",
            f"{name}. 4-bit weights with {kind} activations need compute capability 9.0; the L4 has 8.9 ({REPORTED}).",
            "Use W4A16, or W8A8.",
        )
    elif weights.num_bits not in (4, 8):
        yield fail(
            "kernels",
            f"{name}. vLLM has no kernel for {weights.num_bits}-bit weights on an L4.",
            "Use 4 or 8 bits.",
        )
    elif activations is not None and activations.num_bits != weights.num_bits:
        yield fail("kernels", f"{name}. vLLM has no kernel for this pair of widths.", "Use W8A8 or FP8.")


def _sparsity(document: dict[str, Any]) -> Iterator[Finding]:
    sparsity = document.get("sparsity_config") or {}
    structure = str(sparsity.get("sparsity_structure") or "")
    if structure == "2:4" or "24" in str(sparsity.get("format") or ""):
        yield fail(
            "kernels",
            f"2:4 sparsity needs compute capability 9.0; the L4 has 8.9 ({REPORTED}).",
            "Save the model without a sparsity format.",
        )


def _cache(document: dict[str, Any]) -> Iterator[Finding]:
    if document.get("kv_cache_scheme"):
        yield warn(
            "no effect",
            f"kv_cache_scheme: vLLM 0.14.1 ignores it for compressed-tensors ({REPORTED}); the cache stays 16-bit.",
            "Leave it out; the server's arguments cannot be changed.",
        )


def _order(document: dict[str, Any]) -> Iterator[Finding]:
    for name, group in (document.get("config_groups") or {}).items():
        weights = group.get("weights") or {}
        order = weights.get("actorder")
        if order and weights.get("strategy") != "group":
            yield warn(
                "no effect",
                f"{name}: actorder {order!r} changes group-wise weights only; these are per {weights.get('strategy')}.",
                "Leave it out, and do not explain a score by it.",
            )
        elif order == "group":
            yield warn(
                "kernels",
                f"{name}: actorder 'group' makes Marlin reorder activations while it runs.",
                "actorder 'static' costs nothing at run time.",
            )


def _matching(config: dict[str, Any], quantization: Any) -> Iterator[Finding]:
    modules = {
        spec.module: spec.kind
        for spec in expected_tensors(config)
        if spec.kind in ("linear", "head", "embedding")
    }
    # A tied head owns no tensor of its own, but it is a Linear that targets can name.
    modules.setdefault("lm_head", "head")
    head = quantization.scheme_for("lm_head", "head")
    if head is not None:
        yield fail(
            "lm_head",
            f"lm_head is quantized; vLLM 0.14.1 stops with `no module or parameter named 'lm_head.weight_scale'` ({REPORTED}).",
            'Quantize again with ignore: ["lm_head"].',
        )
    for name, kind in modules.items():
        if kind == "embedding" and quantization.scheme_for(name, kind) is not None:
            yield fail(
                "embedding", f"{name} is quantized; vLLM 0.14.1 cannot load that.", 'Target "Linear" only.'
            )
    for pattern in quantization.ignore:
        # The libraries write the names of ignored modules; a class or pattern that fits nothing was a mistake.
        if not any(matches(module, kind, [pattern]) for module, kind in modules.items()):
            inside = any(module.startswith(pattern.removeprefix("re:") + ".") for module in modules)
            yield warn(
                "no effect",
                f"ignore {pattern!r} matches no module"
                + (", only the beginnings of some" if inside else "")
                + ".",
                f"To leave them out write 're:{pattern}\\\\..*'." if inside else "Remove it.",
            )
    untouched = [n for n, k in modules.items() if k == "linear" and quantization.scheme_for(n, k) is None]
    linear = sum(kind == "linear" for kind in modules.values())
    if untouched and len(untouched) == linear:
        yield fail(
            "quantization", "No module matches any target: nothing is quantized.", 'Use targets: ["Linear"].'
        )
    elif untouched:
        yield warn(
            "quantization",
            f"{len(untouched)} of {linear} Linear modules stay 16-bit: {', '.join(untouched[:3])}…",
        )
