"""Keeping what libraries print while a model loads out of notebooks and JSON output."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Keep warnings, progress bars and what C++ writes to the terminal out of notebooks; exceptions come through."""
    if verbose:
        yield
        return
    logger = logging.getLogger("vllm")
    if not logger.handlers:  # without one, Python itself would print its warnings
        logger.addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for descriptor, old in zip((1, 2), kept, strict=True):
                os.dup2(old, descriptor)
                os.close(old)
