"""The one-page model note: what one wants to know before using a model, in Markdown.

Sizes and counts are computed from the config, so every model has them. What others published (sampling, deployment,
scores, licence) is there for the models of the catalog, each with its source and date.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from exaone_nb import catalog, fields, published
from exaone_nb.anatomy.arrangements import FAMILIES, arrangement_of
from exaone_nb.anatomy.as_stored import predict_as_stored
from exaone_nb.anatomy.attention import layer_kinds
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.layouts import count_parameters, is_known, is_tied, text_config
from exaone_nb.anatomy.predict import predict_schemes
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say
from exaone_nb.show.table import Column, Table, columns

SCHEMES = ("BF16", "W8A8", "W4A16")
ENGINES = {
    "transformers": "transformers",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "tensorrt_llm": "TensorRT-LLM",
    "llama_cpp": "llama.cpp",
    "ollama": "Ollama",
}


def model_note(model: str) -> str:
    """The note of a catalog name, local folder or hub id as Markdown.

    Raises what reading its config raises, and WorkbookError for a config that lacks the sizes of a language model.
    """
    place = catalog.resolve(model)
    config = place.config()
    record = catalog.record(place.name) if place.kind == "catalog" else None
    parts = [f"# {record.name if record else place.name}"]
    if record:
        languages = ", ".join(record.languages)
        parts += [
            record.purpose,
            say(
                "By {r.developer}, released {r.released}. Languages: {languages}. Facts collected {r.date}.",
                r=record,
                languages=languages,
            ),
        ]
    specified = [{"what": what, "value": value} for what, value in _specifications(config, record)]
    parts += [
        say("## Key specifications"),
        Table([Column("what"), Column("value")], specified).to_markdown(),
        say("## Sizes"),
        _sizes(config),
    ]
    if record:
        parts += _published(record, config)
    else:
        parts.append(
            say(
                "Sampling, deployment, scores and licence: see the model's own card; it is not in this catalog."
            )
        )
    return "\n\n".join(parts) + "\n"


def _published(record: catalog.Record, config: dict[str, Any]) -> Iterator[str]:
    yield say("## Modes and sampling")
    yield _sampling(record)
    yield say("## Deployment")
    yield _deployment(record, config)
    yield say("## Published scores")
    yield _scores(record.name)
    yield say("## Licence")
    licence = {key: record.licence[key] for key in ("name", "summary", "source")}
    yield say("**{name}**. {summary} (Source: {source}.)", **licence)
    if record.citation:
        yield say("## Citation")
        yield f"```bibtex\n{record.citation}\n```"
    if record.config_source:
        yield say("## Where the config comes from")
        status, source, date = (record.config_source[key] for key in ("status", "source", "date"))
        yield say("{status}: {source} ({date}).", status=status.capitalize(), source=source, date=date)


def _specifications(config: dict[str, Any], record: catalog.Record | None) -> Iterator[tuple[str, Any]]:
    text = text_config(config)
    if is_known(config):
        count = count_parameters(config)
        yield (
            say("parameters"),
            say("{c.total:,} ({c.non_embedding:,} without embedding and head)", c=count),
        )
        if count.experts_held:
            yield say("active per token"), f"{count.active:,}"
            yield say("experts"), say("{c.experts_held} per layer, {c.experts_used} used", c=count)
    if record and record.published_parameters:
        yield say("parameters, published"), record.published_parameters
    kinds = Counter(layer_kinds(config))
    yield say("layers"), fields.layers(text)
    yield say("attention"), [_layers_of_a_kind(*entry) for entry in sorted(kinds.items())]
    yield say("heads"), _heads(text)
    yield say("hidden size"), f"{fields.size(text, 'hidden_size'):,}"
    for key, name in (
        ("intermediate_size", say("MLP size")),
        ("moe_intermediate_size", say("MLP size of an expert")),
    ):
        if text.get(key):
            yield name, f"{fields.size(text, key):,}"
    words = fields.size(text, "vocab_size")
    if is_known(config):
        template = say("tied with the head") if is_tied(config) else say("head apart")
        yield say("vocabulary"), say("{words:,}, {head}", words=words, head=template)
    else:
        yield say("vocabulary"), f"{words:,}"
    if text.get("max_position_embeddings"):
        longest = fields.size(text, "max_position_embeddings")
        yield say("longest context"), say("{longest:,} tokens", longest=longest)
    yield say("positions"), _positions(text)
    if text.get("model_type") in FAMILIES:
        yield say("norms"), arrangement_of(config).sentence()
    yield say("class"), config.get("architectures") or say("not said")


def _layers_of_a_kind(kind: tuple[str, int], number: int) -> str:
    name, window = kind
    if not window:
        return say("{number} {kind}", number=number, kind=name)
    return say("{number} {kind} (window {window:,})", number=number, kind=name, window=window)


def _heads(text: dict[str, Any]) -> str:
    if text.get("kv_lora_rank"):
        heads, rank = fields.size(text, "num_attention_heads"), fields.size(text, "kv_lora_rank")
        return say("{heads} heads over a latent vector of {rank} (MLA)", heads=heads, rank=rank)
    query, shared, width = fields.heads(text)
    return say("{query} query, {shared} key/value, {width} wide", query=query, shared=shared, width=width)


def _positions(text: dict[str, Any]) -> str:
    rope = fields.rope(text)
    theta = rope.get("rope_theta")
    known = say("RoPE, theta {theta:,.0f}", theta=theta) if isinstance(theta, int | float) else say("RoPE")
    kind = rope.get("rope_type") or rope.get("type")
    if not kind or kind == "default":
        return known
    return say("{known}, {kind} scaling by {factor:g}", known=known, kind=kind, factor=rope.get("factor", 1))


def _sizes(config: dict[str, Any]) -> str:
    rows: list[dict[str, Any]] = []
    if not is_known(config):
        return say(
            "There is no layout for model_type {name} here, so the tensors and their bytes are not known.",
            name=repr(config.get("model_type")),
        )
    if config.get("quantization_config"):
        try:
            name, prediction = predict_as_stored(config)
        except WorkbookError as error:
            rows.append({"what": say("as published"), "remark": error.got})
        else:
            what = say("as published (kernels of {name})", name=name)
            rows.append({"what": what, "bytes": prediction.file_bytes})
    found, refused = predict_schemes(config, SCHEMES)
    rows += [{"what": scheme, "bytes": prediction.file_bytes} for scheme, prediction in found.items()]
    rows += [{"what": scheme, "remark": error.got} for scheme, error in refused.items()]
    cache = kv_cache(config)
    windows = say("{gib:,.2f} GiB without windows", gib=cache.without_windows / 2**30)
    rows.append(
        {
            "what": say("KV cache, one request of {tokens:,} tokens (vLLM)", tokens=cache.max_model_len),
            "bytes": cache.bytes_per_request,
            "remark": windows if cache.without_windows > cache.bytes_per_request else "",
        }
    )
    heads = [
        Column("what"),
        Column("bytes", form=","),
        Column("gb", "GB", ",.3f", 1e-9, of="bytes"),
        Column("gib", "GiB", ",.3f", 2**-30, of="bytes"),
        Column("remark"),
    ]
    basis = say("Predicted: the files LLM Compressor 0.14 writes, head and embedding left in BF16.")
    return f"{Table(heads, rows).without_empty().to_markdown()}\n\n{basis}"


def _sampling(record: catalog.Record) -> str:
    parts = ["\n".join(f"- {mode['name']}: {mode['switch']}" for mode in record.modes)]
    if settings := record.sampling["settings"]:
        rows = [
            {**entry, **dict(zip(("temperature", "remark"), catalog.sampling_in_words(entry), strict=True))}
            for entry in settings
        ]
        heads = columns(["mode", "temperature", "top_p", "top_k", "remark"])
        parts.append(Table(heads, rows).to_markdown())
        parts.append(say("Source: {source}.", source=record.sampling["source"]))
    else:
        parts.append(say("No sampling recommendation was found."))
    return "\n\n".join(parts)


def lost_answers(record: catalog.Record) -> str:
    """A warning where vLLM's reasoning parser, as the command or the card names it, loses answers of this model; or "".

    Such a parser takes everything before `</think>` for thought, and this model also answers without thinking.
    """
    vllm = record.deployment.get("vllm") or {}
    named = [*re.findall(r"--reasoning-parser (\S+)", vllm.get("command", "")), vllm.get("card_parser", "")]
    parsers = [name for name in named if catalog.reasoning_parsers().get(name, {}).get("needs_think_block")]
    if not parsers or not any(mode["name"] == "non-reasoning" for mode in record.modes):
        return ""
    return say(
        "With the parser {parser} an answer without a think block comes back as reasoning, its content empty, and a tool "
        "call in it unread, unless it is streamed; this model also answers without one.",
        parser=parsers[0],
    )


def _deployment(record: catalog.Record, config: dict[str, Any]) -> str:
    names = {
        "model": record.hub_id,
        "name": record.name,
        "context": text_config(config).get("max_position_embeddings"),
    }
    parts = []
    for key, title in ENGINES.items():
        entry = record.deployment.get(key)
        if not entry:
            continue
        least = say(" (from {version})", version=entry["least"]) if entry.get("least") else ""
        remark = entry.get("remark", "").format(**names)
        parts.append(f"**{title}**{least}" + (f": {remark}" if remark else ""))
        if key == "vllm" and (warning := lost_answers(record)):
            parts.append(warning)
        if entry.get("command"):
            parts.append(f"```bash\n{entry['command'].format(**names)}\n```")
    parts.append(say("Source: {source}.", source=record.deployment["source"]))
    return "\n\n".join(parts)


def _scores(name: str) -> str:
    rows = published.scores(model=name)
    if not rows:
        return say("None collected.")
    modes = sorted({row["mode"] for row in rows})
    lines: dict[str, dict[str, str]] = {}
    sources: dict[tuple[str, str], None] = {}
    for row in rows:
        cells = lines.setdefault(row["benchmark"], {"benchmark": row["benchmark"]})
        shown = say("not published") if row["value"] is None else str(row["value"])
        # The lecture repeats the README's figures and adds its asterisks.
        star = "*" if row["note"] == "*" and "*" not in cells.get(row["mode"], "") else ""
        cells[row["mode"]] = cells.get(row["mode"], shown) + star
        sources[row["source"], row["date"]] = None
    table = Table(columns(["benchmark", *modes]), list(lines.values())).to_markdown()
    cited = "; ".join(f"{source} ({date})" for source, date in sources)
    star = say(" An asterisk is the lecture's own mark.") if "*" in table else ""
    basis = say("Recorded, not measured here. Sources: {cited}.{star}", cited=cited, star=star)
    return f"{table}\n\n{basis}"
