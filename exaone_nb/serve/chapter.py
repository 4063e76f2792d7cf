"""What chapter 06 does with the engines: rows for its tables, and the pass over a run's checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exaone_nb import catalog
from exaone_nb.conversation.answers import MODES, Answer, Engine, Message, Sampling
from exaone_nb.conversation.modes import against_repetition, goes_round, in_words, is_korean, recommended
from exaone_nb.engines.parallel import check_sizes
from exaone_nb.engines.vllm_engine import VllmEngine
from exaone_nb.errors import UsageError
from exaone_nb.gpus import find_gpu
from exaone_nb.paths import DATA
from exaone_nb.quantization.kernels import on_cpu, on_gpu
from exaone_nb.results import BASELINE, RunFolder
from exaone_nb.serve.bench import Bench, bench, pooled, questions
from exaone_nb.serve.difference import first_difference
from exaone_nb.serve.record import record

# The README asks how wonderful the model is, in its three languages, and which of two decimals is bigger.
README_PROMPTS = {
    "Korean": "너가 얼마나 대단한지 설명해 봐",
    "English": "Explain how wonderful you are",
    "Spanish": "Explica lo increíble que eres",
}
README_RIDDLE = "Which one is bigger, 3.12 vs 3.9?"


def ask(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def chat_rows(engine: Engine, prompts: Sequence[str], model: str, *, max_tokens: int) -> list[dict[str, Any]]:
    """Every prompt in both modes, sampled as the model's makers recommend.

    A prompt in Korean takes the temperature they give for it. An answer that was cut off going round in circles is asked
    for again with the presence penalty they name, where they name one.
    """
    rows = []
    for prompt in prompts:
        for mode in MODES:
            advice = recommended(model, mode, max_tokens=max_tokens, korean=is_korean(prompt))
            answer, again = engine.chat(ask(prompt), mode, advice.sampling), ""
            if answer.finish_reason == "length" and goes_round(answer.raw):
                firmer = against_repetition(advice)
                if firmer != advice:
                    advice, again = firmer, ", second try: the first went round in circles"
                    answer = engine.chat(ask(prompt), mode, advice.sampling)
            rows.append(
                {
                    "prompt": prompt,
                    "mode": mode,
                    "sampled": in_words(advice.sampling) + again,
                    "thought": answer.thought,
                    "answer": answer.text,
                    "tokens": answer.output_tokens,
                    "ended by": answer.finish_reason,
                }
            )
    return rows


def advice_rows(models: Sequence[str]) -> list[dict[str, Any]]:
    """The recommended sampling of models, with its source."""
    rows = []
    for model in models:
        for mode in MODES:
            found = recommended(model, mode)
            rows.append(
                {
                    "model": model,
                    "mode": mode,
                    "temperature": found.as_written,
                    "top_p": found.sampling.top_p if found.sampling.temperature else "",
                    "top_k": found.sampling.top_k or "",
                    "remark": found.remark,
                    "source": found.source,
                }
            )
    return rows


def parser_rows(tokenizer: Any, written: dict[str, str]) -> list[dict[str, Any]]:
    """What two of vLLM's reasoning parsers make of non-streamed answers: mode -> the text the model wrote."""
    from vllm.reasoning import ReasoningParserManager

    rows = []
    for name in ("deepseek_r1", "deepseek_v3"):
        kind = ReasoningParserManager.get_reasoning_parser(name)
        for mode, text in written.items():
            switch = {"enable_thinking": mode == "reasoning"}
            reasoning, content = kind(tokenizer, chat_template_kwargs=switch).extract_reasoning(text, None)
            rows.append(
                {"parser": name, "mode": mode, "reasoning": repr(reasoning), "content": repr(content)}
            )
    return rows


@dataclass(frozen=True)
class Candidate:
    """One checkpoint of the run: its measurement and its answers to the compared questions."""

    recipe: str
    found: Bench
    answers: tuple[Answer, ...]


def checkpoints(run: RunFolder, model: str) -> dict[str, Path]:
    """The run's checkpoints, the baseline first; when there are none, the model itself as baseline."""
    found = {name: run.checkpoint(name) for name in run.checkpoint_names()}
    return found if BASELINE in found else {BASELINE: catalog.weights_folder(model), **found}


