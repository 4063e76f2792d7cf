"""What every test process needs."""

from __future__ import annotations

import os
import signal

# A shell starts `make test &` with Ctrl-C ignored, and every child inherits that; the tests of Ctrl-C would then wait
# for something that cannot come.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests of what people see count on the width of a log; workers of pytest-xdist say 80 columns.
os.environ.pop("COLUMNS", None)
