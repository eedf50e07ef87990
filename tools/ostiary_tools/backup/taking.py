"""One backup from its beginning to its end: what was left over is swept, an engine is chosen, and what it makes is sealed."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.port import Engine, Source, Tell
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.spool import spooled


@dataclass(frozen=True, slots=True)
class Workshop:
    """What backups are made with on this machine."""

    sought: Sought
    spools: Path
    """Where what cannot be streamed lies meanwhile."""
    parallel: int = 2
    """Programs at once."""


async def take(repository: Repository, source: Source, job: str, workshop: Workshop, tell: Tell) -> Manifest:
    """Make the job's backup, or find that it was made. However else it ends, nothing of it stays. Raises ToolError.

    Where an incremental one cannot be, it is a full one, and says why.
    """
    await asyncio.to_thread(repository.storage.sweep)
    if source.kind is not Kind.INCREMENTAL:
        return await _taken(repository, source, job, workshop, tell)
    from ostiary_tools.backup.engines.incremental import NotIncremental

    try:
        return await _taken(repository, source, job, workshop, tell)
    except NotIncremental as why:
        note = f"it is a full one, and not incremental: {why.message}"
        return await _taken(repository, replace(source, kind=Kind.FULL), job, workshop, tell, notes=(note,))


async def _taken(
    repository: Repository, source: Source, job: str, workshop: Workshop, tell: Tell, *, notes: tuple[str, ...] = ()
) -> Manifest:
    async with making(repository, source.kind, source.name, job) as begun:
        if begun.done is not None:
            return begun.done.manifest
        async with spooled(workshop.spools) as spool:
            made = await _engine(source.kind, repository, workshop).make(source, begun, spool, tell)
        return (await begun.commit(replace(made, notes=(*notes, *made.notes)))).manifest


def _engine(kind: Kind, repository: Repository, workshop: Workshop) -> Engine:
    # Each drags in a driver; a server that makes no backups does without.
    match kind:
        case Kind.INCREMENTAL:
            from ostiary_tools.backup.engines.incremental import IncrementalEngine

            return IncrementalEngine(workshop.sought, repository, workshop.parallel)
        case Kind.LOGICAL:
            from ostiary_tools.backup.engines.logical import LogicalEngine

            return LogicalEngine(workshop.sought, workshop.parallel)
        case Kind.SQLITE:
            from ostiary_tools.backup.engines.sqlite import SqliteEngine

            return SqliteEngine()
        case Kind.FULL:
            from ostiary_tools.backup.engines.full import FullEngine

            return FullEngine(workshop.sought, workshop.parallel)
