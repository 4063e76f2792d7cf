"""Errors of the workbook in an open notebook are words, and the calls that led there are one `%tb` away."""

import os
import subprocess
import sys

from exaone_nb.workbook.parameters import HEADLESS

SESSION = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.colors = "NoColor"
shell.run_cell("from exaone_nb.workbook import check_parameters")
done = shell.run_cell("check_parameters('07', {'SAMPLES': -3})")
print("failed:", not done.success)
print("-- next --")
shell.run_cell("%tb")
print("-- next --")
shell.run_cell("1 / 0")
"""


def cells(language: str, headless: bool) -> list[str]:
    others = {name: value for name, value in os.environ.items() if name != HEADLESS}
    environment = others | {"EXAONE_NB_LANG": language, "PYTHONIOENCODING": "utf-8"}
    environment |= {HEADLESS: "1"} if headless else {}
    done = subprocess.run(
        [sys.executable, "-c", SESSION], capture_output=True, env=environment, encoding="utf-8", check=True
    )
    return done.stdout.split("-- next --")


def test_an_error_is_said_in_words_and_its_calls_on_request():
    said, asked, other = cells("en", headless=False)
    assert said.startswith("error: SAMPLES = -3 is out of range.\nExpected: SAMPLES: ")
    assert "What to do: Give a value in this range." in said and "failed: True" in said
    assert "Traceback" not in said and "check_parameters(" not in said
    assert "Traceback" in asked and "_allowed" in asked
    assert "Traceback" in other and "ZeroDivisionError" in other


def test_it_is_said_in_the_language_of_the_page():
    said = cells("ko", headless=False)[0]
    assert said.startswith("오류: ") and "Expected" not in said


def test_without_a_screen_the_calls_are_kept():
    assert "Traceback" in cells("en", headless=True)[0]
