"""The one-page model note: what one wants to know before using a model, in Markdown, all of it from data/.

Sizes and counts are computed from the config; what others published is marked with its source and date.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from exaone_nb import catalog, fields, published
from exaone_nb.anatomy.as_stored import predict_as_stored
from exaone_nb.anatomy.attention import layer_kinds
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.layouts import count_parameters, is_tied, text_config
from exaone_nb.anatomy.predict import predict_checkpoint
from exaone_nb.errors import WorkbookError

SCHEMES = ("BF16", "W8A8", "W4A16")
ENGINES = {
    "transformers": "transformers",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "tensorrt_llm": "TensorRT-LLM",
    "llama_cpp": "llama.cpp",
    "ollama": "Ollama",
}
# Where the norms sit, by model_type: the one thing about an architecture that no number in a config says.
NORMS = {
    "exaone4": "RMSNorm on the outputs of attention and MLP (QK-Reorder-LN), and on every query and key head",
    "exaone_moe": "RMSNorm on the outputs of attention and MLP (QK-Reorder-LN), and on every query and key head",
    "qwen3": "RMSNorm before attention and MLP, and on every query and key head",
    "qwen3_moe": "RMSNorm before attention and MLP, and on every query and key head",
    "gemma3_text": "RMSNorm before and after attention and MLP, and on every query and key head",
}


def model_note(model: str) -> str:
    """The note of a catalog model as Markdown. Raises UsageError when the catalog does not have it."""
    record = catalog.record(model)
    config = catalog.resolve(model).config()
    parts = [
        f"# {record.name}",
        f"{record.purpose}\n\nBy {record.developer}, released {record.released}. "
        f"Languages: {', '.join(record.languages)}. Facts collected {record.date}.",
        "## Key specifications\n\n" + _table(("", ""), _specifications(record, config)),
        "## Sizes\n\n" + _sizes(config),
        "## Modes and sampling\n\n" + _sampling(record),
        "## Deployment\n\n" + _deployment(record, config),
        "## Published scores\n\n" + _scores(record.name),
        f"## Licence\n\n**{record.licence['name']}**. {record.licence['summary']} "
        f"(Source: {record.licence['source']}.)",
    ]
    if record.citation:
        parts.append(f"## Citation\n\n```bibtex\n{record.citation}\n```")
    if record.config_source:
        source = record.config_source
        parts.append(
            f"## Where the config comes from\n\n{source['status'].capitalize()}: {source['source']} ({source['date']})."
        )
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _specifications(record: catalog.Record, config: dict[str, Any]) -> list[tuple[str, str]]:
    text = text_config(config)
    count = count_parameters(config)
    kinds = Counter(layer_kinds(config))
    rows = [("parameters", f"{count.total:,} ({count.non_embedding:,} without embedding and head)")]
    if count.experts_held:
        rows.append(("active per token", f"{count.active:,}"))
        rows.append(("experts", f"{count.experts_held} per layer, {count.experts_used} used"))
    if record.published_parameters:
        rows.append(("parameters, published", record.published_parameters))
    rows.append(("layers", str(sum(kinds.values()))))
    rows.append(
        (
            "attention",
            ", ".join(
                f"{number} {kind}{f' (window {window:,})' if window else ''}"
                for (kind, window), number in sorted(kinds.items())
            ),
        )
    )
    if text.get("kv_lora_rank"):
        heads = f"{text['num_attention_heads']} heads over a latent vector of {text['kv_lora_rank']} (MLA)"
    else:
        query, shared, width = fields.heads(text)
        heads = f"{query} query, {shared} key/value, {width} wide"
    rows.append(("heads", heads))
    rows.append(("hidden size", f"{text['hidden_size']:,}"))
    rows.append(("MLP size", f"{text['intermediate_size']:,}"))
    if text.get("moe_intermediate_size"):
        rows.append(("MLP size of an expert", f"{text['moe_intermediate_size']:,}"))
    rows.append(
        ("vocabulary", f"{text['vocab_size']:,}, {'tied with the head' if is_tied(config) else 'head apart'}")
    )
    rows.append(("longest context", f"{text['max_position_embeddings']:,} tokens"))
    rows.append(("positions", _positions(text)))
    if text.get("model_type") in NORMS:
        rows.append(("norms", NORMS[text["model_type"]]))
    rows.append(("class", ", ".join(config.get("architectures") or ["not said"])))
    return rows


def _positions(text: dict[str, Any]) -> str:
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    theta = text.get("rope_theta") or (rope.get("rope_theta") if isinstance(rope, dict) else None)
    said = f"RoPE, theta {theta:,.0f}" if isinstance(theta, int | float) else "RoPE"
    kind = rope.get("rope_type") or rope.get("type")
    if kind and kind != "default":
        said += f", {kind} scaling by {rope.get('factor', 1):g}"
    return said


def _sizes(config: dict[str, Any]) -> str:
    rows = []
    if config.get("quantization_config"):
        name, prediction = predict_as_stored(config)
        rows.append(
            (
                f"as published (kernels of {name})",
                f"{prediction.file_bytes:,} bytes",
                f"{prediction.file_bytes / 1e9:,.2f} GB ({prediction.file_bytes / 2**30:,.2f} GiB)",
            )
        )
    for scheme in SCHEMES:
        try:
            bytes_ = predict_checkpoint(config, scheme).file_bytes
        except WorkbookError as error:
            rows.append((scheme, "does not apply", error.got))
        else:
            rows.append((scheme, f"{bytes_:,} bytes", f"{bytes_ / 1e9:,.2f} GB ({bytes_ / 2**30:,.2f} GiB)"))
    cache = kv_cache(config)
    rows.append(
        (
            f"KV cache, one request of {cache.max_model_len:,} tokens (vLLM)",
            f"{cache.bytes_per_request:,} bytes",
            f"{cache.bytes_per_request / 2**30:,.2f} GiB; {cache.without_windows / 2**30:,.2f} GiB without windows",
        )
    )
    return (
        _table(("what", "bytes", ""), rows)
        + "\n\nPredicted: the files LLM Compressor 0.14 writes, head and embedding left in BF16."
    )


def _sampling(record: catalog.Record) -> str:
    lines = [f"- {mode['name']}: {mode['switch']}" for mode in record.modes]
    settings = record.sampling["settings"]
    if not settings:
        return "\n".join([*lines, "", "No sampling recommendation was found."])
    rows = []
    for entry in settings:
        temperature, remarks = catalog.sampling_in_words(entry)
        rows.append(
            (entry["mode"], temperature, str(entry.get("top_p", "")), str(entry.get("top_k", "")), remarks)
        )
    table = _table(("mode", "temperature", "top_p", "top_k", "remark"), rows)
    return "\n".join([*lines, "", table, "", f"Source: {record.sampling['source']}."])


def _deployment(record: catalog.Record, config: dict[str, Any]) -> str:
    context = text_config(config)["max_position_embeddings"]
    lines = []
    for key, title in ENGINES.items():
        entry = record.deployment.get(key)
        if not entry:
            continue
        least = f" (from {entry['least']})" if entry.get("least") else ""
        lines.append(f"**{title}**{least}" + (f": {entry['remark']}" if entry.get("remark") else ""))
        if entry.get("command"):
            command = entry["command"].format(model=record.hub_id, name=record.name, context=context)
            lines.append(f"```bash\n{command}\n```")
    lines.append(f"Source: {record.deployment['source']}.")
    return "\n\n".join(line.format(model=record.hub_id) if "{model}" in line else line for line in lines)


def _scores(name: str) -> str:
    rows = published.scores(model=name)
    if not rows:
        return "None collected."
    modes = sorted({row["mode"] for row in rows})
    table: dict[str, dict[str, str]] = {}
    sources: dict[tuple[str, str], None] = {}
    for row in rows:
        cell = table.setdefault(row["benchmark"], {})
        shown = "not published" if row["value"] is None else str(row["value"])
        # The lecture repeats the README's figures and adds its asterisks.
        star = "*" if row["note"] == "*" and "*" not in cell.get(row["mode"], "") else ""
        cell[row["mode"]] = cell.get(row["mode"], shown) + star
        sources[row["source"], row["date"]] = None
    body = [(benchmark, *(cell.get(mode, "") for mode in modes)) for benchmark, cell in table.items()]
    cited = "; ".join(f"{source} ({date})" for source, date in sources)
    star = " An asterisk is the lecture's own mark." if any("*" in c for r in body for c in r) else ""
    return _table(("benchmark", *modes), body) + f"\n\nRecorded, not measured here. Sources: {cited}.{star}"
