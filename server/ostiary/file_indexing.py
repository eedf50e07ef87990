"""Files into a collection, by calls of the tools: it is created where it is not there, and filled some files at a time."""

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
from ostiary.local_calls import LocalCalls
from ostiary.progress import Tell
from ostiary_tools.chunking.cutting import Kind, kind_of

_FILES = 200
_BYTES = 2_500_000
"""Of the texts of one call, but for the last."""
_COUNT = re.compile(r"([0-9,]+) (added|changed|unchanged|chunks stored)")


@dataclass(slots=True)
class Indexed:
    """What came of it."""

    collection: str
    counts: Counter[str] = field(default_factory=Counter)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """For machines."""
        counts = {name.replace(" ", "_"): self.counts[name] for name in ("added", "changed", "unchanged", "chunks stored")}
        return {"collection": self.collection, **counts, "left_out": dict(self.left_out)}

    def text(self) -> str:
        """For people."""
        told = ", ".join(f"{self.counts[name]:,} {name}" for name in ("added", "changed", "unchanged"))
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
    with barred() as tell:
        await _fill(told, found, calls, tell)
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
            told.counts.update({what: int(count.replace(",", "")) for count, what in _COUNT.findall(reply)})
        done += seen
        if tell is not None:
            await tell(done, len(found.files), f"{done:,} of {len(found.files):,} files")


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
