"""How drills are held here: on private copies, in which the audit log of this installation is held against its anchors."""

from datetime import datetime
from urllib.parse import unquote, urlsplit

from ostiary import __version__
from ostiary.audit.copied import verified_copy
from ostiary.audit.place import AuditPlace
from ostiary.config.combinations import CONTROL
from ostiary.vault import Vault
from ostiary_tools.backup.drill import Drill
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.copies import Copying
from ostiary_tools.backup.restoring.moments import Reached
from ostiary_tools.backup.scratch import Scratch
from ostiary_tools.backup.session import system_identifier
from ostiary_tools.backup.spool import user_of
from ostiary_tools.errors import Unavailable

_ALWAYS = "template1"
"""A database that every cluster has."""


def drill_here(vault: Vault) -> Drill:
    """As configured. Raises Unavailable where no user can run a copy's server."""
    account = user_of(vault.spools)
    audit = vault.audit
    if audit is None:
        raise Unavailable("the audit log of this installation is not known here", "hold the drill where its calls are made")

    async def examine(scratch: Scratch, kept: StoredBackup) -> str:
        made = kept.manifest
        if made.kind is Kind.LOGICAL and made.datasource != CONTROL:
            return ""
        return await _looked_at(scratch, made, audit, made.started_at)

    workshop = vault.workshop()
    restoring = Copying(workshop.sought, account, vault.runtime, vault.parallel)
    return Drill(restoring, examine, vault.spools, account, f"ostiary {__version__}", restoring.moved)


async def examined(audit: AuditPlace, scratch: Scratch, reached: Reached) -> str:
    """Of a copy at a moment: what was anchored by then is in its audit log, as it was written. See `verified_copy`."""
    made = reached.base.manifest
    return await _looked_at(scratch, made, audit, max(made.started_at, reached.last or made.started_at))


async def _looked_at(scratch: Scratch, made: Manifest, audit: AuditPlace, until: datetime) -> str:
    own = made.datasource == CONTROL
    database = made.fingerprint.database if own and made.fingerprint else _database(audit.reader_dsn)
    await (await scratch.connect(_ALWAYS)).close()  # it may still be starting
    # A copy of the very cluster in which the log is holds it, whichever datasource it was taken of.
    expected = own or (made.cluster is not None and made.cluster.system_identifier == await system_identifier(audit.reader_dsn))
    return await verified_copy(scratch.dsn(database), audit, until, expected=expected)


def _database(dsn: str) -> str:
    return unquote(urlsplit(dsn).path.strip("/"))
