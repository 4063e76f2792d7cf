"""Guesses: what is said of one, what the run keeps, and what the report's first page counts."""

import json

import pytest
from notebook_maker import write_notebook

from exaone_nb.errors import UsageError
from exaone_nb.results import RunFolder
from exaone_nb.workbook import guess, guesses
from exaone_nb.workbook.chapters import discover
from exaone_nb.workbook.report import page
from exaone_nb.workbook.runner import run as run_chapters

PARAMETERS = """MODEL: str = "nano"  # catalog name [model]
RUN_DIR: str = ""  # run folder; empty means runs/interactive
GUESS_MB: float | None = None  # your guess: the file, in MB [range: 0 ..]
GUESS_KEYS: int | None = None  # your guess: keys that the last token sees
GUESS_WORST: str | None = None  # your guess: the recipe that loses most [checkpoint]
"""


def chapter(folder, number="02", *cells):
    write_notebook(folder, f"{number}_toy", [("code", PARAMETERS, "parameters"), *cells])
    return next(one for one in discover(folder) if one.number == number)


@pytest.fixture
def said(monkeypatch, tmp_path):
    """What the notes say, in a run folder of the toy chapter."""
    texts = []
    monkeypatch.setattr(guesses, "note", texts.append)
    guesses.expect(chapter(tmp_path), RunFolder(tmp_path / "run"))
    return texts


# How far off: worked out by hand.
@pytest.mark.parametrize(
    ("yours", "truth", "words", "near"),
    [
        (800, 971.26, "Your guess: 800 MB. The answer: 971.3 MB. 18 % too low.", guesses.NEAR),
        (1_200, 1_000, "Your guess: 1,200 MB. The answer: 1,000 MB. 20 % too high.", guesses.NEAR),
        (1_201, 1_000, "Your guess: 1,201 MB. The answer: 1,000 MB. 20 % too high.", guesses.TWICE),
        (2_000, 1_000, "Your guess: 2,000 MB. The answer: 1,000 MB. 100 % too high.", guesses.TWICE),
        (15, 43.2, "Your guess: 15 MB. The answer: 43.2 MB. 2.9 times too low.", guesses.FAR),
        (30, 10, "Your guess: 30 MB. The answer: 10 MB. 3.0 times too high.", guesses.FAR),
        (5, 5, "Your guess: 5 MB. The answer: 5 MB. Exactly.", guesses.NEAR),
        (0, 0.25, "Your guess: 0 MB. The answer: 0.25 MB. It is 0.25 MB away.", guesses.FAR),
        (-1, 2, "Your guess: -1 MB. The answer: 2 MB. It is 3 MB away.", guesses.FAR),
        (-3, -1, "Your guess: -3 MB. The answer: -1 MB. 3.0 times too low.", guesses.FAR),
    ],
)  # fmt: skip
def test_a_number_is_told_how_far_off_it_is(said, yours, truth, words, near):
    guess("GUESS_MB", yours, truth, "MB")
    assert said == [words.replace(" MB", "\u00a0MB")] and guesses.nearness(yours, truth) == near


@pytest.mark.parametrize(
    ("truth", "unit", "told"),
    [(1, "candidates", "1 candidate"), (2, "candidates", "2 candidates"), (1, "times", "1 times"),
     (1, "tokens/s", "1 tokens/s"), (1, "of 20 recipes", "1 of 20 recipes"), (1, "개", "1개")],
)  # fmt: skip
def test_one_is_told_as_one(said, truth, unit, told):
    guess("GUESS_KEYS", truth, truth, unit)
    assert f"The answer: {told}." in said[0].replace("\u00a0", " ")


def test_a_choice_is_right_or_wrong_whatever_its_capitals(said):
    guess("GUESS_WORST", "W4A16_rtn ", "w4a16_rtn")
    guess("GUESS_WORST", "w8a8", "w4a16_rtn")
    assert [text.rsplit(". ", 1)[-1] for text in said] == ["That is right.", "That is wrong."]


