"""The inference chapter's tables: speed, the hackathon's clock, where answers part, kernels, other engines' commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from exaone_nb import catalog
from exaone_nb.engines.commands import launch_commands
from exaone_nb.engines.environment import machine_sentence
from exaone_nb.gpus import find_gpu
from exaone_nb.messages import say
from exaone_nb.paths import DATA
from exaone_nb.quantization.kernels import Support, on_cpu, on_gpu
from exaone_nb.serve.bench import Bench
from exaone_nb.serve.checkpoints import Candidate
from exaone_nb.serve.difference import Difference, first_difference
from exaone_nb.serve.speed import PerToken
from exaone_nb.show.table import Column, Table, columns
from exaone_nb.statistics.estimate import Estimate


def speed_rows(found: Sequence[Bench]) -> list[dict[str, Any]]:
    """One row per measurement and batch size, as data/measured/speed_*.json has them."""
    return [
        {
            "name": bench.model if bench.weights == "real" else bench.scheme,
            "scheme": bench.scheme,
            "runs_as": bench.runs_as,
            "kernel": bench.kernel,
            **row,
        }
        for bench in found
        for row in bench.decode_documents()
    ]


def recorded(name: str) -> dict[str, Any]:
    """A measurement kept in data/measured/, with its date and machine; its rows are those of `speed_rows`."""
    document = catalog.read_config(DATA / "measured" / f"{name}.json")
    rows = [{"name": row["scheme"], "runs_as": row["scheme"]} | row for row in document["rows"]]
    return document | {"rows": rows}


def label_of(row: dict[str, Any]) -> str:
    """The row's name, with the scheme that it really ran as where that is another."""
    if row["runs_as"] == row["scheme"]:
        return row["name"]
    return say("{name} run as {other}", name=row["name"], other=row["runs_as"])


def rate_of(row: dict[str, Any]) -> Estimate:
    """Generated tokens per second of a row, with its interval."""
    low, high = row.get("tokens_per_second_interval") or (None, None)
    return Estimate(row["tokens_per_second"], low, high, row.get("repeats", 0))


def speed_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Prefill and decode apart, the share of the roof that was reached, and what it was computed with."""
    shown = [
        Column("name", "checkpoint"),
        Column("batch"),
        Column("first_token_seconds", "first token, ms", ",.1f", 1e3),
        Column("seconds_per_token", "per token, ms", ",.2f", 1e3),
        Column("rate", "tokens/s (95 % interval)", ",.1f"),
        Column("roofline_fraction", "of the roof", ".1%"),
        Column("roofline_bound", "bound by"),
        Column("runs_as", "runs as", code=True),
        Column("kernel", code=True),
    ]
    return Table(shown, [row | {"rate": rate_of(row)} for row in rows]).without_empty()


def speed_words(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in words, for alt text."""
    parts = [
        say(
            "{name} at batch {batch}: {rate:,.1f}",
            name=label_of(r),
            batch=r["batch"],
            rate=r["tokens_per_second"],
        )
        for r in rows
    ]
    return say("Generated tokens per second: {parts}.", parts="; ".join(parts))


def comparison_words(rows: Sequence[dict[str, Any]]) -> str:
    """What rows say against their first, and whether their intervals are apart."""
    base, sentences = rows[0], []
    for row in rows[1:]:
        mine, theirs = rate_of(row), rate_of(base)
        touch = mine.interval and theirs.interval and mine.low <= theirs.high and theirs.low <= mine.high
        sentences.append(
            say(
                "{name} writes {ratio:.1f} times as fast as {base} in the mean ({decided}), and its first token takes "
                "{first:.2f} s against {other:.2f} s.",
                name=row["name"],
                base=base["name"],
                ratio=mine.value / theirs.value,
                decided=say("the intervals touch, so these repeats do not decide it")
                if touch
                else say("the intervals are apart"),
                first=row["first_token_seconds"],
                other=base["first_token_seconds"],
            )
        )
    return " ".join(sentences)


def eight_bit_words(rows: Sequence[dict[str, Any]]) -> str:
    """A warning where a 4-bit file with 16-bit activations was run with 8-bit ones; empty elsewhere."""
    found = dict.fromkeys(label_of(row) for row in rows if row["runs_as"] != row["scheme"])
    if not found:
        return ""
    return say(
        "{names}: on a CPU with AMX vLLM rounds the activations of 4-bit files to 8 bits (VLLM_CPU_INT4_W4A8 is 1 by "
        "default). The figures here are of that, not of 16-bit activations.",
        names=", ".join(found),
    )


