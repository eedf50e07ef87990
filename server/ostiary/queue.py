"""Calls that outlive the process that was asked: written down in secret, and made again by a worker.

Such a call walks the one road twice: once when it is asked for, where all but its run is done, and once for each worker that runs
it, as its owner and under the policy of that moment. What is written down is under a key of the installation and bound to its
row, so who writes to the control database makes no worker call anything. A human's yes to the first goes along, and is good for
exactly the call that it was said to.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ostiary.approvals import about
from ostiary.call import Call, Passage
from ostiary_policies.attributes import AttributeType, attribute, digest, plain
from ostiary_policies.model import Principal
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.jobs import KEPT_H
from ostiary_tools.control.link import Link
from ostiary_tools.control.queue import Claimed, QueueTable
from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.result import Job

_log = logging.getLogger(__name__)

_NONCE_BYTES = 12
_BODY_BYTES = 1_000_000


class NotOurs(Exception):
    """What a row holds is not what was written there, or is too old."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The durable jobs of this installation; all its processes see the same."""

    table: QueueTable
    secret: bytes
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this process has written one down."""

    async def write(self, passage: Passage) -> Job:
        """Have a worker run the call: its job, or the one of the same caller that waits for the same work already.

        Raises Refused, Unavailable.
        """
        call, permit = passage.call, passage.permit
        who = permit.principal
        body = self._sealed(passage)
        if len(body) > _BODY_BYTES:
            raise Refused("job", "the arguments of this call are too long to be kept", "ask for less at once")
        try:
            # Nobody but who asks by the clock has chosen a number.
            put = await self.table.put(_id(call), who, call.tool, permit.intent.durable, body, planned=bool(call.job))
        except JournalError as error:
            _log.warning("a job was not written down: %s", error)
            raise Unavailable("jobs cannot be written down now", "try again later") from error
        if put is None:
            raise Refused("jobs", "too many jobs of yours wait or run", "wait for one to end, or cancel one")
        job, kept = put
        if job.id != _id(call) and not self._same(kept, who, call):
            raise Refused("jobs", "other work on the same waits for a worker", "try again when that has ended")
        self.news.set()
        return job

    def _same(self, kept: Claimed, who: Principal, call: Call) -> bool:
        """Whether it is the very call, by the same caller."""
        try:
            owner, other = self.opened(kept)
        except NotOurs:
            return False
        return (owner, other.tool, other.arguments) == (replace(who, taints=frozenset()), call.tool, call.arguments)

    def opened(self, claimed: Claimed) -> tuple[Principal, Call]:
        """The call, and as whom it is made. Raises NotOurs."""
        sealed = claimed.body
        try:
            text = AESGCM(_key(self.secret, claimed.id)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(claimed))
            kept: Mapping[str, Any] = json.loads(text)
            given = tuple(attribute(name, AttributeType(type_), value) for name, type_, value in kept["attributes"])
            who = Principal(claimed.agent, claimed.roles, given)
            call = Call(
                claimed.tool,
                kept["arguments"],
                origin=f"job {claimed.id}",
                transport="worker",
                trace=kept["trace"],
                by_worker=True,
                job=str(claimed.id),
                granted=kept["granted"],
            )
        except (InvalidTag, ValueError, TypeError, KeyError) as error:
            raise NotOurs("it is not as it was written") from error
        # A row that ended is without its body; one that was brought back from a copy is not run again for ever.
        if time.time() - kept["at"] > KEPT_H * 3600:
            raise NotOurs(f"it was asked for more than {KEPT_H} hours ago")
        return who, call

    def _sealed(self, passage: Passage) -> bytes:
        call, who = passage.call, passage.permit.principal
        kept = {
            "at": time.time(),
            "arguments": call.arguments,
            "attributes": [[one.name, one.type.value, plain(one)] for one in who.attributes],
            "granted": about(passage.permit, passage.world) if passage.entry.approval else "",
            "trace": call.trace,
        }
        nonce = secrets.token_bytes(_NONCE_BYTES)
        bound = _clear(_id(call), who.agent, who.roles, digest(who.attributes), call.tool)
        return nonce + AESGCM(_key(self.secret, _id(call))).encrypt(nonce, json.dumps(kept).encode(), bound)


def open_queue(dsn: str, secret: bytes) -> Queue:
    """The queue in that database; its link is for the caller to close."""
    name = HKDF(SHA256(), 8, salt=None, info=b"ostiary job key 1").derive(secret).hex()
    return Queue(QueueTable(Link(dsn, "queue"), name), secret)


def _id(call: Call) -> UUID:
    """Of the job that it becomes. What is asked for by the clock has chosen it, so that it becomes no second one."""
    return UUID(call.job) if call.job else call.id


def _key(secret: bytes, id_: UUID) -> bytes:
    return HKDF(SHA256(), 32, salt=id_.bytes, info=b"ostiary job 1").derive(secret)


def _bound(claimed: Claimed) -> bytes:
    return _clear(claimed.id, claimed.agent, claimed.roles, claimed.attributes, claimed.tool)


def _clear(id_: UUID, agent: str, roles: tuple[str, ...], attributes: str, tool: str) -> bytes:
    """What stands in the clear beside the body: one that is moved to another row, or given another owner, does not open."""
    return json.dumps([str(id_), agent, list(roles), attributes, tool]).encode()
