"""Which candidate to submit, in words, with the reasons and with what the numbers cannot decide."""

from collections.abc import Iterator
from dataclasses import dataclass

from exaone_nb.messages import say
from exaone_nb.score.outcomes import unusable_words
from exaone_nb.score.scoreboard import BoardRow, Scoreboard

# A candidate that comes out first in fewer of the draws than this has no real chance to be the best.
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Recommendation:
    """`choice` is the recipe named; `grounds` are the reasons for it, then the cautions against trusting it too far.

    `choice` is empty where nothing can be recommended; `grounds` then say why, and what to change.
    """

    choice: str
    headline: str
    grounds: tuple[str, ...]

    def text(self) -> str:
        return "\n- ".join([self.headline, *self.grounds])


def recommend(board: Scoreboard) -> Recommendation:
    """Among the candidates with a real chance to be the best, the smallest file that nobody dominates.

    When scores are within noise of each other, something that was measured without noise may decide: the bytes.
    But not for a candidate that is hardly ever the best: a wide interval alone is no merit. Nothing is recommended from
    tasks that say nothing about the model, nor where most answers of the base or of the choice could not be used.
    """
    best = board.best
    equals = [row for row in board.rows if row.within_noise]
    contenders = [row for row in equals if row is best or row.share_best >= LEAST_SHARE]
    choice = min(contenders, key=lambda row: (bool(row.dominated_by), row.file_bytes, -row.score.value))
    if obstacles := [*board.obstacles, *_unread(board, choice)]:
        headline = say("No candidate is recommended: these scores do not carry a choice.")
        return Recommendation("", headline, tuple(obstacles))
    if choice.recipe == board.baseline:
        headline = say("Submit nothing yet: no candidate is better than the unquantized base beyond noise.")
    elif len(equals) == 1:
        headline = say("Submit {row.recipe}: its score is above every other one's beyond noise.", row=choice)
    elif choice is best:
        tied = {"row": choice.recipe, "others": ", ".join(row.recipe for row in equals if row is not best)}
        headline = say("Submit {row}. It has the highest score, but {others} cannot be told from it.", **tied)
    else:
        fields = {"row": choice, "best": best, "more": (best.file_bytes - choice.file_bytes) / 1e6}
        headline = say(
            "Submit {row.recipe}. {best.recipe} scores higher, but within noise, and its file is larger by {more:,.2f} MB.",
            **fields,
        )
    grounds = (*_reasons(board, choice), *_cautions(board, choice, equals))
    return Recommendation(choice.recipe, headline, grounds)


def _unread(board: Scoreboard, choice: BoardRow) -> Iterator[str]:
    """The tasks on which most answers of the base, or else of the choice, say nothing, and what to change."""
    for row in dict.fromkeys((board.baseline, choice.recipe)):
        for task, kind in board.row(row).unread:
            yield unusable_words(kind, say("{recipe} on {task}", recipe=row, task=task))


def _reasons(board: Scoreboard, row: BoardRow) -> Iterator[str]:
    base, loser = board.row(board.baseline), ", ".join(row.dominated_by)
    yield say(
        "Score {row.score.value:.3f}, 95 % from {row.score.low:.3f} to {row.score.high:.3f}; the base has "
        "{base.score.value:.3f} by definition. It came out highest in {row.share_best:.0%} of the draws.",
        base=base,
        row=row,
    )
    yield say(
        "Accuracy {row.accuracy.value:.3f} over {board.items:,} items of {tasks}: {row.perf_norm.value:.1%} of the "
        "base ({row.perf_norm.low:.1%} to {row.perf_norm.high:.1%}).",
        board=board,
        tasks=", ".join(board.tasks),
        row=row,
    )
    yield say(
        "{ms.value:.3g} ms per token, {faster:.2f} times as fast as the base (SpeedNorm {row.speed_norm.value:+.3f}, "
        "{row.speed_norm.low:+.3f} to {row.speed_norm.high:+.3f}).",
        ms=row.seconds_per_token * 1e3,
        faster=base.seconds_per_token.value / row.seconds_per_token.value,
        row=row,
    )
    share = row.file_bytes / base.file_bytes
    yield say("{size:,} bytes, {share:.0%} of the base.", size=row.file_bytes, share=share)
    yield (
        say("Beaten on accuracy, bytes and speed by {names}.", names=loser)
        if loser
        else say("No other candidate beats it on accuracy, bytes and speed at once.")
    )


def _cautions(board: Scoreboard, choice: BoardRow, equals: list[BoardRow]) -> Iterator[str]:
    if names := ", ".join(board.passed_over):
        yield say(
            "{names}: GGUF files are passed over, since the judging server, vLLM, reads none.", names=names
        )
    for row in equals:
        if row.share_best < LEAST_SHARE and row.file_bytes < choice.file_bytes:
            yield say(
                "{row.recipe} has a smaller file and is within noise too, but it came out highest in only "
                "{row.share_best:.1%} of the draws: it is there because its interval is wide.",
                row=row,
            )
    if len(equals) > 1:
        yield say(
            "Others within noise of the best: {n}, of which {row.recipe} could still be as much as {row.behind.high:.3f} behind.",
            n=len(equals) - 1,
            row=max(equals, key=lambda row: row.behind.high),
        )
        if board.passed_over:
            yield say("These figures are without the files that were passed over; the table has them.")
    worst = max(board.rows, key=lambda row: row.unusable_answers)
    if worst.unusable_answers:
        yield say(
            "{w.recipe} gave {w.unusable_answers} cut, empty or unreadable answers, counted as wrong.",
            w=worst,
        )
    if slower := ", ".join(row.recipe for row in board.rows if row.speed_norm.high < 0):
        yield say(
            "{names}: slower than the base on this machine. A GPU with kernels for the scheme can turn that around, "
            "so measure speed where the model will be judged.",
            names=slower,
        )
    if not board.paired:
        yield say("Items were not aligned, so the intervals are wider than they need to be.")
