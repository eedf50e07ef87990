"""A backup while it is made: its members are put into a staged folder, which is sealed and committed as one.

Work that is done again for the same job finds what it has made and makes no second. However else it ends, nothing of it stays.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO, ParamSpec, TypeVar

from ostiary_tools.backup import streams
from ostiary_tools.backup.manifest import Content, Kind, Manifest, Member
from ostiary_tools.backup.manifest_json import MEMBER, encode
from ostiary_tools.backup.port import Made, Stage
from ostiary_tools.backup.repository import BACKUPS, SIGNED, SUMS, Repository, StoredBackup, job_mark, sums
from ostiary_tools.backup.together import threaded
from ostiary_tools.errors import NotWritten, Refused, Unavailable

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Making:
    """One backup in the making; engines see it as `port.Keeping`."""

    id: str
    repository: Repository
    stage: Stage
    kind: Kind
    datasource: str
    job: str
    started_at: datetime
    done: StoredBackup | None
    """What the same job has committed before; then there is nothing to make."""
    members: list[Member] = field(default_factory=list)
    """Put so far."""

    async def put(self, name: str, content: Content, source: BinaryIO, told: Callable[[int], None]) -> Member:
        """Read the source to its end into a new member; see `port.Keeping`."""
        if not MEMBER.fullmatch(f"{name}.zst.age"):
            raise ValueError("no name of a member")
        stop = streams.Stop()
        try:
            return await called_off(stop.set, self._put, f"{name}.zst.age", content, source, told, stop)
        except OSError as error:
            raise not_written(error) from None
        finally:
            stop.close()

    async def commit(self, made: Made) -> StoredBackup:
        """Seal it with its manifest; from then on it is there."""
        if not made.members or sorted(made.members, key=_name) != sorted(self.members, key=_name):
            raise AssertionError("the members are others than were put")
        manifest = Manifest(
            id=self.id,
            kind=self.kind,
            datasource=self.datasource,
            job=self.job,
            started_at=self.started_at,
            ended_at=datetime.now(UTC),
            server_version=made.server_version,
            members=made.members,
            fingerprint=made.fingerprint,
            cluster=made.cluster,
            recipients=self.repository.description.recipients,
            notes=made.notes,
            parent=made.parent,
        )
        try:
            await called_off(lambda: None, self._commit, manifest)
        except OSError as error:
            raise not_written(error) from None
        return await asyncio.to_thread(self.repository.load, self.id)

    def _put(self, name: str, content: Content, source: BinaryIO, told: Callable[[int], None], stop: streams.Stop) -> Member:
        with source, self.stage.create(name) as sink:
            sums = streams.seal(source, sink, self.repository.description.recipients, told, stop)
        member = Member(name, content, sums.plain_bytes, sums.plain_sha256, sums.stored_bytes, sums.stored_sha256)
        self.members.append(member)
        return member

    def _commit(self, manifest: Manifest) -> None:
        text = encode(manifest)
        signature = self.repository.writer().sign(f"{BACKUPS}/{self.id}/manifest.json", text)
        for name, data in zip((*SIGNED, SUMS), (text, signature, sums(manifest)), strict=True):
            with self.stage.create(name) as file:
                streams.write_all(file, data)
        self.stage.commit()


@asynccontextmanager
async def making(repository: Repository, kind: Kind, datasource: str, job: str) -> AsyncIterator[Making]:
    """Begin the job's backup, or find it `done`. Raises LockedOut while another process is at the same job, and Refused."""
    held: list[Making] = []
    try:
        try:
            await called_off(lambda: None, lambda: held.append(_begin(repository, kind, datasource, job)))
        except OSError as error:
            raise not_written(error) from None
        yield held[0]
    finally:
        for begun in held:  # also where it began though nobody waited for it any more
            await called_off(lambda: None, begun.stage.close)


def not_written(error: OSError) -> NotWritten:
    """In words, without a path."""
    return NotWritten(f"the backup could not be written: {streams.words(error)}", streams.ROOM)


def _name(member: Member) -> str:
    return member.name


def _begin(repository: Repository, kind: Kind, datasource: str, job: str) -> Making:
    repository.writer()
    if not repository.proven:
        hint = "prove it with `ostiary backup prove`: a backup that nobody can decrypt is none"
        raise Refused("recovery_key", "the recovery key was never seen to work", hint)
    now = datetime.now(UTC)
    id_ = f"{now:%Y%m%dT%H%M%SZ}{job_mark(job)}"
    # The stage is held before the look: whoever committed meanwhile held it, too.
    stage = repository.storage.stage(f"{BACKUPS}/{id_}", f"job{job_mark(job)}")
    try:
        return Making(id_, repository, stage, kind, datasource, job, now, repository.of_job(job))
    except BaseException:
        stage.close()
        raise


async def called_off(stop: Callable[[], None], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it in a thread. When cancelled it is told to stop, and has ended when this raises."""
    task = threaded(work, *args, **kwargs)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            stop()
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue
        if not task.cancelled():
            task.exception()
        raise
    except streams.Stopped:
        raise Unavailable("the backup was called off") from None
