"""The inference chapter's tables: speed, the hackathon's clock, where answers part, kernels, other engines' commands."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.answers import Answer
from exaone_nb.engines.commands import launch_commands
from exaone_nb.engines.environment import machine_sentence
from exaone_nb.errors import UsageError
from exaone_nb.gpus import find_gpu
from exaone_nb.messages import say
from exaone_nb.quantization.kernels import Support, on_cpu, on_gpu
from exaone_nb.serve.bandwidth import REPEATS, Roof
from exaone_nb.serve.bench import Bench
from exaone_nb.serve.checkpoints import Candidate
from exaone_nb.serve.speed import PerToken
from exaone_nb.show.table import Column, Table, columns
from exaone_nb.statistics.estimate import Estimate


def speed_rows(found: Sequence[Bench]) -> list[dict[str, Any]]:
    """One row per measurement and batch size, as data/measured/speed_*.json has them."""
    same = ("scheme", "runs_as", "kernel")
    return [
        {"name": bench.model if bench.weights == "real" else bench.scheme}
        | {name: getattr(bench, name) for name in same}
        | row
        for bench in found
        for row in bench.decode_documents()
    ]


def recorded(name: str) -> dict[str, Any]:
    """A measurement kept in data/measured/, with its date and machine; its rows are those of `speed_rows`."""
    document = catalog.measured(name)
    rows = [{"name": row["scheme"], "runs_as": row["scheme"]} | row for row in document["rows"]]
    return document | {"rows": rows}


def label_of(row: dict[str, Any]) -> str:
    """The row's name, with the scheme that it really ran as where that is another."""
    same = row["runs_as"] == row["scheme"]
    return row["name"] if same else say("{row[name]} run as {row[runs_as]}", row=row)


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
        Column("roofline_bound", "bound by", ours=True),
        Column("runs_as", "runs as", code=True),
        Column("kernel", code=True),
    ]
    return Table(shown, [row | {"rate": rate_of(row)} for row in rows]).without_empty()


