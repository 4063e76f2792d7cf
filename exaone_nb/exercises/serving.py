"""Exercises of the chapters on inference and speed: thought and answer, and what a clock says."""

from collections.abc import Sequence

from exaone_nb.exercises.exercise import Exercise
from exaone_nb.messages import say

END = "</think>"


def answer_of(written: str) -> str:
    """What the user should see: the text behind the thought, or all of it where there is no thought."""
    return written.split(END, 1)[-1].strip()


def time_per_output_token(first_token_seconds: float, total_seconds: float, output_tokens: int) -> float:
    """Seconds per token after the first one."""
    return (total_seconds - first_token_seconds) / (output_tokens - 1)


def batch_seconds(answer_tokens: Sequence[int], seconds_per_token: float) -> float:
    """When a batch is done, at the same seconds per token for all of it."""
    return max(answer_tokens) * seconds_per_token


def speed_norm(seconds_per_token: float, seconds_per_token_base: float) -> float:
    """The hackathon's speed: 0 for the base, 0.5 for half of its time per token."""
    return 1 - seconds_per_token / seconds_per_token_base


EXERCISES = (
    Exercise(
        answer_of,
        [("<think>\n3 + 4 = 7\n</think>\n\n7",), ("</think>\n\nSeoul.",), ("Seoul is the capital.",)],
        [
            (lambda written: written.split(END, 1)[1].strip() if END in written else None,
             say("without a thought the whole text is the answer; you lose it. That is the parser trap.")),
            (lambda written: written.split(END, 1)[1].strip() if END in written else "",
             say("without a thought the whole text is the answer; you lose it. That is the parser trap.")),
            (lambda written: written.split(END, 1)[0].strip(), say("that is the thought, not the answer.")),
            (lambda written: written.strip(),
             say("the thought is still in it: an evaluator would score it.")),
            (lambda written: written.split(END, 1)[-1],
             say("the line breaks behind the tag belong to neither: take them away.")),
        ],
    ),
    Exercise(
        time_per_output_token,
        [(0.5, 2.5, 21), (0.1, 0.9, 5)],
        [
            (lambda first, total, tokens: total / tokens,
             say("that mixes reading the prompt with writing: take the first token's time away.")),
            (lambda first, total, tokens: (total - first) / tokens,
             say("the first token's time is gone, so the first token must go too.")),
            (lambda first, total, tokens: (tokens - 1) / (total - first),
             say("that is tokens per second; the question is seconds per token.")),
        ],
    ),
    Exercise(
        batch_seconds,
        [([20, 35, 16_384], 0.01), ([50, 60], 0.02)],
        [
            (lambda tokens, seconds: sum(tokens) / len(tokens) * seconds,
             say("a batch is done when its *longest* answer is, not its average one.")),
            (lambda tokens, seconds: sum(tokens) * seconds,
             say("the answers are written side by side, not one after the other.")),
        ],
    ),
    Exercise(
        speed_norm,
        [(0.010, 0.010), (0.005, 0.010), (0.012, 0.010)],
        [
            (lambda seconds, base: 1 - base / seconds,
             say("the ratio is upside down: a faster candidate would lose points.")),
            (lambda seconds, base: base / seconds - 1,
             say("that is how many times faster it is, less one; the formula asks for the time that is saved.")),
            (lambda seconds, base: seconds / base,
             say("that is the share of time that is left; the score counts what was saved.")),
            (lambda seconds, base: base - seconds, say("seconds are no share: divide by the base.")),
        ],
    ),
)  # fmt: skip
