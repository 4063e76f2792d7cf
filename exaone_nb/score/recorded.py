"""What others measured and what was measured once, as tables: the lecture's rows, sizes of benchmarks, simulations."""

import math
from typing import Any

from exaone_nb import catalog
from exaone_nb.anatomy.roofline import decode, prefill
from exaone_nb.anatomy.work import work_of
from exaone_nb.messages import say, translated
from exaone_nb.paths import DATA
from exaone_nb.show.table import Column, Table
from exaone_nb.statistics import paired
from exaone_nb.statistics.verdicts import RightOrWrong, judge
from exaone_nb.written import read_csv

# The lecture's four gsm8k rows: right answers of 512 items (0.6484, 0.5977, 0.5645, 0.4727 as printed).
LECTURE_N = 512
LECTURE_COUNTS = {"flexible-extract": (332, 306), "strict-match": (289, 242)}
# A question of an exam or of gsm8k, roughly; and how many an engine answers at once.
QUESTION_TOKENS = 100
BATCH = 256


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


def benchmark_table(model: str = "EXAONE-4.0-1.2B", gpu: str = "L4") -> Table:
    """Benchmarks of lm-eval beside gsm8k and in Korean: requests and tokens of a whole run, and its least time.

    The time is the roofline's, in 16-bit, BATCH requests at once, with QUESTION_TOKENS for a question and for each
    example before it: what a run takes at the very least, and good for comparing benchmarks with each other.
    """
    config = catalog.resolve(model).config()
    work = work_of(config)
    columns = [
        Column("task", say("task"), code=True),
        Column("language", say("language")),
        Column("what", say("about"), ours=True),
        Column("items", say("items"), ","),
        Column("requests", say("requests"), ","),
        Column("generated", say("generated at most"), ","),
        Column("minutes", say("minutes on {gpu} at least", gpu=gpu), ".1f"),
        Column("source", say("source")),
        Column("date", say("date")),
    ]
    rows: list[dict[str, Any]] = [dict(row) for row in read_csv(DATA / "benchmarks.csv")]
    for row in rows:
        for name in ("items", "choices", "shots", "requests", "answer_tokens"):
            row[name] = int(row[name]) if row[name] else None
        per_answer = row["answer_tokens"]
        row["generated"] = None if per_answer is None else row["items"] * per_answer
        prompt = QUESTION_TOKENS * (row["shots"] + 1)
        read = prefill(config, "BF16", gpu, batch=BATCH, tokens=prompt, work=work)
        write = decode(config, "BF16", gpu, batch=BATCH, context=prompt + (per_answer or 0) // 2, work=work)
        seconds = read.seconds + (per_answer or 0) * write.seconds
        row["minutes"] = row["requests"] / BATCH * seconds / 60
    return Table(columns, rows)


def nemo_table() -> Table:
    """Recorded: what NVIDIA's NeMo Evaluator says of the same counts at a margin of one point, beside our verdict."""
    columns = [
        Column("lost", say("lost"), ","),
        Column("won", say("won"), ","),
        Column("n", say("n"), ","),
        Column("verdict", say("verdict here"), ours=True),
        Column("p_here", say("p exact, two-sided"), ".3g"),
        Column("theirs", say("NeMo Evaluator 0.3.0")),
        Column("p", say("its p, one-sided"), ".3g"),
    ]
    rows = []
    for row in read_csv(DATA / "nemo_evaluator.csv"):
        lost, won, n = (int(row[name]) for name in ("lost", "won", "n"))
        p_exact = paired.mcnemar_exact(lost, won)
        (ours,) = judge([RightOrWrong(lost, won, n)], [p_exact], [0.01])
        found = {"verdict": ours.name, "p_here": p_exact, "theirs": row["verdict"], "p": float(row["p"])}
        rows.append({"lost": lost, "won": won, "n": n} | found)
    return Table(columns, rows)


def simulation_tables() -> tuple[Table, Table, str]:
    """Recorded: how often each interval held the truth, how often each test was wrong and right, and how it was done."""
    document = catalog.measured("intervals")
    rates = sorted({row["differing"] for row in document["tests"]})
    of_rates = [
        Column(f"{rate:g}", say("{rate:.1%} differ", rate=rate), ".1%", join=" / ", missing="–")
        for rate in rates
    ]
    of_rates.append(Column("all", say("all differ"), ".1%", missing="–"))
    tables = []
    for kind, name, heading in (("intervals", "interval", say("interval")), ("tests", "test", say("test"))):
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        for row in sorted(document[kind], key=lambda row: row[name]):
            found = rows.setdefault((row[name], row["n"]), {name: translated(row[name]), "n": row["n"]})
            rate = "all" if row["differing"] is None else f"{row['differing']:g}"
            found[rate] = row.get("coverage") or [row["size"], row["power"]]
        tables.append(
            Table(
                [Column(name, heading, ours=True), Column("n"), *of_rates], list(rows.values())
            ).without_empty()
        )
    how = say("{d[how]} {d[machine_in_words]}, {d[date]}.", d=document)
    return (*tables, how)


def four_ways_table(document: dict[str, Any]) -> Table:
    """One task asked in four ways (scripts/record_four_ways.py): how many are right, and how they agree item by item.

    The first way is what the others are held against. Answers count as the same without the white space around them.
    """
    columns = [
        Column("way", say("asked through")),
        Column("right", say("right")),
        Column("n", say("of")),
        Column("same", say("same answer as the first, to the letter")),
        Column("otherwise", say("another answer, same grade")),
        Column("grade", say("another grade")),
    ]
    ways, rows = document["ways"], []
    first = next(iter(ways.values()))
    for name, items in ways.items():
        pairs = list(zip(first, items, strict=True))
        same = [a["answer"].strip() == b["answer"].strip() for a, b in pairs]
        grade = [a["right"] == b["right"] for a, b in pairs]
        rows.append(
            {
                "way": translated(name),
                "right": sum(item["right"] for item in items),
                "n": len(items),
                "same": sum(same),
                "otherwise": sum(g and not s for s, g in zip(same, grade, strict=True)),
                "grade": grade.count(False),
            }
        )
    return Table(columns, rows)


def graders_table(document: dict[str, Any], ways: dict[str, Any]) -> Table:
    """What graders of simple-evals say of the answers of the first of `ways` (scripts/record_simple_evals.py).

    A benchmark whose grader was not asked has the reason instead of counts.
    """
    columns = [
        Column("benchmark", say("benchmark of simple-evals"), ours=True),
        Column("reads", say("what its grader reads"), ours=True),
        Column("right", say("right")),
        Column("n", say("of")),
        Column("same", say("same grade as lm-eval's")),
        Column("not_run", say("not asked, because"), ours=True),
    ]
    ours, rows = next(iter(ways["ways"].values())), []
    for row in document["rows"]:
        if items := row.get("items"):
            pairs = zip(items, ours, strict=True)
            row = row | {
                "right": sum(item["right"] for item in items),
                "n": len(items),
                "same": sum(item["right"] == own["right"] for item, own in pairs),
            }
        rows.append(row)
    return Table(columns, rows)
