"""Exercises of the chapters on scoring and the scoreboard: how sure a score is, and what it is worth."""

import math
import re

from exaone_nb.exercises.exercise import Exercise
from exaone_nb.messages import say


def last_number(answer: str) -> str | None:
    """The last number of an answer, as gsm8k's flexible filter reads it: digits, a sign, commas and a point."""
    found = re.findall(r"-?[\d,]*\d(?:\.\d+)?", answer)
    return found[-1] if found else None


def standard_error(correct: int, n: int) -> float:
    """Standard error of an accuracy from n questions."""
    share = correct / n
    return math.sqrt(share * (1 - share) / n)


def sign_test(lost: int, won: int) -> float:
    """p of the exact McNemar test, two sides: among questions that only one of two models got right, is it a fair coin?"""
    n, k = lost + won, min(lost, won)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def score(accuracy: float, accuracy_base: float, seconds: float, seconds_base: float) -> float:
    """The hackathon's score in its online phase."""
    return max(0.5 * accuracy / accuracy_base + 0.5 * (1 - seconds / seconds_base), 0.0)


EXERCISES = (
    Exercise(
        last_number,
        [("12 + 30 = 42. So 42 apples.",), ("It costs 1,250.50 won",), ("-3",), ("I do not know",)],
        [
            (lambda answer: (re.findall(r"-?[\d,]*\d(?:\.\d+)?", answer) or [None])[0],
             say("that is the first number: a question is repeated before it is answered.")),
            (lambda answer: (re.findall(r"\d+", answer) or [None])[-1],
             say("a number may have a sign, commas and a point.")),
            (lambda answer: (re.findall(r"-?[\d,]*\d(?:\.\d+)?", answer) or [""])[-1],
             say("where there is no number the answer is None: an empty text would be a wrong answer, not a missing one.")),
        ],
    ),
    Exercise(
        standard_error,
        [(90, 100), (10, 20), (512, 1_024)],
        [
            (lambda correct, n: math.sqrt(correct / n * (1 - correct / n)),
             say("that is the spread of single answers; the error of their mean shrinks with n.")),
            (lambda correct, n: correct / n * (1 - correct / n) / n,
             say("that is the variance: take the root.")),
            (lambda correct, n: math.sqrt(correct / n * (1 - correct / n)) / n,
             say("n belongs under the root: four times the questions halve the error.")),
            (lambda correct, n: 1.96 * math.sqrt(correct / n * (1 - correct / n) / n),
             say("that is half the width of a 95 % interval: 1.96 standard errors. Leave the factor 1.96 out.")),
        ],
    ),
    Exercise(
        sign_test,
        [(9, 2), (3, 3), (0, 6)],
        [
            (lambda lost, won: sum(math.comb(lost + won, i) for i in range(min(lost, won) + 1)) / 2 ** (lost + won),
             say("that is one side: before you looked, either model could have been the better one.")),
            (lambda lost, won: min(1.0, 2 * math.comb(lost + won, min(lost, won)) / 2 ** (lost + won)),
             say("that is the chance of exactly this split; splits further from even count too.")),
            (lambda lost, won: 2 * sum(math.comb(lost + won, i) for i in range(min(lost, won) + 1)) / 2 ** (lost + won),
             say("a chance is at most 1: an even split counts its middle twice.")),
        ],
    ),
    Exercise(
        score,
        [(0.8, 0.8, 0.01, 0.01), (0.76, 0.8, 0.005, 0.01), (0.1, 0.8, 0.03, 0.01)],
        [
            (lambda accuracy, base, time, time_base: 0.5 * accuracy / base + 0.5 * (1 - time / time_base),
             say("a score below zero is set to zero.")),
            (lambda accuracy, base, time, time_base: max(0.5 * accuracy + 0.5 * (1 - time / time_base), 0.0),
             say("accuracy enters as a share of the base's.")),
            (lambda accuracy, base, time, time_base: max(0.5 * accuracy / base + 0.5 * time_base / time, 0.0),
             say("speed enters as the time that is saved, not as how many times faster.")),
            (lambda accuracy, base, time, time_base: max(0.5 * (accuracy - base) + 0.5 * (1 - time / time_base), 0.0),
             say("accuracy enters as a ratio, not as a difference: a weak base makes one point dearer.")),
        ],
    ),
)  # fmt: skip
