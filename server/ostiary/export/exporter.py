"""Writes the rows of one statement to a file within bounds; the event loop goes on meanwhile."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from io import RawIOBase
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio

from ostiary.export.folder import NewFile
from ostiary.export.formats import Encoder, Row, encoder
from ostiary.progress import RowsTold, Tell
from ostiary_tools.datasources.port import RowStream
from ostiary_tools.errors import NotWritten
from ostiary_tools.result import Exported, ExportFormat

P = ParamSpec("P")
T = TypeVar("T")


_LEAST_BYTES = 1_000
"""With less room in the folder no file is begun."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one file may hold."""

    rows: int
    bytes: int
    folder_bytes: int
    """Of all files that are there."""


async def export(
    stream: RowStream,
    directory: Path,
    *,
    name: str,
    format_: ExportFormat,
    declared: Sequence[str | None],
    bounds: Bounds,
    tell: Tell | None = None,
) -> Exported:
    """Write the file. However this ends but well, also when cancelled, nothing of it is left. Raises ToolError."""
    new = NewFile(directory, name, "csv" if format_ == "csv" else "parquet")
    written = _Written(new)
    kept = False
    try:
        await _in_thread(new.open)
        room = bounds.folder_bytes - await _in_thread(new.used)
        if room < _LEAST_BYTES:
            raise NotWritten("the export folder holds as much as it may", "its operator removes files that nobody needs")
        bounds = replace(bounds, bytes=min(bounds.bytes, room))
        made = await _in_thread(encoder, format_, stream.columns, declared, written)
        rows, truncated = await _fill(stream, made, written, bounds, RowsTold(tell))
        await _in_thread(made.finish)
        path = await _in_thread(new.keep)
        kept = True
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise NotWritten(f"the file could not be written: {why}", "tell the operator of the server") from None
    finally:
        written.abandon()
        if kept:
            new.close()  # at once: cancelled while it waits, the call would leave a file that nobody was told of
        else:
            await _in_thread(new.discard)
    return Exported(str(path), rows, written.bytes, written.digest.hexdigest(), truncated)


async def _fill(stream: RowStream, made: Encoder, written: "_Written", bounds: Bounds, told: RowsTold) -> tuple[int, bool]:
    """Write rows until there are no more or no more are allowed; how many, and whether there would be more."""
    rows = 0
    async with aclosing(stream.chunks()) as chunks:
        async for chunk in chunks:
            room = bounds.bytes - written.bytes - made.held
            fitting = await _in_thread(_write, made, chunk[: bounds.rows - rows], room)
            rows += fitting
            if fitting < len(chunk):
                return rows, True
            await told(rows)
    return rows, False


def _write(made: Encoder, chunk: Sequence[Row], room: int) -> int:
    """Write the first rows, as many as have room; how many."""
    fitting = 0
    for row in chunk:
        room -= made.size(row)
        if room < 0:
            break
        fitting += 1
    made.write(chunk[:fitting])
    return fitting


class _Written(RawIOBase):
    """What goes into the file, counted and digested. Once abandoned it takes everything and keeps nothing."""

    def __init__(self, new: NewFile) -> None:
        self._new: NewFile | None = new
        self.bytes = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._new is not None:
            self._new.write(view)
            self.digest.update(view)
            self.bytes += len(view)
        return len(view)

    def abandon(self) -> None:
        """An encoder that was not finished writes its end when it is forgotten."""
        self._new = None


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it away from the event loop. When cancelled it is done to the end first: nobody else may touch the file meanwhile."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise
