"""Scores and comparisons as tables and figures: what came out, what is real, and what a number of items can see."""

import math
from collections.abc import Sequence
from typing import Any

from exaone_nb.library_types import Figure
from exaone_nb.messages import say
from exaone_nb.paths import DATA
from exaone_nb.results import RunFolder
from exaone_nb.score.compare import Comparison
from exaone_nb.score.evaluate import Score
from exaone_nb.score.samples import read_rows
from exaone_nb.show.figures import BLUE, FAINT, INK, STYLES, VERMILLION, Style, clean
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics import paired, planning
from exaone_nb.written import read_csv

# Shape and colour both carry the verdict.
LOOKS = {
    "worse": Style(VERMILLION, marker="v"),
    "better": Style(BLUE, marker="^"),
    "within noise": Style(INK, marker="o"),
    "identical": Style(INK, marker="s"),
}
# The lecture's four gsm8k rows: right answers of 512 items (0.6484, 0.5977, 0.5645, 0.4727 as printed).
LECTURE_N = 512
LECTURE_COUNTS = {"flexible-extract": (332, 306), "strict-match": (289, 242)}


def score_table(scores: Sequence[Score]) -> Table:
    """One row per model and task: score, interval, and what became of the items that were not right."""
    columns = [
        Column("recipe", say("model"), code=True),
        Column("runs_as", say("the engine ran it as"), code=True),
        Column("task", say("task"), code=True),
        Column("metric", say("metric"), code=True),
        Column("estimate", say("score, 95 %"), ".4f"),
        Column("n", say("n"), ","),
        Column("wrong", say("wrong"), ","),
        Column("unparsable", say("unparsable"), ","),
        Column("truncated", say("cut"), ","),
        Column("empty", say("empty"), ","),
        Column("seconds", say("seconds"), ".0f", missing=say("before")),
    ]
    rows = [
        vars(s) | s.outcomes | {"n": s.estimate.n, "seconds": None if s.resumed else s.seconds}
        for s in scores
    ]
    return Table(columns, rows).without_empty()


def verdict_table(comparisons: Sequence[Comparison]) -> Table:
    """One row per comparison: the verdict, its paired evidence, and the unpaired p beside it."""
    columns = [
        Column("candidate", say("candidate"), code=True),
        Column("task", say("task"), code=True),
        Column("difference", say("points, 95 % paired"), "+.1f", scale=100),
        Column("verdict", say("verdict")),
        Column("only_base", say("only base right")),
        Column("only_candidate", say("only candidate right")),
        Column("p_value", say("p McNemar"), ".3g"),
        Column("p_holm", say("p Holm"), ".3g"),
        Column("unpaired_p", say("p unpaired"), ".3g"),
        Column("recovery", say("recovery"), ".1%"),
    ]
    rows = [
        vars(c) | (vars(c.discordant) if c.discordant else {}) | {"recovery": c.recovery and c.recovery.value}
        for c in comparisons
    ]
    return Table(columns, rows).without_empty()


def lecture_table() -> Table:
    """The lecture's base and W4A16 rows, with standard errors and the unpaired z recomputed from their counts."""
    columns = [
        Column("filter", say("filter"), code=True),
        Column("base", say("base"), ".4f"),
        Column("base_error", say("± standard error"), ".4f"),
        Column("candidate", say("W4A16"), ".4f"),
        Column("candidate_error", say("± standard error"), ".4f"),
        Column("drop", say("drop, points"), ".1f", scale=100),
        Column("z", say("unpaired z"), ".2f"),
        Column("p", say("p"), ".3f"),
    ]
    names, rows = [column.name for column in columns], []
    for name, counts in LECTURE_COUNTS.items():
        base, candidate = (right / LECTURE_N for right in counts)
        before, after = (math.sqrt(a * (1 - a) / (LECTURE_N - 1)) for a in (base, candidate))
        z, p = paired.unpaired_z(counts[0], LECTURE_N, counts[1], LECTURE_N)
        values = (name, base, before, candidate, after, base - candidate, z, p)
        rows.append(dict(zip(names, values, strict=True)))
    return Table(columns, rows)