def per_token_table(timed: Mapping[str, PerToken]) -> Table:
    """The hackathon's figures by name: milliseconds per token, SpeedNorm against the first, the length tail."""
    shown = [
        Column("checkpoint"),
        Column("seconds_per_token", say("ms per token (95 % interval)"), ".3f", 1e3),
        Column("speed_norm", say("SpeedNorm (95 % interval)"), ".3f"),
        Column("n", say("questions")),
        Column("median", say("tokens, median"), "g"),
        *columns(("longest", "cut off", "empty")),
        Column("tail_share", say("time of the last 5 %"), ".0%"),
    ]
    base = next(iter(timed.values()))
    rows = [
        {
            "checkpoint": name,
            "seconds_per_token": found.seconds_per_token,
            "speed_norm": found.speed_norm(base) if len(timed) > 1 else None,
            "cut off": found.lengths.cut_off,
            "tail_share": found.lengths.tail_share,
            **asdict(found.lengths),
        }
        for name, found in timed.items()
    ]
    return Table(shown, rows).without_empty()


def bench_notes(found: Bench, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What a reader of one measurement must know beside its numbers."""
    asked = found.parameters
    yield from found.remarks
    if words := eight_bit_words(rows):
        yield words
    if found.per_token is not None and found.per_token.longest_allowed < asked["max_gen_toks"]:
        yield say(
            "Answers were cut off at {allowed:,} tokens, not at {asked:,}: max_model_len is {room:,}.",
            allowed=found.per_token.longest_allowed,
            asked=asked["max_gen_toks"],
            room=asked["max_model_len"],
        )
    if asked["enforce_eager"]:
        yield say(
            "Not compiled, which is the choice on a CPU; --compiled measures what `vllm serve` does by default."
        )
    yield say(
        "Started in {seconds:.1f} s. {machine}; memory {bandwidth:.1f} GB/s ({how}).",
        seconds=found.start_seconds,
        machine=machine_sentence(),
        bandwidth=found.roof.bandwidth / 1e9,
        how=found.roof.how,
    )


def _differences(base: Candidate, other: Candidate, tokenizer: Any) -> list[Difference | None]:
    pairs = zip(base.answers, other.answers, strict=True)
    return [first_difference(mine, theirs, tokenizer) for mine, theirs in pairs]


def difference_table(candidates: Sequence[Candidate], tokenizer: Any, limit: int = 3) -> Table:
    """The first `limit` places where a candidate's answers leave the baseline's.

    Gaps are in nats: how much more likely each model found its own token than the other's.
    """
    rows = []
    for candidate in candidates[1:]:
        found = enumerate(_differences(candidates[0], candidate, tokenizer))
        for number, place in [(n, d) for n, d in found if d is not None][:limit]:
            rows.append({"checkpoint": candidate.recipe, "question": number} | vars(place))
    shown = [
        *columns(("checkpoint", "question")),
        Column("common", "the same until"),
        Column("base_token", "baseline goes on", code=True),
        Column("other_token", "candidate goes on", code=True),
        Column("position", "at token"),
        Column("base_gap", "gap, baseline", ".2f"),
        Column("other_gap", "gap, candidate", ".2f"),
    ]
    return Table(shown, rows)


def agreement_table(candidates: Sequence[Candidate], tokenizer: Any) -> Table:
    """How many answers stay the same to the last token."""
    rows = []
    for candidate in candidates[1:]:
        found = _differences(candidates[0], candidate, tokenizer)
        same = sum(place is None for place in found)
        counts = {"questions": len(found), "identical": same, "different": len(found) - same}
        rows.append({"checkpoint": candidate.recipe} | counts)
    return Table(columns(("checkpoint", "questions", "identical", "different")), rows)


def kernel_table(schemes: Sequence[str], gpus: Sequence[str] = ("T4", "L4", "H100-SXM")) -> Table:
    """What vLLM runs a scheme with, on this kind of CPU and on some cards."""

    def words(support: Support) -> str:
        if not support.runs:
            return say("does not run") if support.answer == "no" else say("not known")
        if support.runs_as:
            return say("{kernel} (as {other})", kernel=support.kernel, other=support.runs_as)
        return say("{kernel} ({compute})", kernel=support.kernel, compute=support.compute)

    cards = [find_gpu(name) for name in gpus]
    rows = [
        {"scheme": scheme, "this CPU": words(on_cpu(scheme))}
        | {c.name: words(on_gpu(scheme, c)) for c in cards}
        for scheme in schemes
    ]
    return Table(
        [Column("scheme", code=True), *columns(["this CPU", *(card.name for card in cards)], code=True)], rows
    )


def command_table(model: str) -> Table:
    """How to start other engines with a catalog model, and what their flags were looked up in."""
    shown = [
        Column("engine"),
        Column("least", "least version"),
        Column("command", code=True),
        Column("remark"),
        Column("source", "from"),
        Column("checked", "flags looked up in"),
    ]
    return Table(shown, [vars(entry) for entry in launch_commands(model)])
