"""Files into a collection, by calls of the tools: it is created where it is not there, and filled some files at a time.

What has gone from a folder since it was last indexed from this machine is taken out when all the others are stored.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostiary.bar import barred
from ostiary.cli_options import say
from ostiary.document_files import DocumentFile, Found, found_in, text_of
from ostiary.errors import CallFailed
from ostiary.exits import CommandFailed, Exit
from ostiary.indexed_folders import Forgotten, begun, ended, remembered, vanished
from ostiary.local_calls import LocalCalls
from ostiary.progress import Tell
from ostiary_tools.chunking.cutting import Kind, kind_of

_FILES = 200
_BYTES = 2_500_000
"""Of the texts of one call, but for the last."""
_DELETED = 500
"""Keys of one call."""
_COUNTS = ("added", "changed", "unchanged", "deleted", "chunks stored")
_COUNT = re.compile(rf"([0-9,]+) ({'|'.join(_COUNTS)})")


@dataclass(slots=True)
class Indexed:
    """What came of it."""

    collection: str
    counts: Counter[str] = field(default_factory=Counter)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def count(self, reply: str) -> None:
        """Add what a call came to."""
        self.counts.update({what: int(count.replace(",", "")) for count, what in _COUNT.findall(reply)})

    def data(self) -> dict[str, Any]:
        """For machines."""
        counts = {name.replace(" ", "_"): self.counts[name] for name in _COUNTS}
        return {"collection": self.collection, **counts, "left_out": dict(self.left_out)}

    def text(self) -> str:
        """For people."""
        told = ", ".join(f"{self.counts[name]:,} {name}" for name in _COUNTS[:4])
        out = ", ".join(f"{count:,} {why}" for why, count in sorted(self.left_out.items()))
        return f"indexed `{self.collection}`: {told}" + (f"\nleft out: {out}" if out else "")


async def indexed(name: str, paths: tuple[Path, ...], calls: LocalCalls) -> Indexed:
    """Index what is below the paths. Raises CommandFailed."""
    try:
        found = await asyncio.to_thread(found_in, paths)
    except OSError as error:
        raise CommandFailed(f"the folder cannot be read: {error.strerror}", "name another one", Exit.USAGE) from error
    if not found.files:
        raise CommandFailed("there is no file to be indexed", "name a folder with files, or files", Exit.USAGE)
    await _there(name, calls)
    told = Indexed(name, left_out=found.left_out)
    memory = remembered(calls.house.config.home.state, await calls.collection(name))
    try:
        before = await asyncio.to_thread(memory.read)
        await asyncio.to_thread(memory.write, begun(before, found))
        with barred() as tell:
            await _fill(told, found, calls, tell)
        await _take_out(told, vanished(before, found), calls)
        await asyncio.to_thread(memory.write, ended(before, found))
    except Forgotten as error:
        hint = f"take `{memory.file}` away; what has gone from the folder stays in the collection then"
        raise CommandFailed("what was indexed before cannot be read", hint) from error
    except OSError as error:
        raise CommandFailed(f"what was indexed cannot be remembered: {error.strerror}", "make room in `home.state`") from error
    return told


async def refreshed(name: str, calls: LocalCalls) -> str:
    """Bring a collection of rows up to date. Raises CommandFailed."""
    with barred() as tell:
        return await calls("index_documents", {"collection": name, "refresh": True}, tell)


async def _there(name: str, calls: LocalCalls) -> None:
    """Create it, unless the caller knows it."""
    try:
        await calls("manage_collection", {"action": "describe", "name": name})
    except CommandFailed as no:
        if not (isinstance(no.__cause__, CallFailed) and "unknown_collection" in no.__cause__.rules):
            raise
        say(await calls("manage_collection", {"action": "create", "name": name}))


async def _fill(told: Indexed, found: Found, calls: LocalCalls, tell: Tell | None) -> None:
    batches = _batches(found)
    done = 0
    while batch := await asyncio.to_thread(next, batches, None):
        documents, seen = batch
        if documents:
            reply = await calls("index_documents", {"collection": told.collection, "documents": documents})
            told.count(reply)
        done += seen
        if tell is not None:
            await tell(done, len(found.files), f"{done:,} of {len(found.files):,} files")


async def _take_out(told: Indexed, keys: list[str], calls: LocalCalls) -> None:
    for start in range(0, len(keys), _DELETED):
        reply = await calls("index_documents", {"collection": told.collection, "delete": keys[start : start + _DELETED]})
        told.count(reply)


def _batches(found: Found) -> Iterator[tuple[list[dict[str, str]], int]]:
    """Documents of some files, and how many files they are of: not all are documents."""
    documents: list[dict[str, str]] = []
    size = seen = 0
    for file in found.files:
        text = text_of(file, found)
        seen += 1
        if text is not None:
            documents.append(_document(file, text))
            size += len(text.encode())
        if len(documents) >= _FILES or size >= _BYTES:
            yield documents, seen
            documents, size, seen = [], 0, 0
    if seen:
        yield documents, seen


def _document(file: DocumentFile, text: str) -> dict[str, str]:
    kind = kind_of(file.path.name)
    return {"key": file.key, "text": text, "kind": kind if kind is not Kind.JSON or _is_json(text) else Kind.TEXT}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