def parted_answers(run: RunFolder, base: Score, candidate: Score, most: int = 4) -> Table:
    """Items that the base gets right and the candidate wrong, with both answers in full."""
    metric, _, filter_name = base.metric.partition(",")
    before, after = (
        {row["doc_hash"]: row for row in read_rows(run.path / s.samples_file) if row["filter"] == filter_name}
        for s in (base, candidate)
    )
    columns = [
        Column("question", say("question")),
        Column("target", say("right")),
        Column("base", base.recipe),
        Column("candidate", candidate.recipe),
    ]
    rows = [
        {
            "question": row["doc"].get("question", ""),
            "target": row["target"],
            "base": answer_text(row),
            "candidate": answer_text(after[key]),
        }
        for key, row in before.items()
        if key in after and row[metric] and not after[key][metric]
    ]
    return Table(columns, rows[:most])


def answer_text(row: dict[str, Any]) -> str:
    """The model's answer of one logged sample on one line; for choices, the log-likelihood of each."""
    responses = row["resps"]
    if len(responses) == 1 and isinstance(responses[0][0], str):
        return "; ".join(line for line in responses[0][0].strip().splitlines() if line)
    return ", ".join(f"{float(r[0][0]):.2f}" for r in responses)


def benchmark_table() -> Table:
    """Benchmarks of lm-eval beside gsm8k and in Korean, with the requests and tokens a whole run takes."""
    columns = [
        Column("task", say("task"), code=True),
        Column("language", say("language")),
        Column("what", say("about")),
        Column("items", say("items"), ","),
        Column("requests", say("requests"), ","),
        Column("generated", say("generated at most"), ","),
        Column("source", say("source")),
        Column("date", say("date")),
    ]
    rows: list[dict[str, Any]] = [dict(row) for row in read_csv(DATA / "benchmarks.csv")]
    for row in rows:
        for name in ("items", "choices", "shots", "requests", "answer_tokens"):
            row[name] = int(row[name]) if row[name] else None
        per_answer = row["answer_tokens"]
        row["generated"] = None if per_answer is None else row["items"] * per_answer
    return Table(columns, rows)


def differences_figure(comparisons: Sequence[Comparison]) -> Figure:
    """One line per comparison: the difference in points with its 95 % interval, zero marked."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.42 * len(comparisons)), layout="constrained")
    used = set()
    for row, c in enumerate(comparisons):
        look, points = LOOKS[c.verdict], c.difference * 100
        axes.plot([points.low, points.high], [row, row], color=look.colour, linewidth=2)
        label = None if c.verdict in used else c.verdict
        axes.plot(points.value, row, look.marker, color=look.colour, markersize=8, label=label)
        used.add(c.verdict)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(comparisons)), [f"{c.candidate} · {c.task}" for c in comparisons])
    axes.invert_yaxis()
    axes.set_xlabel(say("difference to the base in points, with its paired 95 % interval"))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    clean(axes, "x")
    return figure


def visible_drops_figure(shares: Sequence[float], marks: Sequence[tuple[str, int]]) -> Figure:
    """Smallest visible drop in points against the number of items, one line per share of differing items."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    counts = np.unique(np.geomspace(20, 20000, 60).astype(int))
    for share, look in zip(shares, STYLES, strict=False):
        drops = [planning.smallest_drop(int(n), share) for n in counts]
        points = [np.nan if drop is None else 100 * drop for drop in drops]
        label = say("{share:.0%} of items differ", share=share)
        axes.plot(counts, points, color=look.colour, linestyle=look.line, linewidth=2, label=label)
    for label, n in marks:
        axes.axvline(n, color=FAINT, linewidth=0.8)
        words = {"rotation": 90, "ha": "right", "va": "bottom", "fontsize": 8, "color": INK}
        axes.text(0.96 * n, 0.03, label, transform=axes.get_xaxis_transform(), **words)
    axes.set(xscale="log", yscale="log", xlabel=say("items"), ylabel=say("smallest drop seen (points)"))
    axes.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.legend(frameon=False)
    clean(axes)
    return figure
