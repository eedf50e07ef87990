"""Backups of long ago, without any database: what retention and who deletes look at."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from fix_server import Site

from ostiary_tools.backup import expiry, wal
from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.manifest import ClusterFacts, Content, Kind, Manifest, Member, Point
from ostiary_tools.backup.manifest_json import encode
from ostiary_tools.backup.repository import BACKUPS, SIGNED, SUMS, Repository, job_mark, sums
from ostiary_tools.backup.wal_archive import segment
from ostiary_tools.backup.wal_archive.segment import FOLDER, Segment
from ostiary_tools.control.link import Link
from ostiary_tools.control.register import Register

SYSTEM = "7300000000000000001"
SEGMENT_BYTES = 1 << 20
DAY = timedelta(days=1)
STORED = b"bytes that nobody decrypts"


def dated(
    repository: Repository,
    days_ago: float,
    *,
    kind: Kind = Kind.LOGICAL,
    parent: str | None = None,
    start: int = 0,
    datasource: str = "shop",
    timeline: int = 1,
) -> Manifest:
    """A backup that was taken so many days ago; of a physical one `start` is the LSN that it begins at."""
    at = datetime.now(UTC) - days_ago * DAY
    job = f"{datasource} {kind} {days_ago}"
    point = Point("3:3:", wal.shown(start + 2))
    facts = ClusterFacts(SYSTEM, timeline, wal.shown(start), wal.shown(start + 1), point) if kind.physical else None
    member = Member(
        *("database.dump.zst.age", Content.DATABASE, len(STORED), sha256(STORED).hexdigest()),
        len(STORED),
        sha256(STORED).hexdigest(),
    )
    keys = (new_identity().recipient,)
    id_ = f"{at:%Y%m%dT%H%M%SZ}{job_mark(job)}"
    made = Manifest(id_, kind, datasource, job, at, at, "18.6", (member,), None, facts, keys, parent=parent)
    text = encode(made)
    signature = repository.writer().sign(f"{BACKUPS}/{id_}/manifest.json", text)
    files = dict(zip((*SIGNED, SUMS, member.name), (text, signature, sums(made), STORED), strict=True))
    _committed(repository, f"{BACKUPS}/{id_}", files)
    return made


async def marked_at(site: Site, repository: Repository, made: Manifest, at: datetime, grace: timedelta) -> None:
    """What a worker of the site would have marked then."""
    link = Link(site.server.dsn("ostiary_writer", site.control), "test")
    try:
        await Register(link).backup(repository.description.id, made)
        await Register(link).marked(repository.description.id, made.id, at)
    finally:
        await link.close()
    expiry.mark(repository, made, at, grace)


def logged(repository: Repository, numbers: Iterable[int], *, timeline: int = 1, tail: int = 0) -> Sequence[str]:
    """Segments of a kept log, of 1 MB each, or their beginnings; their folders."""
    return [_logged(repository, wal.name(timeline, number, SEGMENT_BYTES), number, tail or SEGMENT_BYTES) for number in numbers]


def _logged(repository: Repository, name: str, number: int, size: int) -> str:
    member = Member(segment.MEMBER, Content.WAL, size, sha256(STORED).hexdigest(), len(STORED), sha256(STORED).hexdigest())
    end = wal.shown(number * SEGMENT_BYTES + size)
    made = Segment(name, "shop", SYSTEM, SEGMENT_BYTES, end, datetime.now(UTC), member)
    text = segment.encode(made)
    signature = repository.writer().sign(f"{made.folder}/{segment.DESCRIPTION}.json", text)
    names = (f"{segment.DESCRIPTION}.json", f"{segment.DESCRIPTION}.sig", segment.MEMBER)
    _committed(repository, made.folder, dict(zip(names, (text, signature, STORED), strict=True)))
    return made.folder


def kept_log(repository: Repository) -> list[str]:
    """The segments and tails that there are, by timeline."""
    blocks = repository.storage.names(f"{FOLDER}/{SYSTEM}")
    return [name for block in blocks for name in repository.storage.names(f"{FOLDER}/{SYSTEM}/{block}")]


def _committed(repository: Repository, folder: str, files: dict[str, bytes]) -> None:
    stage = repository.storage.stage(folder, "dated")
    try:
        for name, data in files.items():
            with stage.create(name) as file:
                file.write(data)
        stage.commit()
    finally:
        stage.close()
