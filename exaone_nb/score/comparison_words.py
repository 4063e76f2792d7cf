"""A comparison in sentences: what changed, the verdict, and what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exaone_nb.messages import say

if TYPE_CHECKING:
    from exaone_nb.score.compare import Comparison


def words(c: Comparison) -> str:
    """The verdict with its evidence."""
    told = [_change(c), _verdict(c)]
    if c.verdict in ("borderline", "undecided"):
        told.append(_needed(c))
    if c.prompt_level:
        told.append(say("All of a prompt's instructions: {p[0]:.4f} to {p[1]:.4f}.", p=c.prompt_level))
    if c.base_outcomes.get("unusable") or c.candidate_outcomes.get("unusable"):
        told.append(unusable_in_words(c))
    if c.part_of:
        told.append(say("A part of {group}, not corrected for the other parts.", group=c.part_of))
    return " ".join(told)


def unusable_in_words(c: Comparison) -> str:
    """How many answers of either side could not be used, by kind."""
    kinds = {
        "unparsable": say("unparsable"),
        "truncated": say("cut"),
        "prompt_cut": say("prompt cut"),
        "empty": say("empty"),
    }
    counts = [
        say(
            "{kind} {b} and {c}",
            kind=words,
            b=c.base_outcomes.get(kind, 0),
            c=c.candidate_outcomes.get(kind, 0),
        )
        for kind, words in kinds.items()
        if c.base_outcomes.get(kind) or c.candidate_outcomes.get(kind)
    ]
    return say("Unusable answers, base and candidate: {counts}.", counts="; ".join(counts))


def percent(level: float) -> str:
    """A level as it is said: 95 %, 98.3 %."""
    return say("{level:.3g} %", level=100 * level)


def margin_in_words(margin: float, relative: bool) -> str:
    """1 point of a score, or 1 % of a perplexity."""
    if relative:
        return percent(margin)
    if margin == 0.01:
        return say("1 point")
    return say("{points:g} points", points=100 * margin)


def _change(c: Comparison) -> str:
    fields = {"c": c, "level": percent(c.found.level)}
    if c.lower_is_better:
        return say(
            "{c.task}: {c.base} to {c.candidate}, {c.base_score:.4g} to {c.candidate_score:.4g} "
            "(change {d.value:+.3g}, {level} from {d.low:+.3g} to {d.high:+.3g}).",
            d=c.difference,
            **fields,
        )
    return say(
        "{c.task}: {c.base} to {c.candidate}, {c.base_score:.4f} to {c.candidate_score:.4f}, "
        "{d.value:+.1f} points ({level} from {d.low:+.1f} to {d.high:+.1f}).",
        d=c.in_points,
        **fields,
    )


def _verdict(c: Comparison) -> str:
    fields = {"items": _items(c), "evidence": _evidence(c)}
    if c.verdict == "better":
        return say("Better, and not by chance, at {items} ({evidence}).", **fields)
    if c.verdict == "worse":
        return say("Worse, and not by chance, at {items} ({evidence}).", **fields)
    if c.verdict == "undecided":
        return say("Undecided at {items} ({evidence}).", **fields)
    if c.verdict == "borderline" and c.difference.excludes_zero:
        return say(
            "Borderline at {items}: the interval leaves out zero (p = {p:.3g}), but the exact test does not reject "
            "({evidence}).",
            p=c.found.p_holm,
            **fields,
        )
    if c.verdict == "borderline":
        return say(
            "Borderline at {items}: the exact test rejects, but the interval holds zero ({evidence}).",
            **fields,
        )
    fields |= {"margin": margin_in_words(c.margin, c.lower_is_better), "level": percent(c.found.within_level)}
    if c.difference.excludes_zero:
        return say(
            "Equivalent within {margin} at {items}: there is a difference, and the {level} interval lies inside the "
            "margin ({evidence}).",
            **fields,
        )
    return say(
        "Equivalent within {margin} at {items}: the {level} interval lies inside ({evidence}).", **fields
    )


def _items(c: Comparison) -> str:
    if c.of_prompts:
        return say("n = {n} instructions of {clusters} prompts", n=c.n, clusters=c.clusters)
    if c.clusters:
        return say("n = {n} in {clusters} clusters", n=c.n, clusters=c.clusters)
    return say("n = {n}, items taken as independent", n=c.n)


def _evidence(c: Comparison) -> str:
    p = say("{c.test} p = {c.p_value:.3g}", c=c)
    if c.p_holm != c.p_value:
        p = say("{p}, {corrected:.3g} after Holm", p=p, corrected=c.p_holm)
    if c.discordant is None:
        return p
    if c.discordant.share == 0:
        return say("{p}; the same outcome on every item", p=p)
    return say(
        "{p}; only the base is right on {t.only_base} items, only the candidate on {t.only_candidate}",
        p=p,
        t=c.discordant,
    )


def _needed(c: Comparison) -> str:
    margin = margin_in_words(c.margin, c.lower_is_better)
    if c.items_to_decide is None:
        return say(
            "With answers like these, no benchmark is large enough to decide at {margin}.", margin=margin
        )
    return say(
        "With answers like these, about {items:,} items decide at a margin of {margin}.",
        items=c.items_to_decide,
        margin=margin,
    )
