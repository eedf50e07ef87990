"""How far a command is: a bar on a terminal; elsewhere nothing, or a line now and then of what takes long."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ostiary.cli_options import one_line, say
from ostiary.progress import Tell

_EVERY_S = 10.0


@contextmanager
def barred() -> Iterator[Tell | None]:
    """What takes the progress, while the block lasts; `None` where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    # Costs a tenth of a second to import.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None)
    with ExitStack() as stack:

        async def tell(done: float, total: float | None, words: str) -> None:
            # Not before there is something to tell: a question that is asked first would be drawn over.
            if not bar.live.is_started:
                stack.enter_context(bar)
            bar.update(task, completed=done, total=total, description=words)

        yield tell


@contextmanager
def told() -> Iterator[Tell]:
    """Likewise, and where there is no terminal a line each ten seconds, for the logs of what runs by night."""
    with barred() as tell:
        yield tell or _lines()


def _lines() -> Tell:
    last = time.monotonic()

    async def tell(done: float, total: float | None, words: str) -> None:  # noqa: ARG001 - the words say it
        nonlocal last
        if time.monotonic() - last >= _EVERY_S:
            last = time.monotonic()
            say(one_line(words))

    return tell
