"""What has changed in a cluster since its newest backup, as `pg_basebackup --incremental` sends it.

The server knows from summaries of its log which pages changed. Where it does not, or there is nothing to go on from, the reason is
raised, and a full backup can be taken instead.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from ostiary_tools.backup import file_sums, wal
from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.engines.cluster_facts import Cluster, looked_at
from ostiary_tools.backup.engines.full import FullEngine
from ostiary_tools.backup.evidence import newest
from ostiary_tools.backup.manifest import Content, Member
from ostiary_tools.backup.port import Keeping, Made, Source, Tell, chunks
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.reading import in_words
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.backup.session import connected
from ostiary_tools.errors import Damaged, ProgramFailed, Refused, Unavailable

OLDEST = 17
"""Of servers that know what has changed."""
LONGEST = 32
"""Backups of one chain: each of them is unpacked for a restore, and lost with any before it."""
_ASKED = """
SELECT pg_catalog.current_setting('summarize_wal') AS summarizes, pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text AS place
"""
_SUMMARIES = """
SELECT w.summarized_lsn::pg_catalog.text AS first, NULL AS last FROM pg_catalog.pg_get_wal_summarizer_state() w
UNION ALL SELECT s.start_lsn::pg_catalog.text, s.end_lsn::pg_catalog.text
FROM pg_catalog.pg_available_wal_summaries() s WHERE s.tli OPERATOR(pg_catalog.=) $1
"""
"""How far notes have come, and then which there are: the other way round one that is written in between would seem to be gone."""
_BEGUN = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_available_wal_summaries() s
    WHERE s.tli OPERATOR(pg_catalog.=) $1 AND s.start_lsn OPERATOR(pg_catalog.=) $2::pg_catalog.pg_lsn)
"""
"""A summary ends where a checkpoint begins, as each backup does: on another history of one number no summary begins there."""
_SERVER_SAYS = ("WAL summar", "summarize_wal", "manifest requires WAL")
"""Words of a server that cannot say what has changed."""
_ANOTHER_HISTORY = "is of another history of the cluster: the server was promoted or put back since"


class NotIncremental(Unavailable):
    """Why nothing but a full backup can be taken now."""


@dataclass(frozen=True, slots=True)
class IncrementalEngine:
    """Makes incremental backups."""

    sought: Sought
    repository: Repository
    """Of which the one before is taken."""
    parallel: int = 2

    async def make(self, source: Source, keeping: Keeping, spool: Path, tell: Tell) -> Made:
        """Take one; see `port.Engine`. Raises NotIncremental, too; then there is a new `keeping` and spool to be used."""
        async with connected(source.dsn) as connection:
            cluster, place = await _able(connection)
            parent = await asyncio.to_thread(_parent, self.repository, source.name, cluster, place)
            await _summarised(connection, cluster.timeline, _start(parent))
        since = await asyncio.to_thread(_files, parent, spool / "since")
        try:
            made = await FullEngine(self.sought, self.parallel, since).make(source, keeping, spool, tell)
        except ProgramFailed as error:
            if any(words in error.message for words in _SERVER_SAYS):
                raise NotIncremental("the server has lost what it knew of its changes") from error
            raise
        await self._still(source, parent, cluster.timeline)
        return replace(made, parent=parent.manifest.id)

    async def _still(self, source: Source, parent: StoredBackup, timeline: int) -> None:
        """Whether it did go on from there. By now the server has noted all up to its beginning. Raises NotIncremental."""
        async with connected(source.dsn) as connection:
            with in_words():
                begun = await connection.fetchval(_BEGUN, timeline, _start(parent))
        if not begun:
            raise NotIncremental(f"`{parent.manifest.id}` {_ANOTHER_HISTORY}")
        try:
            await asyncio.to_thread(self.repository.load, parent.manifest.id)
        except (Damaged, Refused) as error:
            raise NotIncremental("the backup that it went on from was deleted meanwhile") from error


