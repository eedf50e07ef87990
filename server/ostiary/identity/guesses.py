"""Wrong credentials by the address they come from: how many are told so, and the record of them.

Nobody guesses 256 bits or a signature. So every credential is checked, and a crowd of
wrong ones costs those who send them an answer, and nobody else anything.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_network
from uuid import uuid4

from starlette.requests import HTTPConnection

from ostiary.audit.record import Entry
from ostiary.audit.recorder import FOLD_S, Recorder, RecordingFailed
from ostiary.identity.caller import NotEntitled, NotRecognised
from ostiary.identity.peers import Networks, sender

_log = logging.getLogger(__name__)

BURST = 60
"""Wrong credentials that one address may show at once; one more each second."""
_ADDRESSES = 10_000
TOLD = 100
"""Refusals that get a record each while the log counts repetitions; those of further addresses are one."""


class TooMany(Exception):
    """The credential is wrong, and too many from there were before it."""

    wait_s = 1
    """Until one more may be shown."""

    def __init__(self) -> None:
        super().__init__("too many wrong credentials")


@dataclass(slots=True)
class Guesses:
    """Those of this process."""

    recorder: Recorder
    policy_hash: Callable[[], str]
    """Of the policies in force now."""
    proxies: Networks
    """Who names the address for which a credential counts."""
    clock: Callable[[], float]
    _forgotten_at: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """By address: when all its wrong credentials are forgotten, one a second."""
    _told: set[tuple[str, ...]] = field(default_factory=set)
    _told_until: float = 0.0

    async def wrong(self, connection: HTTPConnection, error: NotRecognised) -> NotRecognised | TooMany:
        """What to answer a wrong credential with; it is on record."""
        address = self._address(connection)
        refusal = error if self._counted(address) else TooMany()
        await self._record(address, "unrecognised", str(refusal), **({"token": error.token} if error.token else {}))
        return refusal

    async def useless(self, connection: HTTPConnection, error: NotEntitled) -> None:
        """A right credential opened nothing."""
        await self._record(self._address(connection), "unentitled", str(error), error.agent, issuer=error.issuer)

    def _counted(self, address: str) -> bool:
        """Count one more; false when the address has shown as many as it may."""
        now = self.clock()
        forgotten_at = max(now, self._forgotten_at.pop(address, now))
        may = forgotten_at + 1 <= now + BURST
        self._forgotten_at[address] = forgotten_at + may
        if len(self._forgotten_at) > _ADDRESSES:
            self._forgotten_at.popitem(last=False)
        return may

    async def _record(self, address: str, decision: str, reason: str, agent: str = "", **facts: str) -> None:
        """The first time a record, then a count. A failure leaves the refusal as it is."""
        entry = Entry(
            call_id=uuid4(),
            agent=agent,
            roles=(),
            transport="http",
            origin="credential",
            tool="",
            arguments={"address": self._told_as(address, decision, reason, agent, *facts.values()), **facts},
            decision=decision,
            rules=(),
            policy_hash=self.policy_hash(),
            reason=reason,
        )
        try:
            await self.recorder.refuse(entry)
        except RecordingFailed as error:
            _log.error("a refused credential was not recorded: %s", error)

    def _told_as(self, address: str, *what: str) -> str:
        if self.clock() >= self._told_until:
            self._told, self._told_until = set(), self.clock() + FOLD_S
        if len(self._told) < TOLD:
            self._told.add((address, *what))
        return address if (address, *what) in self._told else "others"

    def _address(self, connection: HTTPConnection) -> str:
        """Of an IPv6 address the network, since its holder has all of it."""
        address = sender(connection, self.proxies)
        if address is None:
            return "unknown"
        return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)
