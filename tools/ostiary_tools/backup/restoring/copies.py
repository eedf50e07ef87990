"""What a drill makes of a backup of each kind: a copy that is looked at and thrown away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ostiary_tools.backup.drill import Copy
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Tell
from ostiary_tools.backup.programs import Sought, to_serve
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.backup.scratch import Ground, Scratch
from ostiary_tools.embedded.account import Account


@dataclass(frozen=True, slots=True)
class Copying:
    """Implements `drill.Restoring`."""

    sought: Sought
    account: Account
    runtime_dir: Path | None = None
    parallel: int = 2

    async def __call__(self, kept: StoredBackup, folder: Path, tell: Tell) -> Copy | str:
        """The copy, compared with its fingerprint."""
        match kept.manifest.kind:
            case Kind.LOGICAL:
                return await self._instance(kept, folder, tell)
            case Kind.SQLITE:
                from ostiary_tools.backup.restoring.file import into_file

                await into_file(kept, folder / "copy", tell)
                return _compared(kept)
            case Kind.FULL | Kind.INCREMENTAL:
                return await self._cluster(kept, folder, tell)

    async def _cluster(self, kept: StoredBackup, folder: Path, tell: Tell) -> Copy:
        from ostiary_tools.backup.restoring.cluster import major, recovered

        programs = await asyncio.to_thread(to_serve, major(kept.manifest), self.account, self.sought)
        ground = Ground(programs, self.account, self.runtime_dir)
        async with recovered(kept, folder / "data", ground, tell, durable=False) as server:
            await server.stop()
        return Copy(folder / "data", ground, server.superuser, f"it was recovered to its point; {_compared(kept)}")

    @asynccontextmanager
    async def moved(
        self, repository: Repository, kept: StoredBackup, folder: Path, tell: Tell
    ) -> AsyncIterator[tuple[Scratch, str] | None]:
        """Implements `drill.Moving`."""
        from ostiary_tools.backup.restoring.any_moment import any_moment
        from ostiary_tools.backup.restoring.cluster import major
        from ostiary_tools.backup.restoring.moments import recovered_to

        if (found := await asyncio.to_thread(any_moment, repository, kept)) is None:
            yield None
            return
        way, moment = found
        programs = await asyncio.to_thread(to_serve, major(kept.manifest), self.account, self.sought)
        ground = Ground(programs, self.account, self.runtime_dir)
        async with recovered_to(moment, way, folder / "moved", ground, tell, durable=False) as (server, reached):
            yield server, reached.words

    async def _instance(self, kept: StoredBackup, folder: Path, tell: Tell) -> Copy:
        from ostiary_tools.backup.restoring.instance import ground_for, into_instance

        ground = await asyncio.to_thread(ground_for, kept.manifest, self.account, self.sought, self.runtime_dir)
        made = await into_instance(kept, folder / "data", ground, self.sought, tell, parallel=self.parallel)
        return Copy(made.data_dir, ground, made.superuser, "; ".join((_compared(kept), *made.notes)))


def _compared(kept: StoredBackup) -> str:
    fingerprint = kept.manifest.fingerprint
    if fingerprint is None:
        return "it was restored; it has no fingerprint to compare with"
    return f"{fingerprint.rows:,} rows of {len(fingerprint.tables)} tables are as they were backed up"