def test_in_korean_a_choice_is_shown_in_korean_with_its_value_and_kept_in_english(
    said, monkeypatch, tmp_path
):
    monkeypatch.setenv("EXAONE_NB_LANG", "ko")
    guess("GUESS_WORST", "neither", "width of q_norm, a head of its own")
    guess("GUESS_WORST", "w8a8", "w8a8")
    truth = "q_norm의 너비, 따로 있는 헤드 (width of q_norm, a head of its own)"
    assert "둘 다 아님 (neither). " in said[0] and f" {truth}. " in said[0] and "w8a8 (" not in said[1]
    guess("GUESS_WORST", "neither", "both")
    kept = json.loads((tmp_path / "run/guesses/02__GUESS_WORST.json").read_text())
    assert (kept["yours"], kept["truth"]) == ("neither", "both")
    (row,) = guesses.tally(RunFolder(tmp_path / "run")).table.rows
    assert (row["yours"], row["truth"]) == ("둘 다 아님 (neither)", "둘 다 (both)")


def test_where_nothing_was_written_the_note_names_the_parameter_and_the_truth(said, tmp_path):
    import numpy as np

    guess("GUESS_KEYS", None, np.int64(47_232), "keys")
    assert "Set `GUESS_KEYS`" in said[0] and "47,232\u00a0keys" in said[0]
    kept = json.loads((tmp_path / "run/guesses/02__GUESS_KEYS.json").read_text())
    assert (kept["yours"], kept["truth"], kept["asked"]) == (None, 47_232, "keys that the last token sees")


@pytest.mark.parametrize(
    ("name", "yours", "truth"),
    [("GUESS_GB", 3, 4), ("GUESS_MB", "many", 4.0), ("GUESS_WORST", 4, "w8a8")],
)
def test_what_cannot_be_a_guess_is_refused_and_nothing_is_kept(said, tmp_path, name, yours, truth):
    with pytest.raises(UsageError):
        guess(name, yours, truth)
    assert said == [] and not (tmp_path / "run" / "guesses").exists()


def test_the_tally_counts_numbers_and_choices_apart(said, tmp_path):
    run = RunFolder(tmp_path / "run")
    assert guesses.tally(run).words == "" and "guesses" not in page.index(record())
    guess("GUESS_MB", None, 971.3, "MB")
    nothing = guesses.tally(run)
    assert "no guess was written" in nothing.words.lower() and not nothing.table.rows
    guesses.expect(chapter(tmp_path, "03"), run)
    guess("GUESS_MB", 900, 971.3, "MB")
    guess("GUESS_KEYS", 9, 5)
    guesses.expect(chapter(tmp_path, "10"), run)
    guess("GUESS_MB", 50, 971.3, "MB")
    guess("GUESS_WORST", "<b>w8a8", "w8a8")
    (run.path / "guesses/99__BROKEN.json").write_text("{")
    made = guesses.tally(run)
    assert made.words == (
        "4 of 5 guesses were written. Numbers within 20 %: 1 of 3; within a factor of two: 2. "
        "Right choices: 0 of 1."
    )
    assert [row["near"] for row in made.table.rows] == [
        guesses.TWICE,
        guesses.NEAR,
        guesses.FAR,
        guesses.WRONG,
    ]
    index = page.index(record(), {}, made)
    assert 'id="guesses"' in index and made.words in index and "<b>w8a8" not in index


def record():
    from test_report_pages import chapter as one
    from test_report_pages import record

    return record(one("01", 1))


@pytest.mark.notebook
def test_a_guess_given_to_a_run_reaches_the_first_page(tmp_path):
    use = (
        "from exaone_nb.results import RunFolder\nfrom exaone_nb.workbook import guess, guesses, show_guesses\n"
        "from exaone_nb.workbook.chapters import discover\n"
        f"guesses.expect(discover({str(tmp_path)!r})[0], RunFolder.at(RUN_DIR))\n"
        "guess('GUESS_MB', GUESS_MB, 971.3, 'MB')\nshow_guesses()"
    )
    chapter(tmp_path, "02", ("code", use))
    done = run_chapters(parameters={"GUESS_MB": "900"}, folder=tmp_path, out=tmp_path / "run")
    assert done.record.status == "ok", done.outcomes
    assert "Numbers within 20 %: 1 of 1" in (tmp_path / "run/index.html").read_text()
    assert "Your guess: 900\u00a0MB" in (tmp_path / "run/html/02_toy.html").read_text()
