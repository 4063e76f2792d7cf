"""A game: two scores of one submission each, and what somebody concluded from them. Real, noise, or open?

The cases and what is left of them are those of `leaderboard.conclusions_table`; a guess is judged by its verdicts.
"""

from collections.abc import Sequence

from exaone_nb.errors import UsageError
from exaone_nb.messages import say
from exaone_nb.score.leaderboard import (
    NOISE,
    OPEN,
    REAL,
    RerunNoise,
    TimeGroups,
    conclusions,
    verdict,
)
from exaone_nb.show.table import Column, Table
from exaone_nb.show.widgets import Widget

ANSWERS = (REAL, NOISE, OPEN)


def judged(answers: Sequence[str | None], split: TimeGroups, noise: RerunNoise) -> Table:
    """A row for each case that was answered, with what is left of its conclusion. Raises UsageError for other words."""
    found = conclusions()
    unknown = [answer for answer in answers if answer not in (None, *ANSWERS)]
    if unknown or len(answers) > len(found):
        raise UsageError(
            say(
                "{count} answers, among them {words}.",
                count=len(answers),
                words=unknown or say("none unknown"),
            ),
            expected=say("at most {most}, each real, noise, open or None.", most=len(found)),
        )
    rows = []
    for n, (answer, case) in enumerate(zip(answers, found, strict=False), 1):
        if answer is not None:
            right, words = verdict(case, split, noise)
            rows.append(vars(case) | {"case": n, "yours": answer, "right": answer == right, "verdict": words})
    columns = [
        Column("case"),
        Column("belief", say("what was concluded")),
        Column("yours", say("your answer")),
        Column("right", say("right?")),
        Column("verdict", say("what is left of it")),
        Column("what_differed", say("what differed")),
    ]
    return Table(columns, rows)


def told(table: Table) -> str:
    """The count of `judged`, in a sentence."""
    if not table.rows:
        return say("Not yet: write real, noise or open for a case, and run the cell again.")
    right = sum(row["right"] for row in table.rows)
    return say("{right} of {given} answers are right.", right=right, given=len(table))


def noise_widget(split: TimeGroups, noise: RerunNoise) -> Widget:
    """The same game for a page without a kernel."""
    labels = ((REAL, say("real")), (NOISE, say("noise")), (OPEN, say("open")))
    fields, data = [], []
    for n, case in enumerate(conclusions(), 1):
        label = say(
            "{n}. “{case.belief}”: {case.better:.4f} against {case.worse:.4f} (difference {case.difference:.4f}, "
            "one submission each)",
            n=n, case=case,
        )  # fmt: skip
        name = f"case{n}"
        options = [(answer, f"{label}({answer})" if label != answer else answer) for answer, label in labels]
        fields.append({"name": name, "label": label, "type": "choice", "options": options, "value": ""})
        right, words = verdict(case, split, noise)
        why = say(
            "{verdict}. What differed: {what}.", verdict=words, what=case.what_differed.replace("`", "")
        )
        data.append({"name": name, "right": right, "why": why})
    return {
        "kind": "noise",
        "title": say("Two scores: real, noise, or open?"),
        "fields": fields,
        "words": {
            "right": say("Right:"),
            "wrong": say("No:"),
            "sum": say(
                "{right} of {given} right; {all} cases.", right="{right}", given="{given}", all="{all}"
            ),
        },
        "data": data,
    }
