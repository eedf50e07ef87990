"""Places of calls, and those that are lent while a human thinks."""

import asyncio

import pytest
from fix_waiting import until

from ostiary.crowd import Crowd

FULL = "2 calls run already, as many as the server takes at once"


@pytest.mark.asyncio
async def test_a_place_that_was_lent_is_given_back_before_any_new_call_and_never_twice():
    crowd = Crowd(in_all=2, per_agent=2)
    thinking, answered, back = asyncio.Event(), [asyncio.Event(), asyncio.Event()], [asyncio.Event(), asyncio.Event()]

    async def waits(number: int) -> None:
        with crowd.place("ada"):
            async with crowd.lent():
                await thinking.wait()
                answered[number].set()  # and without a turn of the loop it wants its place back
            back[number].set()
            await asyncio.Event().wait()

    waiting = [asyncio.create_task(waits(number)) for number in range(2)]
    await until(lambda: crowd.full("ada").startswith("2 calls of yours run already"))
    assert crowd.full("eve") == ""
    with crowd.place("eve"):
        with crowd.place("eve"):
            assert crowd.full("joe") == FULL
            thinking.set()
            await asyncio.gather(*(event.wait() for event in answered))
            assert not any(event.is_set() for event in back)
        # One has ended: its place is for one of those that wait, and not for a new call.
        assert crowd.full("joe") == FULL
        await asyncio.wait([asyncio.create_task(event.wait()) for event in back], return_when=asyncio.FIRST_COMPLETED)
        assert sorted(event.is_set() for event in back) == [False, True]
        assert crowd.full("joe") == FULL
    async with asyncio.timeout(10):
        await asyncio.gather(*(event.wait() for event in back))
    assert crowd.full("joe") == FULL
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert crowd.full("joe") == ""
    await crowd.gone()


@pytest.mark.asyncio
async def test_a_call_that_ends_while_its_place_is_lent_or_wanted_leaves_none_taken():
    crowd = Crowd(in_all=1, per_agent=1)
    thinking, answered = asyncio.Event(), asyncio.Event()

    async def waits(agent: str) -> None:
        with crowd.place(agent):
            async with crowd.lent():
                if agent == "ada":
                    await thinking.wait()
                    answered.set()  # and without a turn of the loop it wants its place back
                else:
                    await asyncio.Event().wait()

    waiting = [asyncio.create_task(waits(agent)) for agent in ("ada", "eve")]
    await until(lambda: all(crowd.full(agent) for agent in ("ada", "eve")))
    with crowd.place("joe"):
        thinking.set()
        await answered.wait()
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert crowd.full("zoe").startswith("1 calls run already")
    assert crowd.full("zoe") == ""