async def _able(connection: asyncpg.Connection) -> tuple[Cluster, int]:
    """The cluster, and where its log is. Raises NotIncremental."""
    cluster = await looked_at(connection)
    if cluster.session.major < OLDEST:
        raise NotIncremental(f"the server is of PostgreSQL {cluster.session.major}, and what changed is known from {OLDEST} on")
    with in_words():
        row = await connection.fetchrow(_ASKED)
    if row["summarizes"] != "on":
        raise NotIncremental("the server does not note what changes: `summarize_wal` is off")
    return cluster, wal.position(row["place"])


async def _summarised(connection: asyncpg.Connection, timeline: int, start: int) -> None:
    """Whether all that changed since that place was noted, as far as notes have come. Raises NotIncremental."""
    with in_words():
        rows = await connection.fetch(_SUMMARIES, timeline)
    reached = start
    for first, last in sorted((wal.position(row["first"]), wal.position(row["last"])) for row in rows if row["last"]):
        if first <= reached:
            reached = max(reached, last)
    if any(wal.position(row["first"]) > reached for row in rows if not row["last"]):
        raise NotIncremental("the server's notes of what changed since the newest backup are gone")


def _parent(repository: Repository, datasource: str, cluster: Cluster, place: int) -> StoredBackup:
    """The newest backup that one can go on from. Blocking. Raises NotIncremental with what stands against the newest."""
    against: list[str] = []
    for kept in repository.newest_first():
        if not kept.manifest.kind.physical or kept.manifest.datasource != datasource:
            continue
        try:
            why = _against(repository, chain(kept), cluster, place)
        except Damaged as damage:
            why = damage.message
        if not why:
            return kept
        against.append(f"`{kept.manifest.id}` {why}")
    raise NotIncremental(against[0] if against else "there is no full backup of it to go on from")


def _against(repository: Repository, links: Sequence[StoredBackup], cluster: Cluster, place: int) -> str:
    """What stands against going on from the last of a chain; empty where nothing does."""
    last = links[-1]
    facts = last.manifest.cluster
    if facts is None or facts.system_identifier != cluster.system_identifier:
        return "is of another cluster"
    if facts.timeline != cluster.timeline or facts.point is None or wal.position(facts.point.lsn) > place:
        return _ANOTHER_HISTORY
    if not _member(last):
        return "keeps no list of its files: an older version made it"
    if len(links) >= LONGEST:
        return f"is the last of {len(links)} backups of which each needs the one before"
    if any(found is not None and not found.passed for found in (newest(repository, one.manifest) for one in links)):
        return "failed its drill, or one that it needs did"
    return "" if last.readable else "cannot be read: no key that opens it is here"


def _files(parent: StoredBackup, folder: Path) -> Path:
    """The parent's `backup_manifest`, as a file. Blocking. Raises NotIncremental."""
    folder.mkdir(mode=0o700)
    [member] = _member(parent)
    try:
        with parent.plain(member) as plain, (folder / file_sums.NAME).open("xb") as file:
            for piece in chunks(plain):
                file.write(piece)
        stated, facts = file_sums.stated(folder), parent.manifest.cluster
    except Damaged as damage:
        raise NotIncremental(f"`{parent.manifest.id}` is damaged: {damage.message}") from damage
    if facts is None or (stated.timeline, stated.start_lsn, stated.end_lsn, stated.system_identifier) != (
        facts.timeline,
        facts.start_lsn,
        facts.end_lsn,
        facts.system_identifier,
    ):
        raise NotIncremental(f"`{parent.manifest.id}` is damaged: the list of its files is that of another backup")
    return folder / file_sums.NAME


def _member(kept: StoredBackup) -> list[Member]:
    found = [member for member in kept.manifest.members if member.content is Content.FILES]
    return found if len(found) == 1 else []


def _start(kept: StoredBackup) -> int:
    facts = kept.manifest.cluster
    if facts is None:
        raise AssertionError("a backup of no cluster was chosen")
    return wal.position(facts.start_lsn)
