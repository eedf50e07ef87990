"""Backups that other tools keep, as configured: asked what there is of them, and drilled."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ostiary import __version__
from ostiary.config import Config
from ostiary.config.backup import External as Section
from ostiary_tools.embedded.account import named
from ostiary_tools.errors import Refused, ToolError, Unavailable

if TYPE_CHECKING:
    from ostiary.progress import Tell
    from ostiary.vault import Vault
    from ostiary_tools.backup.evidence import Evidence
    from ostiary_tools.backup.external.port import External, Holding

_PLACES = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
Told = Mapping[str, "Holding | ToolError"]
"""What each tool says, or why it does not."""


async def told(config: Config) -> Told:
    """By name. What one tool does not answer keeps no other from being asked."""
    return dict(zip(config.external, await asyncio.gather(*(_told(config, name) for name in config.external)), strict=True))


async def drill(config: Config, vault: "Vault", name: str, label: str | None, tell: "Tell") -> "Evidence":
    """Of a backup of that name, the newest where none is said. Raises ToolError."""
    from ostiary_tools.backup.external.drill import Place, hold
    from ostiary_tools.backup.spool import user_of

    if name not in config.external:
        known = ", ".join(f"`{one}`" for one in config.external)
        raise Refused("external", "there is nothing external of that name", f"choose {known}" if known else "set `[external.NAME]`")
    repository = await asyncio.to_thread(vault.repository)
    external = opened(config, name)
    backups = (await external.holding()).backups
    chosen = next((one for one in reversed(backups) if label in (None, one.id)), None)
    if chosen is None:
        raise Refused("backup", "there is no such backup", "`ostiary dr report --json` shows those there are")
    account = await asyncio.to_thread(user_of, vault.spools)
    superuser = config.external[name].superuser
    place = Place(vault.spools, account, vault.workshop().sought, superuser, f"ostiary {__version__}", vault.runtime)
    return await hold(external, chosen, place, repository, tell)


def opened(config: Config, name: str) -> "External":
    """Its adapter. Raises Unavailable where the tool is not here."""
    from ostiary_tools.backup.external.barman import Barman
    from ostiary_tools.backup.external.pgbackrest import PgBackRest
    from ostiary_tools.backup.external.port import Tool

    section = config.external[name]
    account = named(section.user) if section.user is not None else None
    if section.user is not None and account is None:
        raise Unavailable(f"there is no user `{section.user}` on this machine", f"set `external.{name}.user` to one that there is")
    tool = Tool(name, _program(section), section.stanza or name, section.config, account)
    return PgBackRest(tool) if section.tool == "pgbackrest" else Barman(tool)


async def _told(config: Config, name: str) -> "Holding | ToolError":
    try:
        return await opened(config, name).holding()
    except ToolError as error:
        return error


def _program(section: Section) -> Path:
    """Raises Unavailable."""
    places = [section.program] if section.program is not None else [Path(folder) / section.tool for folder in _PLACES]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise Unavailable(f"`{section.tool}` is not on this machine", "install it, or name it as `program`")
    return found
