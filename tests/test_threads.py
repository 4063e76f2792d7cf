"""The number of threads torch computes with; calls that need a thread of their own."""

from __future__ import annotations

import asyncio

import pytest
import torch

from exaone_nb.threads import outside_event_loop, set_torch_threads


def test_it_works_after_vllm_replaced_torchs_own(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # as vLLM's CPU worker does
    at_first = set_torch_threads(3)
    try:
        assert torch.get_num_threads() == 3
        assert set_torch_threads(2) == 3
    finally:
        assert set_torch_threads(at_first) == 2
    assert torch.get_num_threads() == at_first


def own_loop() -> str:
    return asyncio.run(asyncio.sleep(0, "done"))


async def inside() -> str:
    with pytest.raises(RuntimeError, match="running event loop"):
        own_loop()
    return outside_event_loop(own_loop)


@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited")
def test_a_call_with_its_own_loop_works_with_and_without_one():
    assert outside_event_loop(own_loop) == asyncio.run(inside()) == "done"


def test_errors_come_through():
    async def fail() -> None:
        outside_event_loop(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(fail())
