"""Several pieces of work at once, of which all are done or none goes on."""

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_NICENESS = 10
"""As much as `leash` gives programs: whoever uses the database at the same time goes first."""


def threaded(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
    """Do it in a thread of its own, at low priority. It may last for hours, and the threads that a process shares are few."""
    return _in_thread(ThreadPoolExecutor(1, "backup", _give_way), partial(work, *args, **kwargs))


def waiting(work: Callable[[], T]) -> "asyncio.Future[T]":
    """Likewise at the usual priority, where it may wait for a store that does not answer."""
    return _in_thread(ThreadPoolExecutor(1, "backup-waits"), work)


def _in_thread(pool: ThreadPoolExecutor, work: Callable[[], T]) -> "asyncio.Future[T]":
    try:
        return asyncio.get_running_loop().run_in_executor(pool, work)
    finally:
        pool.shutdown(wait=False)


def _give_way() -> None:
    """What this thread starts, threads and programs, gives way like it. Linux's threads have a priority each."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def each(work: Callable[[S], T], of: Iterable[S], *, at_once: int) -> Iterator[T]:
    """What it gives of each, in order. Blocking. Where one fails that is raised in its place, and what was not begun is not."""
    if at_once == 1:
        yield from map(work, of)
        return
    with ThreadPoolExecutor(at_once, "backup-each") as pool:
        yield from pool.map(work, of)


def ahead(work: Callable[[S], T], of: Iterable[S], *, by: int) -> Generator[T, None, None]:
    """What it gives of each, in order, while it is begun with the `by` that follow. Blocking; fails like `each`."""
    if not by:
        yield from map(work, of)
        return
    rest = iter(of)
    with ThreadPoolExecutor(by, "backup-ahead") as pool:
        begun = deque(pool.submit(work, one) for one in islice(rest, by))
        try:
            while begun:
                given = begun.popleft().result()
                begun.extend(pool.submit(work, one) for one in islice(rest, 1))
                yield given
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


async def together(work: Sequence[Callable[[], Awaitable[T]]], *, at_once: int) -> list[T]:
    """What each gives, in order. When one fails the others are cancelled and have ended, and its error is raised as it is."""
    waiting = deque(enumerate(work))
    found: dict[int, T] = {}

    async def take() -> None:
        while waiting:
            number, one = waiting.popleft()
            found[number] = await one()

    await _all([asyncio.create_task(take()) for _ in range(min(at_once, len(work)))])
    return [found[number] for number in range(len(work))]


async def both(first: Coroutine[Any, Any, S], second: Coroutine[Any, Any, T]) -> tuple[S, T]:
    """What two different ones give; likewise."""
    one, other = asyncio.create_task(first), asyncio.create_task(second)
    await _all([one, other])
    return one.result(), other.result()


async def _all(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
