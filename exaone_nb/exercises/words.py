"""Exercises of the chapter on vocabulary: what the table weighs, and what cutting it does."""

from exaone_nb.exercises.exercise import Exercise
from exaone_nb.messages import say


def table_bytes(vocab_size: int, hidden_size: int, tied: bool) -> int:
    """Bytes of embedding and head together in 16 bits."""
    return vocab_size * hidden_size * 2 * (1 if tied else 2)


def seconds_for_text(characters: int, tokens_per_character: float, seconds_per_token: float) -> float:
    """Seconds to write a text of so many characters."""
    return characters * tokens_per_character * seconds_per_token


EXERCISES = (
    Exercise(
        table_bytes,
        [(102_400, 2_048, True), (102_400, 5_120, False)],
        [
            (lambda vocab, hidden, tied: vocab * hidden * 2,
             say("a head that is not tied is a second table of the same size.")),
            (lambda vocab, hidden, tied: vocab * hidden * 4,
             say("a tied head is the embedding itself: it is stored once.")),
            (lambda vocab, hidden, tied: vocab * hidden * (1 if tied else 2),
             say("these are numbers; in 16 bits each takes two bytes.")),
        ],
    ),
    Exercise(
        seconds_for_text,
        [(1_000, 0.7, 0.01), (250, 1.4, 0.02)],
        [
            (lambda characters, rate, seconds: characters * seconds,
             say("a character is not a token: multiply by the tokens per character.")),
            (lambda characters, rate, seconds: characters / rate * seconds,
             say("the rate is tokens per character, not characters per token: multiply, do not divide.")),
        ],
    ),
)  # fmt: skip
