"""What a model takes on the cards that people have, and which number formats each of them serves: by arithmetic."""

from collections.abc import Sequence

from exaone_nb.anatomy.logical import predict_as_stored
from exaone_nb.anatomy.memory import plan_memory
from exaone_nb.catalog import resolve
from exaone_nb.gpus import find_gpu
from exaone_nb.messages import say
from exaone_nb.quantization.kernels import support
from exaone_nb.show.measured import card_records
from exaone_nb.show.table import Column, Table
from exaone_nb.workbook.card import card_of
from exaone_nb.workbook.doctor import SHOWN_SCHEMES

MODEL = "EXAONE-4.0-1.2B"
CARDS = ("T4", "L4", "A100-40GB")  # Colab's, and the judge's


def card_table(model: str = MODEL, cards: Sequence[str] = CARDS) -> Table:
    """A row per card: weights, room for the whole context, and the formats by what they are multiplied in.

    A card of which somebody sent a record (`exaone-nb record`) says so; its measurements stand in the chapter on speed.
    """
    config, rows = resolve(model).config(), []
    scheme, prediction = predict_as_stored(config)
    recorded = {card.name for record in card_records() if (card := card_of(record["card"]))}
    for card in map(find_gpu, cards):
        plan = plan_memory(config, scheme, card, prediction=prediction)
        formats = {name: support(name, card.machine) for name in SHOWN_SCHEMES}
        served = [name for name, one in formats.items() if one.runs and name != "BF16"]
        rows.append(
            {
                "card": card.name,
                "memory": card.memory_bytes,
                "at_once": plan.largest_concurrency,
                "narrow": [name for name in served if formats[name].compute != "16-bit"],
                "wide": [name for name in served if formats[name].compute == "16-bit"],
                "plain": formats["BF16"].reason,
                "recorded": say("yes") if card.name in recorded else "",
            }
        )
    columns = [
        Column("card"),
        Column("memory", say("memory (GiB)"), ".1f", scale=2**-30),
        Column("at_once", say("requests of the whole context at once")),
        Column("narrow", say("multiplied in 8 or 4 bits"), code=True),
        Column("wide", say("served, multiplied in 16 bits"), code=True),
        Column("plain", say("16-bit models")),
        Column("recorded", say("measured by somebody")),
    ]
    caption = say("{model} on cards, vLLM 0.32, by arithmetic from data sheets", model=model)
    return Table(columns, rows, caption).without_empty()
