"""Tables for reading results: scores, verdicts, and the answers on which two models part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exaone_nb.paths import DATA
from exaone_nb.results import RunFolder
from exaone_nb.score.compare import Comparison
from exaone_nb.score.evaluate import Score
from exaone_nb.score.samples import read_rows
from exaone_nb.statistics import paired as statistics

if TYPE_CHECKING:
    import pandas as pd


def score_table(scores: Sequence[Score]) -> pd.DataFrame:
    """One row per model and task: score, interval, and what became of the items that were not right."""
    import pandas as pd

    return pd.DataFrame(
        {
            "model": s.recipe,
            "task": s.task,
            "metric": s.metric,
            "score": round(s.value, 4),
            "95 %": f"{s.interval[0]:.4f} to {s.interval[1]:.4f}",
            "n": s.n,
            "wrong": s.outcomes["wrong"],
            "unparsable": s.outcomes["unparsable"],
            "cut": s.outcomes["truncated"],
            "empty": s.outcomes["empty"],
        }
        for s in scores
    )


def verdict_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """One row per comparison, sorted by candidate: the verdict, its paired evidence, and the unpaired z beside it."""
    import pandas as pd

    def row(c: Comparison) -> dict[str, Any]:
        d = c.discordant
        return {
            "candidate": c.candidate,
            "task": c.task,
            "points": round(100 * c.difference, 1),
            "95 % paired": f"{100 * c.interval[0]:+.1f} to {100 * c.interval[1]:+.1f}",
            "verdict": c.verdict,
            "only base right": d.only_base if d else None,
            "only candidate right": d.only_candidate if d else None,
            "p McNemar": f"{c.p_value:.3g}",
            "p Holm": f"{c.p_holm:.3g}",
            "z unpaired": round(c.unpaired_z, 2),
            "p unpaired": f"{c.unpaired_p:.3g}",
            "recovery %": round(100 * c.recovery, 1) if c.recovery is not None else None,
        }

    return pd.DataFrame(row(c) for c in comparisons)


# The lecture's four gsm8k rows: right answers of 512 items (0.6484, 0.5977, 0.5645, 0.4727 as printed).
LECTURE_N = 512
LECTURE_COUNTS = {"flexible-extract": (332, 306), "strict-match": (289, 242)}


def lecture_table() -> pd.DataFrame:
    """The lecture's base and W4A16 rows, with standard errors and the unpaired z recomputed from their counts."""
    import math

    import pandas as pd

    rows = []
    for filter_name, counts in LECTURE_COUNTS.items():
        accuracy = [count / LECTURE_N for count in counts]
        errors = [math.sqrt(a * (1 - a) / (LECTURE_N - 1)) for a in accuracy]
        z, p = statistics.unpaired_z(counts[0], LECTURE_N, counts[1], LECTURE_N)
        rows.append(
            {
                "filter": filter_name,
                "base": f"{accuracy[0]:.4f} ± {errors[0]:.4f}",
                "W4A16": f"{accuracy[1]:.4f} ± {errors[1]:.4f}",
                "drop (points)": round(100 * (accuracy[0] - accuracy[1]), 1),
                "unpaired z": round(z, 2),
                "p": round(p, 3),
            }
        )
    return pd.DataFrame(rows)


def parted_answers(run: RunFolder, base: Score, candidate: Score, most: int = 4) -> pd.DataFrame:
    """Items that the base gets right and the candidate wrong, with both answers in full."""
    import pandas as pd

    metric, _, filter_name = base.metric.partition(",")
    by_hash = []
    for score in (base, candidate):
        rows = read_rows(run.path / score.samples_file)
        by_hash.append({r["doc_hash"]: r for r in rows if r["filter"] == filter_name})
    parted = [
        (a, by_hash[1][key])
        for key, a in by_hash[0].items()
        if key in by_hash[1] and a[metric] and not by_hash[1][key][metric]
    ]
    return pd.DataFrame(
        {
            "question": a["doc"].get("question", ""),
            "right": a["target"],
            base.recipe: answer_text(a),
            candidate.recipe: answer_text(b),
        }
        for a, b in parted[:most]
    )


def answer_text(row: dict[str, Any]) -> str:
    """The model's answer of one logged sample on one line; for choices, the log-likelihood of each."""
    responses = row["resps"]
    if len(responses) == 1 and isinstance(responses[0][0], str):
        return "; ".join(line for line in responses[0][0].strip().splitlines() if line)
    return ", ".join(f"{float(r[0][0]):.2f}" for r in responses)


def benchmark_table() -> pd.DataFrame:
    """Benchmarks of lm-eval beside gsm8k and in Korean, with the requests and tokens a whole run takes."""
    import pandas as pd

    table = pd.read_csv(
        DATA / "benchmarks.csv",
        dtype=dict.fromkeys(("items", "choices", "requests", "answer_tokens"), "Int64"),
    )
    table["generated at most"] = table["items"] * table["answer_tokens"]
    names = {"what": "about", "answer_tokens": "tokens per answer"}
    order = [
        "task",
        "language",
        "about",
        "items",
        "choices",
        "shots",
        "requests",
        "generated at most",
        "source",
        "date",
    ]
    return table.rename(columns=names)[order].astype(object).fillna("")
