"""Which candidate to submit, in words, with the reasons and with what the numbers cannot decide."""

from __future__ import annotations

from dataclasses import dataclass

from exaone_nb.score.scoreboard import BoardRow, Scoreboard

# A candidate that comes out first in fewer of the draws than this has no real chance to be the best.
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Recommendation:
    """`choice` is the recipe named; `reasons` stand for it, `cautions` against trusting it too far."""

    choice: str
    headline: str
    reasons: tuple[str, ...]
    cautions: tuple[str, ...]

    def text(self) -> str:
        """All of it as plain lines."""
        return "\n".join([self.headline, *(f"- {line}" for line in (*self.reasons, *self.cautions))])


def recommend(board: Scoreboard) -> Recommendation:
    """Among the candidates with a real chance to be the best, the smallest file that nobody dominates.

    When scores are within noise of each other, something that was measured without noise may decide: the bytes.
    But not for a candidate that is hardly ever the best: a wide interval alone is no merit.
    """
    best = board.best
    equals = [row for row in board.rows if row.within_noise]
    contenders = [row for row in equals if row is best or row.share_best >= LEAST_SHARE]
    choice = min(contenders, key=lambda row: (bool(row.dominated_by), row.file_bytes, -row.score.value))
    base = board.row(board.baseline)
    if choice.recipe == board.baseline:
        headline = "Submit nothing yet: no candidate is better than the unquantized base beyond noise."
    elif len(equals) == 1:
        headline = f"Submit {choice.recipe}: its score is above every other candidate's beyond noise."
    elif choice is best:
        others = ", ".join(row.recipe for row in equals if row is not best)
        headline = f"Submit {choice.recipe}. It has the highest score, but {others} cannot be told from it."
    else:
        headline = (
            f"Submit {choice.recipe}. {best.recipe} scores higher, but within noise, and its file is larger by "
            f"{_megabytes(best.file_bytes - choice.file_bytes)}."
        )
    return Recommendation(
        choice.recipe, headline, tuple(_reasons(board, choice, base)), tuple(_cautions(board, choice, equals))
    )


def _reasons(board: Scoreboard, row: BoardRow, base: BoardRow) -> list[str]:
    lines = [
        f"Score {row.score.value:.3f}, 95 % from {row.score.low:.3f} to {row.score.high:.3f}; the base has "
        f"{base.score.value:.3f} by definition. It came out highest in {row.share_best:.0%} of the draws.",
        f"Accuracy {row.accuracy.value:.3f} over {board.items:,} items of {len(board.tasks)} "
        f"task{'s' if len(board.tasks) > 1 else ''}: {row.perf_norm.value:.1%} of the base "
        f"({row.perf_norm.low:.1%} to {row.perf_norm.high:.1%}).",
        f"{row.seconds_per_token.value * 1e3:.3g} ms per token, {_faster(row.speed_norm.value)} the base "
        f"(SpeedNorm {row.speed_norm.value:+.3f}, {row.speed_norm.low:+.3f} to {row.speed_norm.high:+.3f}).",
        f"{row.file_bytes:,} bytes, {row.file_bytes / base.file_bytes:.0%} of the base.",
    ]
    lines.append(
        f"Dominated by {', '.join(row.dominated_by)}."
        if row.dominated_by
        else "Nothing is better on all three axes."
    )
    return lines


def _cautions(board: Scoreboard, choice: BoardRow, equals: list[BoardRow]) -> list[str]:
    lines = [
        f"{row.recipe} has a smaller file and is within noise too, but it came out highest in only "
        f"{row.share_best:.1%} of the draws: it is there because its interval is wide."
        for row in equals
        if row.share_best < LEAST_SHARE and row.file_bytes < choice.file_bytes
    ]
    if len(equals) > 1:
        widest = max(equals, key=lambda row: row.behind.high)
        lines.append(
            f"{len(equals)} candidates are within noise of the best; {widest.recipe} could still be as much as "
            f"{widest.behind.high:.3f} behind."
        )
    unusable = [row for row in board.rows if row.unusable_answers]
    if unusable:
        worst = max(unusable, key=lambda row: row.unusable_answers)
        lines.append(
            f"{worst.recipe} gave {worst.unusable_answers} cut, empty or unreadable answers: they count as wrong here."
        )
    slower = [row.recipe for row in board.rows if row.speed_norm.high < 0]
    if slower:
        lines.append(
            f"{', '.join(slower)}: slower than the base on this machine. A GPU with kernels for the scheme can "
            "turn that around, so measure speed where the model will be judged."
        )
    if not board.paired:
        lines.append("Items were not aligned, so the intervals are wider than they need to be.")
    return lines


def _faster(speed_norm: float) -> str:
    ratio = 1 / (1 - speed_norm) if speed_norm < 1 else float("inf")
    return f"{ratio:.2f} times as fast as"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"
