"""The README's picture: the scoreboard of a run on nano, in the language that is spoken.

python scripts/readme_picture.py RUN                         # data/pictures/scoreboard.png
EXAONE_NB_LANG=ko python scripts/readme_picture.py RUN       # data/pictures/scoreboard.ko.png

Both come from the results of one run folder; the READMEs say its date and machine.
"""

import sys

from exaone_nb.language import ENGLISH, language
from exaone_nb.paths import DATA
from exaone_nb.results import RunFolder
from exaone_nb.score.scoreboard import make_scoreboard
from exaone_nb.score.scoreboard_views import alt_text, scoreboard_figure
from exaone_nb.show.figures import drawn_with

TITLES = {"en": "nano: accuracy, bytes and speed", "ko": "nano: 정확도, 바이트, 속도"}


def main(run: str) -> None:
    board = make_scoreboard(RunFolder.at(run), baseline="baseline", gpu="L4")
    figure = scoreboard_figure(board, TITLES[language()])
    drawn_with(figure)
    end = "" if language() == ENGLISH else f".{language()}"
    path = DATA / "pictures" / f"scoreboard{end}.png"
    figure.savefig(path, dpi=132, bbox_inches="tight")
    print(path, f"{path.stat().st_size:,} bytes", alt_text(board), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
