"""A sweep over users as a sentence, a table and a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from exaone_nb.conversation.answers import Answer
from exaone_nb.library_types import Figure
from exaone_nb.messages import joined, say
from exaone_nb.serve.capacity import Capacity, Level
from exaone_nb.serve.figures import draw_finished
from exaone_nb.serve.speed import lengths
from exaone_nb.show.figures import FAINT, INK, clean, style
from exaone_nb.show.table import Column, Table

# What `Level.broken` names, in words.
LIMITS = {"first token": say("first token"), "per token": say("per token"), "answer": say("answer")}

QUANTITIES = ("first_token", "per_token")


def load_words(found: Capacity, load: int) -> str:
    """A load in words: users at once, or requests per second."""
    if found.options.arrival == "rate":
        return say("{load} requests per second", load=load)
    return say("1 user") if load == 1 else say("{load} users at once", load=load)


def capacity_words(found: Capacity) -> str:
    """How many users within the limits, and what stops more of them."""
    limits = [say("first token within {s:g} s", s=found.options.first_token_s)]
    limits.append(say("{s:g} ms per token", s=round(1e3 * found.options.per_token_s, 3)))
    if found.options.answer_s:
        limits.append(say("the answer complete within {s:g} s", s=found.options.answer_s))
    fields = {"model": found.model or say("The server"), "limits": ", ".join(limits)}
    if found.over is None:
        return say(
            "{model} holds at least {load} ({limits}, for 95 % of the answers); more was not tried.",
            load=load_words(found, found.levels[-1].load), **fields,
        )  # fmt: skip
    fields["over"] = load_words(found, found.over.load)
    fields["why"] = reason_words(found)
    if found.within is None:
        return say("{model} does not hold {over} ({limits}, for 95 % of the answers): {why}.", **fields)
    return say(
        "{model} holds {load} ({limits}, for 95 % of the answers); what stops {over}: {why}.",
        load=load_words(found, found.within.load), **fields,
    )  # fmt: skip


def reason_words(found: Capacity) -> str:
    """What stopped a sweep, with the figures that say so."""
    over, options, seen = found.over, found.options, found.over.seen
    measured = {
        "first token": say("the first token takes {s:.2f} s", s=over.first_token(0.95).value),
        "per token": say("a token takes {ms:.1f} ms", ms=1e3 * over.per_token(0.95).value),
        "answer": say("an answer takes {s:.1f} s", s=over.complete(0.95).value),
    }
    figures = ", ".join(measured[name] for name in over.broken(options))
    share = found.roof_share
    words = {
        "cache": say("the cache, which is full while answers wait"),
        "seats": say("the server's own limit of answers at once"),
        "one long answer": say(
            "one long answer of {n:,} tokens, for which the others wait",
            n=max(answer.output_tokens for answer in over.answers),
        ),
        "compute": say("compute")
        if "per token" in over.broken(options)
        else say("compute, for reading the prompts"),
        "step": say(
            "the step, which grows with every answer; what this server's machine could do is not known"
        ),
        "bandwidth": say("bandwidth"),
        "overhead": say("neither compute nor bandwidth but the work around each step"),
    }[found.reason]
    if found.reason in ("cache", "seats"):
        return say(
            "{words} ({run:.0f} under way, {wait:.0f} waiting; {figures})",
            words=words, run=seen.running, wait=seen.waiting, figures=figures,
        )  # fmt: skip
    if share is not None and "per token" in over.broken(options):
        return say("{words} ({figures}, {share:.0%} of the roof)", words=words, figures=figures, share=share)
    return say("{words} ({figures})", words=words, figures=figures)


def capacity_table(found: Sequence[Capacity]) -> Table:
    """Every level: both waits at the median and the 95th percentile with intervals, and what the server said."""
    rate = bool(found) and found[0].options.arrival == "rate"
    columns = [
        Column("model", say("checkpoint")),
        Column("load", say("requests per second") if rate else say("users")),
        Column("n", say("answers")),
        Column("first_token", say("first token, ms, median"), ",.0f", 1e3),
        Column("first_token_95", say("95th percentile"), ",.0f", 1e3),
        Column("per_token", say("per token, ms, median"), ",.1f", 1e3),
        Column("per_token_95", say("95th percentile "), ",.1f", 1e3),
        Column("throughput", say("tokens/s of all"), ",.0f"),
        Column("running", say("most under way"), ".0f"),
        Column("waiting", say("waiting"), ".0f"),
        Column("cache", say("cache in use"), ".0%"),
        Column("broken", say("over the limit of")),
    ]
    rows = [_row(one, level) for one in found for level in one.levels]
    return Table(columns, rows).without_empty()


def _row(found: Capacity, level: Level) -> dict[str, Any]:
    row: dict[str, Any] = {"model": found.model, "load": level.load, "n": len(level.answers)}
    for name in QUANTITIES:
        measure = getattr(level, name)
        row |= {name: measure(), f"{name}_95": measure(0.95)}
    row |= {
        "throughput": level.throughput,
        "broken": joined([LIMITS[name] for name in level.broken(found.options)], ", "),
    }
    return row | (vars(level.seen) if level.seen else {})


def capacity_figure(found: Sequence[Capacity]) -> Figure:
    """Left: seconds to the first token against users. Right: milliseconds per token. One colour per checkpoint.

    The filled marker is the median, the hollow one the 95th percentile with its interval; the grey line is the limit.
    """
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
    options = found[0].options
    heads = (say("first token, s"), say("per token after it, ms"))
    limits = (options.first_token_s, 1e3 * options.per_token_s)
    for axes, name, head, limit, scale in zip(panels, QUANTITIES, heads, limits, (1, 1e3), strict=True):
        for place, one in enumerate(found):
            look, loads = style(place), [level.load for level in one.levels]
            median = [scale * getattr(level, name)().value for level in one.levels]
            high = [getattr(level, name)(0.95) * scale for level in one.levels]
            axes.plot(loads, median, label=one.model, **look.curve())
            reach = [[h.value - h.low for h in high], [h.high - h.value for h in high]]
            hollow = {"marker": look.marker, "mfc": "none", "linestyle": "none", "capsize": 3}
            axes.errorbar(loads, [h.value for h in high], reach, color=look.colour, **hollow)
        axes.axhline(limit, color=FAINT, linewidth=1.2)
        axes.annotate(
            say(" limit"),
            (0, limit),
            xycoords=("axes fraction", "data"),
            va="bottom",
            color=INK,
            fontsize=8.5,
        )
        loads = sorted({level.load for one in found for level in one.levels})
        axes.set_xscale("log", base=2)
        axes.set_xticks(loads, [str(load) for load in loads])
        axes.minorticks_off()
        unit = say("requests per second") if options.arrival == "rate" else say("users at once")
        axes.set(ylim=(0, None), xlabel=unit, ylabel=head)
        clean(axes)
    # Above the panels, where no curve, whisker or limit is.
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=len(found)
    )
    return figure


def capacity_alt(found: Sequence[Capacity]) -> str:
    """The figure in words."""
    parts = []
    for one in found:
        first, last = one.levels[0], one.levels[-1]
        parts.append(
            say(
                "{m}: from {a} to {b}, the slowest 5 % wait {f:.2f} s, then {g:.2f} s for the first token",
                m=one.model,
                a=load_words(one, first.load),
                b=load_words(one, last.load),
                f=first.first_token(0.95).value,
                g=last.first_token(0.95).value,
            )
        )
    return say(
        "Two panels against the load: first token and time per token. {parts}.", parts="; ".join(parts)
    )


def runaway_words(without: Sequence[Answer], with_one: Sequence[Answer]) -> str:
    """What one answer that ignores its end did to a batch."""
    before, after = lengths(without), lengths(with_one)
    return say(
        "{n} answers end after {before:.1f} s. With one of {longest:,} tokens among them the batch ends after {after:.1f} s. "
        "For the last {share:.0%} of that time nearly all, 95 % of the answers, are finished and wait.",
        n=after.n, before=before.seconds, longest=after.longest, after=after.seconds, share=after.tail_share,
    )  # fmt: skip


def runaway_figure(
    runs: Mapping[str, Sequence[Answer]], fast: Sequence[float], slow: Sequence[float]
) -> Figure:
    """Left: answers finished against time, with and without the runaway. Right: the leaderboard's two groups of runs.

    `fast` and `slow` are minutes on the hackathon's server, recorded.
    """
    import matplotlib.pyplot as plt

    shape = {"gridspec_kw": {"width_ratios": (3, 2)}, "layout": "constrained"}
    figure, (mine, theirs) = plt.subplots(1, 2, figsize=(9.6, 3.6), **shape)
    draw_finished(mine, runs)
    for row, (name, minutes) in enumerate(((say("slow group"), slow), (say("fast group"), fast))):
        look = style(1 - row)
        theirs.plot(minutes, [row] * len(minutes), look.marker, color=look.colour, mfc="none", label=name)
    theirs.set_yticks((0, 1), (say("slow group"), say("fast group")))
    theirs.set(ylim=(-0.6, 1.6), xlabel=say("minutes on the hackathon's server, recorded"))
    clean(theirs, "x")
    return figure
