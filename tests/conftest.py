"""What every test process needs."""

from __future__ import annotations

import signal

# A shell starts `make test &` with Ctrl-C ignored, and every child inherits that; the tests of Ctrl-C would then wait
# for something that cannot come.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
