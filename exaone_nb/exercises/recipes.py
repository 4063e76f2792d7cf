"""Exercises of the chapter on quantization: patterns that match what is meant, and what a module will weigh."""

import re

from exaone_nb.exercises.exercise import Exercise
from exaone_nb.messages import say

_PARTS = ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj")
MODULES = [f"model.layers.{layer}.{part}" for layer in (0, 1, 10) for part in _PARTS] + ["lm_head"]


def ignored(pattern: str) -> set[str]:
    """The modules that an entry of an ignore list matches, by llm-compressor's rule: a name, or a pattern after `re:`
    that fits from the start of the name."""
    if pattern.startswith("re:"):
        return {name for name in MODULES if re.match(pattern[3:], name)}
    return {name for name in MODULES if name == pattern}


def matched(pattern: str) -> tuple[set[str], str]:
    """What an entry matches; where it is nothing, also of which kind it is, so that a check can say why."""
    found = ignored(str(pattern))
    if found:
        return found, ""
    if not str(pattern).startswith("re:"):
        return found, "name"
    return found, "backslashes" if r"\\" in pattern else "pattern"


def protect_layer_0() -> str:
    """An entry for `ignore` that keeps every Linear of layer 0 in 16 bits, and no other."""
    return r"re:.*layers\.0\..*"


def protect_down_proj() -> str:
    """An entry for `ignore` that keeps the down_proj of every layer in 16 bits, and no other."""
    return r"re:.*down_proj$"


def packed_bytes(rows: int, columns: int, group_size: int) -> int:
    """Bytes of a W4A16 module: eight codes in an int32, and a 16-bit scale for each group of each row."""
    return rows * columns // 2 + rows * (columns // group_size) * 2


EXERCISES = (
    Exercise(
        protect_layer_0,
        [()],
        [
            (lambda: "model.layers.0",
             say("a name must be a module's own: layer 0 is no Linear, so this matches nothing.")),
            (lambda: r"re:.*layers\\.0\\..*",
             say("a backslash too many: the pattern now wants a backslash in the name.")),
            (lambda: r"re:.*layers\.\d*0\..*",
             say("it matches layer 10 as well: say where the number begins and ends.")),
            (lambda: r"re:.*layers\..*", say("it matches every layer.")),
        ],
        seen=matched,
    ),
    Exercise(
        protect_down_proj,
        [()],
        [
            (lambda: "re:down_proj",
             say("a pattern must fit from the start of the full name: it matches nothing.")),
            (lambda: "re:.*mlp.*", say("that is the whole MLP.")),
            (lambda: "re:.*layers\\.0\\..*down_proj", say("that is layer 0 alone.")),
        ],
        seen=matched,
    ),
    Exercise(
        packed_bytes,
        [(2_048, 4_096, 128), (512, 2_048, 64)],
        [
            (lambda rows, columns, group: rows * columns // 2, say("the scales are missing.")),
            (lambda rows, columns, group: rows * columns * 4 + rows * (columns // group) * 16,
             say("these are bits.")),
            (lambda rows, columns, group: rows * columns // 2 + (columns // group) * 2,
             say("each row has scales of its own.")),
            (lambda rows, columns, group: rows * columns // 2 + rows * 2,
             say("that is one scale per row (a channel); here each group of a row has one.")),
        ],
    ),
)  # fmt: skip
