"""Work on files in a thread of its own: a file system that does not answer holds up neither other work nor the process's end."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def answered(name: str, work: Callable[[], T], patience_s: float, untold: Callable[[], None]) -> T:
    """Do it there and wait, however long; `untold` is called once it has taken so many seconds. Raises what it raises."""
    done: Future[T] = Future()

    def run() -> None:
        done.set_running_or_notify_cancel()
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 it is raised where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    working = asyncio.wrap_future(done)
    if not (await asyncio.wait({working}, timeout=patience_s))[0]:
        untold()
    return await working
