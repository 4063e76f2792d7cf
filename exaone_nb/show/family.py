"""One developer's models by release, as table and figure; and a report's table of sizes beside what the configs say."""

from datetime import date
from typing import Any

from exaone_nb import catalog, fields
from exaone_nb.anatomy.arrangements import arrangement_of
from exaone_nb.anatomy.attention import layer_kinds
from exaone_nb.anatomy.layouts import count_parameters, text_config
from exaone_nb.library_types import Figure
from exaone_nb.messages import say
from exaone_nb.paths import DATA
from exaone_nb.show.checkpoint import in_short
from exaone_nb.show.figures import INK, canvas, clean, styles_of
from exaone_nb.show.table import Column, Table, columns
from exaone_nb.written import read_csv

REPORTED = ("EXAONE-4.0-1.2B", "EXAONE-4.0-32B")


def _family(developer: str) -> list[dict[str, Any]]:
    """The catalog's models of one developer, in the order of their release."""
    records = [record for record in map(catalog.record, catalog.names()) if record.developer == developer]
    rows = []
    for record in sorted(records, key=lambda record: (record.released, record.name)):
        config = catalog.resolve(record.name).config()
        counted = count_parameters(config)
        rows.append(
            {
                "model": record.name,
                "released": record.released,
                "parameters": counted.total,
                "active": counted.active if counted.active < counted.total else None,
                "layers": len(layer_kinds(config)),
                "attention": in_short([kind for kind, _ in layer_kinds(config)]),
                "context": text_config(config).get("max_position_embeddings"),
                "norms": arrangement_of(config).name,
                "licence": record.licence["name"],
            }
        )
    return rows


def family_table(developer: str = "LG AI Research") -> Table:
    """The catalog's models of one developer by release: sizes, attention, norms, and the licence."""
    heads = [
        Column("model", code=True),
        Column("released"),
        Column("parameters", say("parameters, billions"), ",.2f", 1e-9),
        Column("layers"),
        Column("attention"),
        Column("context", form=","),
        Column("norms"),
        Column("licence"),
    ]
    return Table(heads, _family(developer))


def timeline(developer: str = "LG AI Research") -> Figure:
    """Parameters against the day of release, a look per arrangement of norms; a mixture shows what one token uses too."""
    rows = _family(developer)
    looks = styles_of(row["norms"] for row in rows)
    figure, axes = canvas(9, 4)
    for name, look in looks.items():
        members = [row for row in rows if row["norms"] == name]
        days = [date.fromisoformat(row["released"]) for row in members]
        axes.plot(
            days,
            [row["parameters"] / 1e9 for row in members],
            **look.curve() | {"linestyle": ""},
            ms=8,
            label=name,
        )
    for row in rows:
        day = date.fromisoformat(row["released"])
        axes.annotate(row["model"].removeprefix("EXAONE-").removesuffix("-Instruct"), (day, row["parameters"] / 1e9), (7, 4), textcoords="offset points", fontsize=8.5)  # fmt: skip
        if row["active"]:
            axes.plot([day, day], [row["active"] / 1e9, row["parameters"] / 1e9], color=INK, lw=1, zorder=0)
            axes.annotate(say("used for one token"), (day, row["active"] / 1e9), (7, -3), textcoords="offset points", fontsize=8.5)  # fmt: skip
    axes.set(yscale="log", ylabel=say("parameters, billions"), xlabel=say("released"))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(x=0.1, y=0.12)
    clean(axes)
    axes.legend(frameon=False, loc="upper left")
    return figure


def report_table() -> Table:
    """The technical report's table of EXAONE 4.0, row by row, and whether config.json says the same.

    data/report_exaone4.csv holds what was printed. Where no field says it, the last column is empty.
    """
    told = {model: _as_printed(catalog.resolve(model).config()) for model in REPORTED}
    rows = []
    for printed in read_csv(DATA / "report_exaone4.csv"):
        name = printed["row"]
        same = [told[model][name] == printed[model] for model in REPORTED if name in told[model]]
        rows.append({**printed, "agrees": all(same) if same else None})
    heads = [
        Column("row", say("in the report")),
        Column("field", say("in config.json"), code=True),
        *columns(REPORTED),
        Column("agrees", say("the config says the same"), missing=say("it does not say")),
    ]
    return Table(heads, rows)


def _as_printed(config: dict[str, Any]) -> dict[str, str]:
    """What a config says of the report's rows, written as the report writes it."""
    heads, kv_heads, head_dim = fields.heads(config)
    kinds = {kind for kind, _ in layer_kinds(config)}
    return {
        "d_model": f"{config['hidden_size']:,}",
        "Number of layers": str(len(layer_kinds(config))),
        "Normalization": arrangement_of(config).name,
        "Non-linearity": "SwiGLU" if config["hidden_act"] == "silu" else config["hidden_act"],
        "Feedforward dimension": f"{config['intermediate_size']:,}",
        "Attention type": "Global" if kinds == {"full"} else "Hybrid",
        "Head type": "MHA" if kv_heads == heads else "MQA" if kv_heads == 1 else "GQA",
        "Number of heads": str(heads),
        "Number of KV heads": str(kv_heads),
        "Head size": str(head_dim),
        "Max sequence length": f"{config['max_position_embeddings']:,}",
        "RoPE theta": f"{fields.rope(config)['rope_theta']:,.0f}",
        "Vocab size": f"{config['vocab_size']:,}",
        "Tied word embedding": str(bool(config.get("tie_word_embeddings"))),
    }
