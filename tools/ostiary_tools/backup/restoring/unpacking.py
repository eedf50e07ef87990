"""Members of a backup of a cluster as files: nothing is written outside of a folder or over anything, and files and folders alone.

Blocking. What is written is compared with the manifests when all of it is there, so nothing may run on it before.
"""

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ostiary_tools.backup import file_sums, wal
from ostiary_tools.backup.manifest import ClusterFacts, Content, Manifest, Member, Point
from ostiary_tools.backup.port import Kept
from ostiary_tools.embedded.account import Account
from ostiary_tools.errors import Damaged, NotWritten

_PIECE = 1 << 20
_TABLESPACES = "pg_tblspc"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HINT = "use another backup"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A data directory that no server has run on."""

    data_dir: Path
    point: Point
    stretch: wal.Stretch
    """The log that it has, up to that point."""


def unpack(kept: Kept, data_dir: Path, account: Account, told: Callable[[int], None]) -> Unpacked:
    """Write all of a full one into a folder that does not exist, and compare it. Raises Damaged, NotWritten, Unavailable."""
    unpack_base(kept, data_dir, account, told)
    return unpack_log(kept, data_dir, account, told)


def unpack_base(kept: Kept, folder: Path, account: Account, told: Callable[[int], None]) -> None:
    """The files alone, into a folder that does not exist, each compared; of an incremental one what has changed. Likewise."""
    to = _Folder(folder, account, told)
    with _written():
        to.make("")
        with kept.plain(_member(kept.manifest, Content.BASE)) as stream:
            to.fill(stream, "", lambda name: not name.startswith(f"{_TABLESPACES}/"))
        if not (folder / "pg_wal").is_dir():
            to.make("pg_wal")
    compare(kept, folder, told)
    listed = [member for member in kept.manifest.members if member.content is Content.FILES]
    if listed and hashlib.sha256((folder / file_sums.NAME).read_bytes()).hexdigest() != listed[0].plain_sha256:
        raise Damaged(file_sums.NAME, "the base is not the one whose files the backup lists", _HINT)


def unpack_log(kept: Kept, data_dir: Path, account: Account, told: Callable[[int], None]) -> Unpacked:
    """Its log, into a data directory that was unpacked. Likewise."""
    facts = cluster_facts(kept.manifest)
    with _written(), kept.plain(_member(kept.manifest, Content.WAL)) as stream:
        _Folder(data_dir, account, told).fill(stream, "pg_wal/", wal.is_name)
    if facts.point is None:
        raise Damaged("manifest", "the backup does not say to which moment it can be recovered", _HINT)
    return Unpacked(data_dir, facts.point, _stretch(facts, facts.point, data_dir))


def compare(kept: Kept, folder: Path, told: Callable[[int], None]) -> None:
    """Whether every file there is as its manifest says, and that is the one of the backup. Raises Damaged."""
    facts = cluster_facts(kept.manifest)
    base = file_sums.verify(folder, told=told)
    system = base.system_identifier or facts.system_identifier
    if (base.timeline, base.start_lsn, base.end_lsn, system) != (
        facts.timeline,
        facts.start_lsn,
        facts.end_lsn,
        facts.system_identifier,
    ):
        raise Damaged(file_sums.NAME, "the base is not the one that the backup's manifest names", _HINT)


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = (error.strerror or "input or output failed").lower()
        raise NotWritten(f"the copy could not be written: {why}", "see that there is room for it") from error


def cluster_facts(manifest: Manifest) -> ClusterFacts:
    """Raises Damaged where a backup says nothing of its cluster."""
    if manifest.cluster is None or not manifest.cluster.superuser:
        raise Damaged("manifest", "the backup does not say of which cluster it is", _HINT)
    return manifest.cluster


def _stretch(facts: ClusterFacts, point: Point, data_dir: Path) -> wal.Stretch:
    """The segments say how long they are; which there must be follows from it."""
    size = max((path.stat().st_size for path in (data_dir / "pg_wal").iterdir() if wal.is_segment(path.name)), default=0)
    start, end = wal.position(facts.start_lsn), wal.position(point.lsn)
    if size < wal.SMALLEST or size & (size - 1) or not start < wal.position(facts.end_lsn) <= end:
        raise Damaged("wal", "the backup holds no write-ahead log", _HINT)
    stretch = wal.Stretch(facts.system_identifier, facts.timeline, start, end, size)
    wal.check(data_dir / "pg_wal", stretch)
    return stretch


def _member(manifest: Manifest, content: Content) -> Member:
    found = [member for member in manifest.members if member.content is content]
    if len(found) != 1:
        raise Damaged("manifest", f"of a cluster a backup has one member that is its {content}, and this one {len(found)}", _HINT)
    return found[0]


@dataclass(frozen=True, slots=True)
class _Folder:
    """Where files go, and whose they are."""

    root: Path
    account: Account
    told: Callable[[int], None]

    def make(self, name: str) -> None:
        """A folder in it, or itself."""
        path = self.root / name
        path.mkdir(mode=0o700)
        path.chmod(0o700)
        if self.account.uid != os.geteuid():
            os.chown(path, self.account.uid, self.account.gid)

    def fill(self, stream: BinaryIO, under: str, allowed: Callable[[str], bool]) -> None:
        """All that a tar holds; the stream is read to its end, for only then it is known to be whole."""
        try:
            with tarfile.open(fileobj=stream, mode="r|", bufsize=_PIECE) as archive:
                for entry in archive:
                    self._put(archive, entry, under, allowed)
        except (tarfile.TarError, EOFError, FileExistsError):
            raise Damaged("base" if not under else "wal", "a member of the backup is no tar that can be unpacked", _HINT) from None
        while stream.read(_PIECE):
            pass

    def _put(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, under: str, allowed: Callable[[str], bool]) -> None:
        name = entry.name.removeprefix("./").rstrip("/")
        if name in {"", "."} and entry.isdir():
            return
        if not _safe(name) or not allowed(name) or not (entry.isreg() or entry.isdir()):
            raise Damaged("base" if not under else "wal", "a member of the backup holds what no data directory has", _HINT)
        if entry.isdir():
            self.make(under + name)
            return
        source = archive.extractfile(entry)
        if source is None:
            raise tarfile.ReadError
        descriptor = os.open(self.root / (under + name), _FLAGS, 0o600)
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 a descriptor
            if self.account.uid != os.geteuid():
                os.fchown(descriptor, self.account.uid, self.account.gid)
            while piece := source.read(_PIECE):
                file.write(piece)
                self.told(len(piece))


def _safe(name: str) -> bool:
    """Whether it leads to a place below, by one way only."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and str(path) == name and "\0" not in name