def speed_words(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in words, for alt text."""
    parts = "; ".join(
        say("{name} at batch {r[batch]}: {r[tokens_per_second]:,.1f}", name=label_of(row), r=row)
        for row in rows
    )
    return say("Generated tokens per second: {parts}.", parts=parts)


def comparison_words(rows: Sequence[dict[str, Any]]) -> str:
    """What rows say against the first of their batch, and whether their intervals are apart."""
    bases: dict[int, dict[str, Any]] = {}
    sentences = []
    for row in rows:
        base = bases.setdefault(row["batch"], row)
        if base is row:
            continue
        mine, theirs = rate_of(row), rate_of(base)
        decided = say("the intervals are apart")
        if mine.interval and theirs.interval and mine.low <= theirs.high and theirs.low <= mine.high:
            decided = say("the intervals touch, so these repeats do not decide it")
        fields = {"row": row, "base": base, "ratio": mine.value / theirs.value, "decided": decided}
        words = say(
            "At batch {row[batch]} {row[name]} writes {ratio:.1f} times as fast as {base[name]} in the mean ({decided}), "
            "and its first token takes {row[first_token_seconds]:.2f} s against {base[first_token_seconds]:.2f} s.",
            **fields,
        )
        sentences.append(words)
    return " ".join(sentences)


def eight_bit_words(rows: Sequence[dict[str, Any]]) -> str:
    """A warning where a 4-bit file with 16-bit activations was run with 8-bit ones; empty elsewhere."""
    names = ", ".join(dict.fromkeys(label_of(row) for row in rows if row["runs_as"] != row["scheme"]))
    words = say(
        "{names}: on a CPU with AMX vLLM rounds the activations of 4-bit files to 8 bits (VLLM_CPU_INT4_W4A8 is 1 by "
        "default). The figures here are of that, not of 16-bit activations.",
        names=names,
    )
    return words if names else ""


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
            **vars(found.lengths),
        }
        for name, found in timed.items()
    ]
    return Table(shown, rows).without_empty()


def budget_words(timed: Mapping[str, PerToken], asked: int) -> str:
    """What a time budget cut off the answers of a model that does not end them; "" where it cut nothing."""
    for name, found in timed.items():
        if found.budget_s and found.lengths.cut_off:
            return say(
                "{name}: {cut} of {n} answers did not end by themselves. They were cut at {allowed:,} tokens, not at "
                "{asked:,}, to keep within the time budget.",
                name=name, cut=found.lengths.cut_off, n=found.questions, allowed=found.longest_allowed, asked=asked,
            )  # fmt: skip
    return ""


def bench_notes(found: Bench, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What a reader of one measurement must know beside its numbers."""
    asked = found.parameters
    yield from found.remarks
    if words := eight_bit_words(rows):
        yield words
    timed = found.per_token
    if timed is not None and (words := budget_words({found.model: timed}, asked["max_gen_toks"])):
        yield words
    elif timed is not None and timed.longest_allowed < asked["max_gen_toks"]:
        yield say(
            "Answers were cut off at {cut:,} tokens, not at {p[max_gen_toks]:,}: max_model_len is {p[max_model_len]:,}.",
            **{"cut": timed.longest_allowed, "p": asked},
        )
    if asked["enforce_eager"]:
        yield say(
            "Not compiled, as is usual on a CPU; --compiled measures what `vllm serve` does by default."
        )
    facts = {"bench": found, "machine": machine_sentence(), "rate": found.roof.bandwidth / 1e9}
    yield say(
        "Started in {bench.start_seconds:.1f} s. {machine}; memory {rate:.1f} GB/s ({bench.roof.how}).",
        **facts,
    )


def bandwidth_table(roof: Roof, first: Sequence[dict[str, Any]], recorded: dict[str, Any]) -> Table:
    """Every memory bandwidth that the report shows, with how it was measured.

    `first` are the run's results of kind "machine", which the first chapter writes; `recorded` is a record of
    data/measured/ with its own.
    """
    best = say("the best of {n} times, {how}, on as many threads as the model had", n=REPEATS, how=roof.how)
    rows = [{"where": say("this chapter, now"), "how": best, "rate": roof.bandwidth}]
    rows += [
        {
            "where": say(
                "the first chapter of this run, {when:%Y-%m-%d %H:%M} UTC",
                when=datetime.fromisoformat(result["measured_at"]),
            ),
            "how": say("the median of {n} times, reading one array on all cores", n=result["n"]),
            "rate": result["value"],
        }
        for result in first
    ]
    how = say("the fastest of the same ways")
    where = say("recorded {r[date]}, {r[machine_in_words]}", r=recorded)
    rows.append({"where": where, "how": how, "rate": recorded["bandwidth_bytes_per_second"]})
    return Table(
        [Column("where"), Column("rate", "GB/s", ".1f", 1e-9), Column("how", say("measured how"))], rows
    )


def first_difference(base: Answer, other: Answer, tokenizer: Any) -> dict[str, Any] | None:
    """Where two greedy answers part, and how close the decision was there; None when the answers are the same.

    Quantization nudges every logit a little; the text changes only where the two best tokens were almost equal. After
    that token the two answers are about different things, and comparing further tokens means nothing. `position`
    counts output tokens from 0; the end of a turn is a token too. Gaps are how much more likely (in nats) each model
    found its own token, None where the other's token was not among the recorded alternatives: it was further away
    than those. Raises UsageError when an answer was made without logprobs.
    """
    if not base.top_logprobs or not other.top_logprobs:
        raise UsageError("These answers hold no log-probabilities.", remedy="Use Sampling(logprobs=5).")
    for position, (mine, theirs) in enumerate(zip_longest(base.token_ids, other.token_ids)):
        if mine != theirs:
            return {
                "position": position,
                "common": tokenizer.decode(list(base.token_ids[:position])),
                "base_token": _name(tokenizer, mine),
                "other_token": _name(tokenizer, theirs),
                "base_gap": _gap(base, position, theirs),
                "other_gap": _gap(other, position, mine),
            }
    return None


def _name(tokenizer: Any, token: int | None) -> str:
    """A token as a reader sees it; a part of a letter has no text of its own, and two of them would look the same."""
    text = say("(end)") if token is None else tokenizer.decode([token])
    return text if text and "\ufffd" not in text else say("(part of a letter, token {token})", token=token)


def _gap(answer: Answer, position: int, rival: int | None) -> float | None:
    if rival is None or position >= len(answer.top_logprobs):
        return None
    step, mine = answer.top_logprobs[position], answer.token_ids[position]
    return step[mine] - step[rival] if mine in step and rival in step else None


def _differences(base: Candidate, other: Candidate, tokenizer: Any) -> list[dict[str, Any] | None]:
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
            rows.append({"checkpoint": candidate.recipe, "question": number} | place)
    shown = [
        *columns(("checkpoint", "question")),
        Column("common", "the same until"),
        Column("base_token", "baseline goes on", code=True),
        Column("other_token", "candidate goes on", code=True),
        Column("position", "at token"),
        Column("base_gap", "gap, baseline", ".2g"),
        Column("other_gap", "gap, candidate", ".2g"),
    ]
    return Table(shown, rows)


def agreement_words(candidates: Sequence[Candidate], tokenizer: Any) -> str:
    """How many answers stay the baseline's to the last token, candidate by candidate."""
    parts = []
    for candidate in candidates[1:]:
        found = _differences(candidates[0], candidate, tokenizer)
        fields = {"recipe": candidate.recipe, "same": found.count(None), "n": len(found)}
        parts.append(say("{recipe} {same} of {n}", **fields))
    return say("Answers that are the baseline's to the last token: {parts}.", parts=", ".join(parts))


def kernel_table(schemes: Sequence[str], gpus: Sequence[str] = ("T4", "L4", "H100-SXM")) -> Table:
    """What vLLM runs a scheme with, on this kind of CPU and on some cards."""

    def words(support: Support) -> str:
        if not support.runs:
            return say("does not run") if support.answer == "no" else say("not known")
        if support.runs_as:
            return say("{kernel} (as {other})", kernel=support.kernel, other=support.runs_as)
        return say("{kernel} ({compute})", kernel=support.kernel, compute=support.compute)

    cards = {card.name: card for card in map(find_gpu, gpus)}
    rows = [
        {"scheme": scheme, "this CPU": words(on_cpu(scheme))}
        | {name: words(on_gpu(scheme, card)) for name, card in cards.items()}
        for scheme in schemes
    ]
    return Table(columns(["scheme", "this CPU", *cards], code=True), rows)


def command_table(model: str) -> Table:
    """How to start other engines with a catalog model, and what their flags were looked up in."""
    heads = [
        Column("engine"),
        Column("least", "least version"),
        Column("command", code=True),
        Column("remark"),
        Column("source", "from"),
        Column("checked", "flags looked up in"),
    ]
    return Table(heads, launch_commands(model))
