"""The ledger of changes: what was proposed, by whom, and what became of it, kept in the control database.

A handle is a secret of 144 bits that its owner alone has, as a cursor's is. It grants nothing: a change is applied for the
agent that proposed it, with the roles and attributes it had, and is planned, decided and recorded anew. It is applied once:
what moves its row from `proposed` is one conditional UPDATE, made with the name of the transaction that is about to commit.
"""

import asyncio
import logging
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cryptography.exceptions import InvalidTag

from ostiary.change_body import Body, derived, opened, sealed
from ostiary_policies.attributes import digest
from ostiary_policies.model import Permit, Principal
from ostiary_tools.api import Refused, Unavailable, World
from ostiary_tools.change import KnownChange, State, unknown_change
from ostiary_tools.control.changes import ChangeTable, Move, StoredChange, Unsettled
from ostiary_tools.control.connect import JournalError
from ostiary_tools.view import SchemaView

_log = logging.getLogger(__name__)

_SECRET_BYTES = 18
_HANDLE = re.compile(r"[A-Za-z0-9_-]{24}", re.ASCII)
_AGAIN = "propose it again"


@dataclass(frozen=True, slots=True)
class Page:
    """One change in the ledger."""

    id: bytes
    stored: StoredChange
    body: Body


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long what is kept is good for."""

    proposal_s: float
    undo_s: float


class Ledger:
    """The changes of this installation; all its processes see the same."""

    def __init__(self, table: ChangeTable, key: bytes, lifetimes: Lifetimes) -> None:
        self._table = table
        self._key = key
        self.lifetimes = lifetimes

    async def known(self, handle: str, who: Principal, world: World) -> KnownChange:
        """The caller's change. Raises Refused as `page` does, Unavailable."""
        page = await self.page(handle, who, world)
        stored, body = page.stored, page.body
        return KnownChange(
            stored.number, stored.datasource, stored.state, body.statements, body.effects, stored.expires_at, body.shown, body.back
        )

    async def page(self, handle: str, who: Principal, world: World) -> Page:
        """The caller's change as it is kept now.

        Raises Refused with the reason when it is the caller's and can be used no more, and in the words of an unknown one
        when it is not; Unavailable.
        """
        if not _HANDLE.fullmatch(handle):
            raise unknown_change()
        id_, key = derived(handle, self._key)
        try:
            stored = await self._table.find(id_)
        except JournalError as error:
            _log.warning("a change was not looked up: %s", error)
            raise Unavailable("changes cannot be looked up now, so nothing was run", "try again later") from error
        if stored is None or stored.agent != who.agent:
            raise unknown_change()
        try:
            body = await asyncio.to_thread(opened, stored, id_, key)
        except (InvalidTag, ValueError, TypeError, KeyError) as error:
            _log.warning("a change is not as it was written")
            raise unknown_change() from error
        if (stored.state == "proposed") == bool(stored.transaction):
            # The state alone is not sealed, since others than the owner settle it.
            _log.warning("a change has a state that it never had")
            raise unknown_change()
        if ended := _ended(stored, body, who, world):
            raise Refused("change", f"this change has ended: {ended}", _AGAIN)
        return Page(id_, stored, body)

    async def keep(self, body: Body, number: UUID, permit: Permit, view: SchemaView) -> str:
        """Keep a proposal; its handle. Raises Unavailable when it is not kept."""
        who = permit.principal
        handle = urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        id_, key = derived(handle, self._key)
        judged = (view.datasource, permit.policy_hash, view.snapshot.version)
        stored = StoredChange(number, who.agent, who.roles, *judged, body.effects.rows, _in(self.lifetimes.proposal_s), b"")
        kept = await asyncio.to_thread(sealed, body, stored, id_, key)
        try:
            await self._table.put(id_, replace(stored, body=kept))
        except JournalError as error:
            _log.warning("a proposal was not kept: %s", error)
            raise Unavailable("changes cannot be kept now", "nothing was changed; try again later") from error
        return handle

    async def send(self, page: Page, handle: str, body: Body, to: State, by: str) -> Page | None:
        """Write down what is about to be committed, and by which transaction; `None` when somebody else has moved it meanwhile.

        Raises Unavailable when that is not known: then nothing may be committed.
        """
        id_, key = derived(handle, self._key)
        expires_at = _in(self.lifetimes.undo_s)
        sent = replace(page.stored, state=to, transaction=by, rows_changed=body.effects.rows, expires_at=expires_at)
        kept = await asyncio.to_thread(sealed, body, sent, id_, key)
        move = Move(id_, page.stored.state, page.stored.transaction, to, by)
        try:
            moved = await self._table.move(move, body=kept, expires_at=expires_at, rows=body.effects.rows)
        except JournalError as error:
            _log.warning("a change was not written down, and not committed: %s", error)
            raise Unavailable("changes cannot be written down now, so nothing was changed", "try again later") from error
        return Page(id_, replace(sent, body=kept), body) if moved else None

    async def settle(self, page: Page, to: State) -> bool:
        """Write down what came of it. Whether that is written; else `settling` finds it out."""
        return await self._moved(Move(page.id, page.stored.state, page.stored.transaction, to, page.stored.transaction))

    async def establish(self, unsettled: Unsettled, to: State) -> bool:
        """Likewise for another process. Raises JournalError."""
        return await self._table.move(Move(unsettled.id, unsettled.state, unsettled.transaction, to, unsettled.transaction))

    async def unsettled(self, quiet_s: float) -> Sequence[Unsettled]:
        """Changes of which nobody has said for so long what came of them. Raises JournalError."""
        return await self._table.unsettled(quiet_s)

    async def postpone(self, unsettled: Sequence[Unsettled]) -> None:
        """Have others asked about first. Raises JournalError."""
        await self._table.postpone([one.id for one in unsettled])

    async def forget(self) -> None:
        """Let go of what has ended long ago. Raises JournalError."""
        await self._table.forget()

    async def _moved(self, move: Move) -> bool:
        try:
            return await self._table.move(move)
        except JournalError as error:
            _log.warning("what came of a change is not written yet: %s", error)
            return False

    async def close(self) -> None:
        """Give the connection back."""
        await self._table.close()


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def _ended(stored: StoredChange, body: Body, who: Principal, world: World) -> str:
    """Why the change can be used no more, or empty."""
    if stored.expired:
        return "it has expired"
    if stored.roles != who.roles:
        return "your roles have changed since"
    if body.attributes != digest(who.attributes):
        return "your attributes have changed since"
    view = world.views.get(stored.datasource)
    if view is not None and stored.state == "proposed" and view.snapshot.version != stored.schema_version:
        return "the schema has changed since"
    return ""
