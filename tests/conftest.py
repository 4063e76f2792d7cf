"""What every test process needs."""

from __future__ import annotations

import os
import signal

import pytest

# A shell starts `make test &` with Ctrl-C ignored, and every child inherits that; the tests of Ctrl-C would then wait
# for something that cannot come.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What people see is tested in English, whatever the terminal of the one who tests.
os.environ["EXAONE_NB_LANG"] = "en"
# The tests of what people see count on the width of a log; workers of pytest-xdist say 80 columns.
os.environ.pop("COLUMNS", None)


def pytest_collection_modifyitems(items):
    """Tests that need the internet are run by hand: EXAONE_NB_NETWORK=1 pytest -m network."""
    if os.environ.get("EXAONE_NB_NETWORK") != "1":
        by_hand = pytest.mark.skip(reason="needs the internet; set EXAONE_NB_NETWORK=1 to run it")
        for item in items:
            if item.get_closest_marker("network"):
                item.add_marker(by_hand)
