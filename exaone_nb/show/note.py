"""The one-page model note: what one wants to know before using a model, in Markdown (`note.md.jinja`).

Sizes and counts are computed from the config, so every model has them. What others published (sampling, deployment,
scores, licence) is there for the models of the catalog, each with its source and date.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from exaone_nb import catalog, fields, published
from exaone_nb.anatomy.arrangements import FAMILIES, arrangement_of
from exaone_nb.anatomy.attention import layer_kinds
from exaone_nb.anatomy.kv import kv_cache
from exaone_nb.anatomy.layouts import count_parameters, is_known, is_tied, text_config
from exaone_nb.anatomy.logical import predict_as_stored
from exaone_nb.anatomy.predict import predict_schemes
from exaone_nb.errors import WorkbookError
from exaone_nb.messages import say, translated, visible
from exaone_nb.show.table import Column, Table, columns, in_bytes

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
    from jinja2 import Environment, StrictUndefined

    place = catalog.resolve(model)
    config = place.config()
    record = catalog.record(place.name) if place.kind == "catalog" else None
    facts: dict[str, Any] = {"sampling": _sampling(record), **_scores(place.name)} if record else {}
    if record:
        facts["deployment"] = dict(_deployment(record, config))
    environment = Environment(
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["say"] = say
    template = (Path(__file__).parent / "note.md.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        name=place.name,
        record=record,
        sizes=_sizes(json.dumps(config)).to_markdown() if is_known(config) else "",
        model_type=repr(config.get("model_type")),
        **_specifications(config),
        **facts,
    )


def _specifications(config: dict[str, Any]) -> dict[str, Any]:
    text, known = text_config(config), is_known(config)
    rope = fields.rope(text)
    theta = rope.get("rope_theta")
    optional = ("kv_lora_rank", "intermediate_size", "moe_intermediate_size", "max_position_embeddings")
    sizes = ["hidden_size", "vocab_size", *filter(text.get, optional)]
    return {
        "count": count_parameters(config) if known else None,
        "tied": known and is_tied(config),
        "layers": fields.layers(text),
        "kinds": sorted(Counter(layer_kinds(config)).items()),
        "heads": fields.heads(text)
        if not text.get("kv_lora_rank")
        else [fields.size(text, "num_attention_heads")],
        "size": {key: fields.size(text, key) for key in sizes},
        "theta": theta if isinstance(theta, int | float) else None,
        "rope": {
            "kind": rope.get("rope_type") or rope.get("type") or "default",
            "factor": rope.get("factor", 1),
        },
        "norms": arrangement_of(config).sentence() if text.get("model_type") in FAMILIES else "",
        "classes": Column("class").text(config.get("architectures")),
    }


@cache
def _sizes(document: str) -> Table:
    """What the config in `document` (JSON) takes; models often share one, and a mixture of experts takes seconds."""
    config = json.loads(document)
    rows: list[dict[str, Any]] = []
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
    return Table([Column("what"), *in_bytes("bytes", "bytes"), Column("remark")], rows).without_empty()


def _sampling(record: catalog.Record) -> str:
    rows = [
        {**entry, **dict(zip(("temperature", "remark"), catalog.sampling_in_words(entry), strict=True))}
        for entry in record.sampling["settings"]
    ]
    heads = columns(["mode", "temperature", "top_p", "top_k", "remark"])
    return Table(heads, rows).to_markdown() if rows else ""


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


def _deployment(record: catalog.Record, config: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """(engine, what is known of it) with the names filled into command and remark."""
    names = {
        "model": record.hub_id,
        "name": record.name,
        "context": text_config(config).get("max_position_embeddings"),
    }
    for key, title in ENGINES.items():
        if entry := record.deployment.get(key):
            filled = {part: entry.get(part, "").format(**names) for part in ("remark", "command")}
            warning = lost_answers(record) if key == "vllm" else ""
            yield title, {"least": entry.get("least", ""), **filled, "warning": warning}


def _scores(name: str) -> dict[str, Any]:
    rows = published.scores(model=name)
    modes = sorted({row["mode"] for row in rows})
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        cells = lines.setdefault(row["benchmark"], {"benchmark": row["benchmark"]})
        shown = say("not published") if row["value"] is None else str(row["value"])
        # The lecture repeats the README's figures and adds its asterisks.
        star = "*" if row["note"] == "*" and "*" not in cells.get(row["mode"], "") else ""
        cells[row["mode"]] = cells.get(row["mode"], shown) + star
    return {
        "scores": Table(columns(["benchmark", *modes]), list(lines.values())).to_markdown() if rows else "",
        "sources": list(dict.fromkeys(f"{translated(row['source'])} ({row['date']})" for row in rows)),
    }
