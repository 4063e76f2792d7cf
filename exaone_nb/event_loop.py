"""Calls that start an event loop of their own, made from wherever one may already run (a notebook's kernel does)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def outside_event_loop(call: Callable[[], Result]) -> Result:
    """`call()`, in another thread when this one runs an event loop: asyncio.run refuses there."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    with ThreadPoolExecutor(1) as other:
        return other.submit(call).result()
