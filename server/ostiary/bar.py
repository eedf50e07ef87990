"""How far a command is, as a bar on a terminal; elsewhere nothing, since lines on the way are no news to a log."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ostiary.progress import Tell


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
