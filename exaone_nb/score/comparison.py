"""A comparison of two models, and how it is said: what changed, the verdict, and what it rests on."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from exaone_nb.messages import say
from exaone_nb.statistics.estimate import Estimate
from exaone_nb.statistics.paired import Discordant
from exaone_nb.statistics.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One candidate against the base on one task, or on the pooled tasks of a group (`parts`).

    `difference` is candidate minus base in the score's unit, with the interval of `found.level`; verdict, words and
    picture come from it. `p_value` is of the exact `test` beside it. `recovery` is the share of the base's score that
    is kept; None when the base scores 0. `discordant` is set for right-or-wrong items only, `clusters` where items
    share a template or a passage. With `of_prompts` items are instructions, clusters their prompts, and `prompt_level`
    the shares of prompts that base and candidate followed altogether. The `outcomes` count every answer of a side.
    `scale` is the highest score: 1, or 100 for a metric in percent. `part_of` names the group that a task was pooled
    into; a part is not corrected.
    """

    task: str
    metric: str
    base: str
    candidate: str
    n: int
    unmatched_base: int
    unmatched_candidate: int
    base_score: float
    candidate_score: float
    difference: Estimate
    within: Estimate
    margin: float
    found: Verdict
    test: str
    unpaired_z: float
    unpaired_p: float
    recovery: Estimate | None
    discordant: Discordant | None = None
    clusters: int | None = None
    lower_is_better: bool = False
    scale: float = 1.0
    parts: tuple[str, ...] = ()
    part_of: str = ""
    base_outcomes: dict[str, int] = field(default_factory=dict)
    candidate_outcomes: dict[str, int] = field(default_factory=dict)
    of_prompts: bool = False
    prompt_level: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def point(self) -> float:
        """What one point is in the score's unit: a hundredth of the highest score, or of the base's perplexity."""
        return (self.base_score if self.lower_is_better else self.scale) / 100

    @property
    def in_points(self) -> Estimate:
        """The difference in points."""
        return self.difference * (1 / self.point)

    @property
    def verdict(self) -> str:
        """better, worse, equivalent, borderline or undecided."""
        return self.found.name

    @property
    def p_value(self) -> float:
        """The exact p, uncorrected."""
        return self.found.p_exact

    @property
    def p_holm(self) -> float:
        """The exact p after Holm's correction for all questions asked together."""
        return self.found.p_exact_holm

    @property
    def items_to_decide(self) -> int | None:
        """About how many items would decide, where the verdict is borderline or undecided."""
        return self.found.items_to_decide

    @property
    def words(self) -> str:
        """The verdict with its evidence, in sentences."""
        return _words(self)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; an infinite z (identical answers within each model) becomes null."""
        document = asdict(self)
        found = document.pop("found")
        shown = ("verdict", "p_value", "p_holm", "items_to_decide", "words")
        document |= {name: getattr(self, name) for name in shown}
        document |= {name: found[name] for name in ("level", "within_level")}
        document |= {"p_score": self.found.p, "p_score_holm": self.found.p_holm}
        for name, key in (
            ("difference", "interval"),
            ("within", "within"),
            ("recovery", "recovery_interval"),
        ):
            estimate = getattr(self, name)
            document |= {name: estimate and estimate.value, key: estimate and estimate.interval}
        return document | ({} if math.isfinite(self.unpaired_z) else {"unpaired_z": None})


def _words(c: Comparison) -> str:
    """The verdict with its evidence."""
    told = [_change(c), _verdict(c)]
    if c.verdict in ("borderline", "undecided"):
        told.append(_needed(c))
    if c.prompt_level:
        told.append(say("All of a prompt's instructions: {p[0]:.4f} to {p[1]:.4f}.", p=c.prompt_level))
    if c.base_outcomes.get("unusable") or c.candidate_outcomes.get("unusable"):
        told.append(_unusable(c))
    if c.part_of:
        told.append(say("A part of {group}, not corrected for the other parts.", group=c.part_of))
    return " ".join(told)


def _unusable(c: Comparison) -> str:
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


def _percent(level: float) -> str:
    """A level as it is said: 95 %, 98.3 %."""
    return say("{level:.3g} %", level=100 * level)


def _margin(margin: float, relative: bool) -> str:
    """1 point of a score, or 1 % of a perplexity."""
    if relative:
        return _percent(margin)
    if margin == 0.01:
        return say("1 point")
    return say("{points:g} points", points=100 * margin)


def _change(c: Comparison) -> str:
    fields = {"c": c, "level": _percent(c.found.level)}
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
            "Borderline at {items}: the interval leaves out zero (p = {p:.3g}), but the test beside it does not reject "
            "({evidence}).",
            p=c.found.p_holm,
            **fields,
        )
    if c.verdict == "borderline":
        return say(
            "Borderline at {items}: the test beside the interval rejects, but the interval holds zero ({evidence}).",
            **fields,
        )
    fields |= {"margin": _margin(c.margin, c.lower_is_better), "level": _percent(c.found.within_level)}
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
    if c.of_prompts and c.clusters:
        return say("n = {n} instructions of {clusters} prompts", n=c.n, clusters=c.clusters)
    if c.clusters:
        return say("n = {n} in {clusters} clusters", n=c.n, clusters=c.clusters)
    return say("n = {n}, items taken as independent", n=c.n)


def _evidence(c: Comparison) -> str:
    tests = {
        "exact McNemar": say("exact McNemar"),
        "sign flip": say("sign flip"),
        "sign flip by cluster": say("sign flip by cluster"),
    }
    p = say("{test} p = {c.p_value:.3g}", test=tests[c.test], c=c)
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
    margin = _margin(c.margin, c.lower_is_better)
    if c.items_to_decide is None:
        return say(
            "With answers like these, no benchmark is large enough to decide at {margin}.", margin=margin
        )
    return say(
        "With answers like these, about {items:,} items decide at a margin of {margin}.",
        items=c.items_to_decide,
        margin=margin,
    )
