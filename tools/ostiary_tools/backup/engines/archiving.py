"""A server that archives its log holds the end of a backup back until the log is archived, however long it fails to."""

import asyncio
from typing import NoReturn

from ostiary_tools.backup.pace import Pace
from ostiary_tools.backup.reading import in_words
from ostiary_tools.backup.session import ANSWERS_S, NAME, connected
from ostiary_tools.errors import Unavailable

FAILS = "(SELECT a.last_failed_time > coalesce(a.last_archived_time, '-infinity') FROM pg_catalog.pg_stat_archiver a)"
"""Whether the last try failed, in SQL; NULL before the first one."""
_LOOK_S = 2.0
_PATIENCE_S = 120.0
"""A server that has failed three times tries again after a minute: this is two such rounds."""
_WAITS = "waiting until the server has archived its log"
_HELD = f"""
SELECT {FAILS} AS fails, EXISTS (SELECT FROM pg_catalog.pg_stat_activity s
    WHERE s.wait_event OPERATOR(pg_catalog.=) 'BackupWaitWalArchive'
    AND s.usename OPERATOR(pg_catalog.=) current_user AND s.application_name OPERATOR(pg_catalog.=) $1) AS held
"""  # noqa: S608  the constant above


def failing() -> Unavailable:
    """What there is to say of it."""
    hint = "mend what `archive_command` does, see `pg_stat_archiver`; or set `archive_mode = off`"
    return Unavailable("the server fails to archive its log, so that no backup would end", hint)


async def held_back(dsn: str, pace: Pace) -> NoReturn:
    """Watch until a backup of ours was held back for too long because archiving fails. Raises Unavailable."""
    clock, since = asyncio.get_running_loop(), None
    async with connected(dsn, answers_s=ANSWERS_S) as connection:
        while True:
            await asyncio.sleep(_LOOK_S)
            with in_words():
                found = await connection.fetchrow(_HELD, NAME)
            pace.waits = _WAITS if found["held"] else ""
            since = (since or clock.time()) if found["held"] and found["fails"] else None
            if since is not None and clock.time() - since > _PATIENCE_S:
                raise failing()
