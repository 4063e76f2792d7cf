"""The recorded boards as tables: quantizers beside each other, and what people do beside rounding.

scripts/record_board.py writes data/measured/board_nano.json and beyond.json. Who serves a row is asked here, of the same
tables that a plan asks.
"""

from collections.abc import Mapping
from typing import Any

from exaone_nb.compress import recipe as recipes
from exaone_nb.compress.bitsandbytes import FORMS
from exaone_nb.compress.plan import make_plan
from exaone_nb.compress.tables import verdict
from exaone_nb.gpus import find_gpu
from exaone_nb.hardware import Machine
from exaone_nb.messages import say
from exaone_nb.quantization.bitsandbytes import METHOD
from exaone_nb.quantization.kernels import JUDGE, TODAY, support, support_of_format
from exaone_nb.quantization.loading import serve
from exaone_nb.show.table import Column, Table, columns

CARD = "L4"


def places() -> dict[str, tuple[Machine, str]]:
    """Column -> (machine, version of vLLM): an x86 CPU without AMX, a card, and that card as the hackathon had it."""
    card = find_gpu(CARD).machine
    return {
        say("x86 CPU, vLLM {engine}", engine=TODAY): (Machine("CPU", flags=frozenset({"avx512f"})), TODAY),
        say("{card}, vLLM {engine}", card=CARD, engine=TODAY): (card, TODAY),
        say("{card}, vLLM {engine}", card=CARD, engine=JUDGE): (card, JUDGE),
    }


def served(name: str, machine: Machine, engine: str) -> str:
    """ "yes", "no" or "unknown" for a row of the board, by the name of its recipe, form or quantizer."""
    if name in recipes.names():
        return serve(make_plan("nano", name), machine, engine).answer
    if name in FORMS:
        return support_of_format(METHOD, machine, engine).answer
    # GPTQModel's file, and the unquantized model.
    return support("W4A16" if name == "gptqmodel" else "BF16", machine, engine).answer


def board(document: Mapping[str, Any]) -> Table:
    """A row per checkpoint: bytes, what was lost, what is still right, and who serves it."""
    where = places()
    rows = [
        row
        | {column: served(row["name"], *place) for column, place in where.items()}
        | {
            "off": row["actual_bytes"] - row["predicted_bytes"] if "predicted_bytes" in row else None,
            "verdict": verdict(row["against_plain"]) if "against_plain" in row else "",
        }
        for row in document["rows"]
    ]
    shown = [
        Column("name", say("checkpoint"), code=True),
        Column("actual_bytes", say("bytes"), ","),
        Column("off", say("more than predicted"), "+,"),
        *columns(where, ours=True),
        Column("kl", say("KL from the model, nats per token"), ".5f"),
        Column("verdict", say("KL against rounding to nearest")),
        Column("accuracy", say("accuracy"), ".2f"),
    ]
    return Table(shown, rows)


def speeds(document: Mapping[str, Any]) -> Table:
    """Tokens per second of the checkpoints that were timed in transformers, one answer at a time."""
    shown = [
        Column("name", say("checkpoint"), code=True),
        Column("tokens_per_second", say("tokens per second in transformers"), ".1f"),
    ]
    return Table(shown, [row for row in document["rows"] if row.get("tokens_per_second")])


def beyond(document: Mapping[str, Any], model: str) -> Table:
    """What was done to `model` beside rounding: each against the whole model, and against a rounded one, on the same texts."""
    mine = [row for row in document["rows"] if row["model"] == model]
    whole = mine[0]
    words = {
        "whole": say("as it is"),
        "rounded": say("rounded"),
        "trained": say("trained, then rounded"),
        "layers": say("layers left out"),
        "vocabulary": say("vocabulary cut"),
    }
    rows = [
        row
        | {
            "what": words[row["kind"]],
            "left_out": len(row["left_out"]) if "left_out" in row else None,
            "share": row["actual_bytes"] / whole["actual_bytes"],
            "longer": row["tokens_per_text"].value / whole["tokens_per_text"].value,
            "verdict": verdict(row["against"]) if "against" in row else "",
        }
        for row in mine
    ]
    shown = [
        Column("name", say("model"), code=True),
        Column("what", say("what was done")),
        Column("left_out", say("layers left out")),
        Column("actual_bytes", say("bytes"), ","),
        Column("share", say("of the whole"), ".1%"),
        Column("longer", say("tokens for the same text"), ".2f"),
        Column("change", say("change of loss, nats per byte"), "+.4f"),
        Column("other", say("compared with"), code=True),
        Column("verdict", say("so it is")),
        Column("accuracy", say("accuracy"), ".2f"),
    ]
    return Table(shown, rows)
