"""Whether the servers whose log a plan has kept are fit for it: looked at, and nothing of them changed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ostiary.config.backup import Plan
from ostiary.log_keeping import kept
from ostiary.vault import Vault
from ostiary_policies.model import Backup
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.errors import ToolError

if TYPE_CHECKING:
    from ostiary_tools.backup.port import Source


@dataclass(frozen=True, slots=True)
class LogFinding:
    """Of one plan."""

    plan: str
    problems: Sequence[tuple[str, str]]
    """What is wrong, each with what mends it."""


async def examined(plans: Mapping[str, Plan], vault: Vault, only: str | None = None) -> Sequence[LogFinding]:
    """Of every plan by which a log is kept."""
    names = [name for name in kept(plans) if only in (None, name)]
    return await asyncio.gather(*(_of(name, vault.sources.get(Backup(name, Kind.FULL.value))) for name in names))


async def _of(name: str, source: "Source | None") -> LogFinding:
    if source is None:
        return LogFinding(name, [(f"`{name}` has no login for backups", "give it `backup_dsn`")])
    from ostiary_tools.backup.session import ANSWERS_S, connected
    from ostiary_tools.backup.wal_archive import clock, slot

    try:
        async with connected(source.dsn, answers_s=ANSWERS_S) as session:
            await slot.looked_at(session)
            return LogFinding(name, [*await slot.shortcomings(session), *await clock.shortcomings(session)])
    except ToolError as error:
        return LogFinding(name, [(error.message, error.hint)])
