"""What a person who waits for chapters is told: on a terminal one moving line, in a log a line now and then."""

import time

from exaone_nb.cli.workbook_run import Progress
from exaone_nb.workbook.chapters import discover
from exaone_nb.workbook.runner import Event

CHAPTER = discover()[6]


def told(events, every, wait=0.0, silent=False):
    progress = Progress(silent, every)
    for event in events:
        progress.show(event)
    time.sleep(wait)
    progress.close()


def test_a_log_says_where_a_long_cell_is(capsys):
    told([Event("start", CHAPTER, "not run yet"), Event("cell", CHAPTER, "", 12, 22)], every=0.05, wait=0.4)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{CHAPTER.slug}: running"
    assert 3 <= lines[1:].count(f"{CHAPTER.slug}: cell 12 of 22, 0 s") <= 9


def test_a_log_of_short_chapters_has_their_starts_and_ends_only(capsys):
    cells = [Event("cell", CHAPTER, "", number, 22) for number in range(1, 23)]
    told([Event("start", CHAPTER, "not run yet"), *cells, Event("ok", CHAPTER)], every=30)
    assert capsys.readouterr().err.splitlines() == [
        f"{CHAPTER.slug}: running",
        f"{CHAPTER.slug}: done, 0 s",
    ]


def test_nothing_is_said_after_the_end_and_nothing_at_all_beside_json(capsys):
    told([Event("start", CHAPTER, "x"), Event("cached", CHAPTER)], every=0.05)
    time.sleep(0.2)
    assert len(capsys.readouterr().err.splitlines()) == 2
    told([Event("start", CHAPTER, "x")], every=0.01, wait=0.1, silent=True)
    assert capsys.readouterr().err == ""


def test_a_download_before_the_first_chapter_is_told_and_so_is_what_went_wrong(capsys):
    told([Event("fetch", CHAPTER, "ORG/NAME"), Event("unfetched", CHAPTER, "the hub [is] away")], every=30)
    said = " ".join(capsys.readouterr().err.split())
    assert "fetching the weights of ORG/NAME before the first chapter" in said
    assert "some chapters will fail. the hub [is] away" in said
