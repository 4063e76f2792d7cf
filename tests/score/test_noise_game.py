"""The game of real and noise: its cases, its stub, its answers."""

import pytest

from exaone_nb.errors import UsageError
from exaone_nb.score import leaderboard, noise_game

SPLIT, NOISE = leaderboard.groups(), leaderboard.rerun_noise()


def test_a_stub_is_not_yet_and_answers_are_counted():
    assert noise_game.told(noise_game.judged([None] * 3, SPLIT, NOISE)).startswith("Not yet")
    # The first recipe's setting has no effect; trained weights lost a quarter of a point; one sample of text is one of each.
    answers = ["noise", *[None] * 11, "real", "noise"]
    made = noise_game.judged(answers, SPLIT, NOISE)
    assert [row["case"] for row in made.rows] == [1, 13, 14]
    assert [row["right"] for row in made.rows] == [True, True, False]
    assert noise_game.told(made) == "2 of 3 answers are right."


def test_every_answer_occurs_and_a_difference_beyond_all_noise_is_real():
    right = [leaderboard.verdict(case, SPLIT, NOISE)[0] for case in leaderboard.conclusions()]
    assert len(right) == 14 and set(right) == set(noise_game.ANSWERS)
    for case in noise_game.noise_widget(SPLIT, NOISE)["data"]:
        assert case["why"].startswith(f"{case['right']}: "), "the feedback begins with the word on the button"
    assert "noise" in right[:3] and right[12:] == [
        "real",
        "open",
    ]  # of the last another team reports the opposite


@pytest.mark.parametrize("answers", [["Real"], [3], ["noise"] * 15])
def test_other_words_are_refused(answers):
    with pytest.raises(UsageError, match="real, noise, open or None"):
        noise_game.judged(answers, SPLIT, NOISE)
