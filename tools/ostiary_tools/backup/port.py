"""What the parts of a backup promise each other: where bytes go, where they come from, who makes them.

Bytes flow in threads, for hashing, compressing and encrypting them must not hold the event loop; what starts and ends them is
asynchronous. Everything raises ToolError in words without secrets: `Damaged` where what is kept is not what was kept,
`Unavailable` where a server, a program, a disk or a key is missing, `Refused` for what is not done.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from ostiary_tools.backup.manifest import ClusterFacts, Content, Fingerprint, Kind, Manifest, Member

Tell = Callable[[float, float | None, str], Awaitable[None]]
"""Takes what is done (bytes), of how much if that is known, and words with rate and remaining time."""


class Storage(Protocol):
    """Where a repository's files lie; blocking, for threads. Names are relative, with `/`, of `[A-Za-z0-9._-]` alone.

    What was written is there whole or not at all, whenever this machine stops. Raises NotWritten, and OSError as it comes.
    """

    @property
    def at_once(self) -> int:
        """How many files are best looked at at once: as many as one waits for, and one where nothing is waited for."""
        ...

    def names(self, under: str) -> Sequence[str]:
        """All files and folders right below, sorted; none where there is no such folder."""
        ...

    def read(self, name: str) -> bytes:
        """A small file whole. Raises FileNotFoundError."""
        ...

    def open(self, name: str) -> BinaryIO:
        """A file to read from its beginning. Raises FileNotFoundError."""
        ...

    def write(self, name: str, data: bytes, *, new: bool = True) -> None:
        """A small file, durable when this returns. Raises FileExistsError where there is one and it is to be `new`."""
        ...

    def stage(self, name: str, work: str) -> "Stage":
        """A folder that comes into being when it is committed. Held while it is open; a killed holder's is swept.

        Of the same `work` there is one at a time. Raises LockedOut.
        """
        ...

    def remove(self, name: str) -> None:
        """A file, or a folder with all in it; first it is no longer found, then it goes. Again is harmless."""
        ...

    def sweep(self) -> int:
        """Take away what killed processes left unfinished; how many there were."""
        ...


class Stage(Protocol):
    """A folder in the making. Closed without a commit, nothing of it stays."""

    def create(self, name: str) -> BinaryIO:
        """A new file in it, to write."""
        ...

    def commit(self) -> None:
        """Make all of it durable, and then found under its name. Raises FileExistsError."""
        ...

    def close(self) -> None:
        """Done with it."""
        ...


class Keeping(Protocol):
    """A backup while it is made: members are put into it, one after the other or at once."""

    @property
    def id(self) -> str:
        """What the backup will be called."""
        ...

    async def put(self, name: str, content: Content, source: BinaryIO, told: Callable[[int], None]) -> Member:
        """Read the source to its end, in a thread; `name` without `.zst.age`. `told` takes how many bytes more, in that thread.

        The source is closed. A cancelled call has the source closed and has ended when it raises, also where the source is a pipe
        that says nothing: it is read by its descriptor, so nothing may have been read of it before.
        """
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """What is backed up."""

    name: str
    """Of the datasource."""
    kind: Kind
    dsn: str = field(default="", repr=False)
    """A login that may read everything, and for `full` and `incremental` also replicate."""
    path: Path | None = None
    """Of a SQLite file."""
    restore_dsn: str = field(default="", repr=False)
    """A login that makes new databases out of backups on the same server."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an engine knows when all members are put."""

    server_version: str
    members: tuple[Member, ...]
    fingerprint: Fingerprint | None
    cluster: ClusterFacts | None = None
    notes: tuple[str, ...] = ()
    parent: str | None = None
    """The backup that it needs."""


class Engine(Protocol):
    """One kind of backup."""

    async def make(self, source: Source, keeping: Keeping, spool: Path, tell: Tell) -> Made:
        """Take one. `spool` is a private folder for what cannot be streamed; it is removed afterwards."""
        ...


class Kept(Protocol):
    """A backup of a repository."""

    @property
    def manifest(self) -> Manifest:
        """As it was signed."""
        ...

    def parent(self) -> Self | None:
        """The backup that this one needs, if any. Blocking. Raises Damaged where it is not there or not as it was signed."""
        ...

    def plain(self, member: Member) -> AbstractContextManager[BinaryIO]:
        """Its bytes, decrypted and decompressed as they are read. Blocking.

        A read raises Damaged where they are not as they were put, the last one after all was compared: until then nothing is to be
        relied on. Raises Unavailable without a key for it.
        """
        ...

    def stored(self, member: Member) -> BinaryIO:
        """Its bytes as they lie there. Blocking. Raises Damaged where there are none."""
        ...

    def compared(self, told: Callable[[int], None]) -> "Kept":
        """The same, once every member was read and is what was stored; what becomes another afterwards is not given to anybody.

        `told` takes how many bytes more were read, in the thread; what it raises ends the work. Blocking. Raises Damaged.
        """
        ...


def chunks(stream: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    """The stream in pieces."""
    while piece := stream.read(size):
        yield piece
