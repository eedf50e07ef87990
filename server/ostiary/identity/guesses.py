"""Wrong credentials by the address they come from: how many, how long the next one must wait, and the record of them.

Whoever's credential was right a moment ago is not held up by a stranger behind the same address.
"""

import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from uuid import uuid4

from starlette.requests import HTTPConnection

from ostiary.audit.record import Entry
from ostiary.audit.recorder import Recorder, RecordingFailed

_log = logging.getLogger(__name__)

BURST = 60
"""Wrong credentials from one address before it waits; one is forgotten each second."""
_ADDRESSES = 10_000
_CREDENTIALS = 1_000
_TOLD = 100
"""Addresses that are recorded by themselves; those that come after are one."""


class TooMany(Exception):
    """Too many wrong credentials came from there; nothing was checked."""

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many wrong credentials")
        self.wait_s = wait_s


@dataclass(slots=True)
class Guesses:
    """Those of this process."""

    recorder: Recorder | None
    policy_hash: str = ""
    clock: Callable[[], float] = time.monotonic
    _levels: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    _right: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    _told: set[str] = field(default_factory=set)

    def admit(self, connection: HTTPConnection) -> None:
        """Raises TooMany when the token must not be looked at yet; who shows none guesses nothing."""
        if "authorization" not in connection.headers:
            return
        level = self._level(_address(connection))
        if level >= BURST and _shown(connection) not in self._right:
            raise TooMany(math.ceil(level - BURST) + 1)

    def right(self, connection: HTTPConnection) -> None:
        """The credential was right."""
        self._right[_shown(connection)] = None
        self._right.move_to_end(_shown(connection))
        if len(self._right) > _CREDENTIALS:
            self._right.popitem(last=False)

    async def wrong(self, connection: HTTPConnection, reason: str) -> None:
        """The credential was wrong. The log gets the address and the reason: the first time a record, then a count."""
        address = _address(connection)
        self._levels[address] = (self._level(address) + 1, self.clock())
        self._levels.move_to_end(address)
        if len(self._levels) > _ADDRESSES:
            self._levels.popitem(last=False)
        if len(self._told) < _TOLD:
            self._told.add(address)
        if self.recorder is not None:
            await self._record(self.recorder, address if address in self._told else "others", reason)

    async def _record(self, recorder: Recorder, address: str, reason: str) -> None:
        entry = Entry(
            call_id=uuid4(),
            agent="",
            roles=(),
            transport="http",
            origin="credential",
            tool="",
            arguments={"address": address},
            decision="unrecognised",
            rules=(),
            policy_hash=self.policy_hash,
            reason=reason,
        )
        try:
            await recorder.refuse(entry)
        except RecordingFailed as error:
            _log.error("a wrong credential was not recorded: %s", error)

    def _level(self, address: str) -> float:
        level, at = self._levels.get(address, (0.0, 0.0))
        return max(0.0, level - (self.clock() - at))


def _address(connection: HTTPConnection) -> str:
    """Of the connection itself; of an IPv6 address the network, since its holder has all of it."""
    host = connection.client.host if connection.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return "unknown"
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else host


def _shown(connection: HTTPConnection) -> bytes:
    return hashlib.sha256("\n".join(connection.headers.getlist("authorization")).encode()).digest()
