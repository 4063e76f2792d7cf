import asyncio

import pytest

from exaone_nb.event_loop import outside_event_loop


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