def measure_checkpoints(
    run: RunFolder,
    model: str,
    *,
    rounds: int = 3,
    compare: int = 16,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> list[Candidate]:
    """Measure all checkpoints `rounds` times in turns, each time with a freshly started engine, and record them.

    A machine changes its speed within seconds, and one engine may lie better in memory than the next: repeats within
    one engine do not show that, and two checkpoints that run the same kernel seemed to differ by a third. So every
    second round goes backwards, and a round counts once. `settings` go to `bench`, `options` to the engine; `compare`
    questions are answered once, with log-probabilities.
    """
    if rounds < 1:
        raise UsageError(f"rounds is {rounds}.", expected="a whole number of at least 1.")
    places = checkpoints(run, model)
    found: dict[str, list[Bench]] = {recipe: [] for recipe in places}
    kept: dict[str, list[Answer]] = {recipe: [] for recipe in places}
    sampling = Sampling(max_tokens=64, logprobs=5)
    for number in range(rounds):
        for recipe in list(places) if number % 2 == 0 else reversed(list(places)):

            def answer(engine: VllmEngine, recipe: str = recipe) -> None:
                kept[recipe] = engine.chat_all(questions(compare), sampling=sampling)

            first = answer if compare and not number else None
            found[recipe].append(bench(str(places[recipe]), first=first, options=options, **settings))
    candidates = []
    for recipe, benches in found.items():
        whole = replace(pooled(benches), model=recipe)
        record(run, recipe, replace(whole, model=model))
        candidates.append(Candidate(recipe, whole, tuple(kept[recipe])))
    return candidates


def difference_rows(candidates: Sequence[Candidate], tokenizer: Any, limit: int = 3) -> list[dict[str, Any]]:
    """Where each candidate's answers leave the baseline's: how many do, and the first few places.

    Gaps are in nats: how much more likely each model found its own token than the other's.
    """
    base, rows = candidates[0], []
    for candidate in candidates[1:]:
        found = [
            first_difference(a, b, tokenizer) for a, b in zip(base.answers, candidate.answers, strict=True)
        ]
        for number, place in [(n, d) for n, d in enumerate(found) if d is not None][:limit]:
            rows.append(
                {
                    "checkpoint": candidate.recipe,
                    "question": number,
                    "the same until": place.common,
                    "baseline goes on": f"»{place.base_token}«",
                    "candidate goes on": f"»{place.other_token}«",
                    "at token": place.position,
                    "gap, baseline": place.base_gap,
                    "gap, candidate": place.other_gap,
                }
            )
    return rows


def agreement_rows(candidates: Sequence[Candidate], tokenizer: Any) -> list[dict[str, Any]]:
    """How many answers stay the same to the last token."""
    base = candidates[0]
    rows = []
    for candidate in candidates[1:]:
        found = [
            first_difference(a, b, tokenizer) for a, b in zip(base.answers, candidate.answers, strict=True)
        ]
        rows.append(
            {
                "checkpoint": candidate.recipe,
                "questions": len(found),
                "identical": sum(place is None for place in found),
                "different": sum(place is not None for place in found),
            }
        )
    return rows


def speed_rows(found: Sequence[Bench]) -> list[dict[str, Any]]:
    """One row per scheme and batch: seconds, tokens/s with interval, share of the roof, kernel."""
    rows = []
    for bench_ in found:
        for number, decode in enumerate(bench_.decodes):
            share, interval = bench_.fraction(number), decode.tokens_per_second.interval
            rows.append(
                {
                    "checkpoint": bench_.model if bench_.weights == "real" else bench_.scheme,
                    "batch": decode.batch,
                    "first token, ms": round(1e3 * decode.first_token.mean, 1),
                    "per token, ms": round(1e3 * decode.per_token.mean, 2),
                    "tokens/s": round(decode.tokens_per_second.mean, 1),
                    "95 % interval": f"{interval[0]:.1f} to {interval[1]:.1f}" if interval else "",
                    "of the roof": f"{share:.1%}" if share else "",
                    "roof bound by": bench_.roof_bounds[number] if bench_.roof_bounds else "",
                    "kernel": bench_.kernel,
                }
            )
    return rows


def per_token_rows(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """The hackathon's figures: milliseconds per token, SpeedNorm against the baseline, the length tail."""
    from exaone_nb.serve.speed import speed_norm

    base = candidates[0].found.per_token.seconds_per_token.mean
    rows = []
    for candidate in candidates:
        timed = candidate.found.per_token
        mean, interval, tail = timed.seconds_per_token.mean, timed.seconds_per_token.interval, timed.lengths
        rows.append(
            {
                "checkpoint": candidate.recipe,
                "ms per token": round(1e3 * mean, 3),
                "95 % interval": f"{1e3 * interval[0]:.3f} to {1e3 * interval[1]:.3f}" if interval else "",
                "SpeedNorm": round(speed_norm(mean, base), 3),
                "its interval": _norm_interval(candidate, candidates[0]),
                "tokens, median": tail.median,
                "longest": tail.longest,
                "cut off": tail.cut_off,
                "last 5 % took": f"{tail.tail_share:.0%} of the time",
            }
        )
    return rows


def _norm_interval(candidate: Candidate, base: Candidate) -> str:
    """95 % interval of a SpeedNorm over the rounds, each round's candidate against the same round's baseline."""
    from exaone_nb.serve.speed import estimate

    mine, theirs = (one.found.per_token.seconds_per_token.values for one in (candidate, base))
    if candidate is base or len(mine) != len(theirs):
        return ""
    interval = estimate([a / b for a, b in zip(mine, theirs, strict=True)]).interval
    return f"{1 - interval[1]:.3f} to {1 - interval[0]:.3f}" if interval else ""


def recorded_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Recorded decode rows (data/measured/speed_*.json) under the heads of `speed_rows`."""
    found = []
    for row in rows:
        interval, roof = row.get("tokens_per_second_interval"), row.get("roofline_tokens_per_second")
        found.append(
            {
                "scheme": row["scheme"],
                "batch": row["batch"],
                "first token, ms": round(1e3 * row["first_token_seconds"], 1),
                "per token, ms": round(1e3 * row["seconds_per_token"], 1),
                "tokens/s": round(row["tokens_per_second"], 1),
                "95 % interval": f"{interval[0]:.1f} to {interval[1]:.1f}" if interval else "",
                "roof, tokens/s": round(roof, 1) if roof else "",
                "of the roof": f"{row['tokens_per_second'] / roof:.1%}" if roof else "",
                "kernel": row["kernel"],
            }
        )
    return found


def recorded_words(rows: Sequence[dict[str, Any]]) -> str:
    """What recorded rows say against their first, and whether their intervals are apart."""
    base, said = rows[0], []
    for row in rows[1:]:
        mine, theirs = row["tokens_per_second_interval"], base["tokens_per_second_interval"]
        touch = mine[0] <= theirs[1] and theirs[0] <= mine[1]
        decided = (
            "the intervals touch, so these repeats do not decide it" if touch else "the intervals are apart"
        )
        said.append(
            f"{row['scheme']} writes {row['tokens_per_second'] / base['tokens_per_second']:.1f} times as fast as "
            f"{base['scheme']} in the mean ({decided}), and its first token takes "
            f"{row['first_token_seconds']:.2f} s against {base['first_token_seconds']:.2f} s."
        )
    return " ".join(said)


def kernel_rows(
    schemes: Sequence[str], gpus: Sequence[str] = ("T4", "L4", "H100-SXM")
) -> list[dict[str, Any]]:
    """What vLLM runs a scheme with, on this kind of CPU and on some cards; empty where it does not run."""
    rows = []
    for scheme in schemes:
        here = on_cpu(scheme)
        row = {"scheme": scheme, "x86 CPU": here.kernel if here.runs else "does not run"}
        for name in gpus:
            card = find_gpu(name)
            there = on_gpu(scheme, card)
            row[card.name] = f"{there.kernel} ({there.compute})" if there.runs else "does not run"
        rows.append(row)
    return rows


def runaway_seconds(seconds_per_step: float, tokens: int = 16384) -> float:
    """How long one answer that never stops keeps the batch open, at the speed of a single request."""
    return seconds_per_step * tokens


def about_copies(tensor_parallel_size: int, data_parallel_size: int, server: bool) -> str:
    """What several copies of the model change here; empty for one. Raises UsageError for sizes nothing can use."""
    check_sizes(tensor_parallel_size, data_parallel_size)
    if data_parallel_size == 1:
        return ""
    if not server:
        raise UsageError(
            f"DATA_PARALLEL_SIZE is {data_parallel_size}, and SERVER is off.",
            expected="the server: vLLM inside one process holds one copy of a model.",
            remedy="Set SERVER to True, or DATA_PARALLEL_SIZE to 1.",
        )
    return f"{data_parallel_size} copies of the model stand behind the server. Every speed below is that of one copy."


def recorded_answers() -> list[dict[str, Any]]:
    """What EXAONE-4.0-1.2B was seen to answer elsewhere; every row has its source and date."""
    import csv

    with open(DATA / "recorded_answers.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def recorded(name: str) -> dict[str, Any]:
    """A measurement kept in data/measured/, with its date and machine."""
    return catalog.read_config(DATA / "measured" / f"{name}.json")
