"""A provider's keys, kept while they are fresh and for a while when it is away.

A name that is not known may be of a new key: it is asked for, by one request for all who
wait, and a few times a minute whatever the tokens say. Nothing here reads a token.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from ostiary.identity.caller import NotRecognised, Unreachable
from ostiary.identity.keys import Key

_log = logging.getLogger(__name__)

FRESH_S = 300.0
"""A key that the provider withdrew is believed for at most this long while the provider answers."""
KEPT_S = 3600.0
"""And this long while it does not."""
_ASKED, _WITHIN_S = 3, 30.0
"""How often the provider is asked, at most."""
_WAIT_S = 1.0
"""How long a call whose key is known waits for a fresh one."""


class Keyring:
    """The keys of one provider."""

    def __init__(self, ask: Callable[[], Awaitable[Mapping[str, Key]]], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._keys: Mapping[str, Key] = {}
        self._fetched_at = float("-inf")
        self._asked_at: deque[float] = deque(maxlen=_ASKED)
        self._asking: asyncio.Task[None] | None = None
        self._trouble = ""

    async def key(self, name: str) -> Key:
        """The key of that name. Raises NotRecognised when the provider has none, and Unreachable when it cannot be asked."""
        known, asked = self._known(name), True
        if known is None or self._age() >= FRESH_S:
            asked = await self._asked(None if known is None else 0 if self._trouble else _WAIT_S)
            known = self._known(name)
        if known is not None:
            return known
        if not asked or self._trouble:
            raise Unreachable(self._trouble or "the provider was asked too often just now")
        raise NotRecognised("it is signed by no key of the provider")

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _known(self, name: str) -> Key | None:
        return self._keys.get(name) if self._age() < KEPT_S else None

    async def _asked(self, patience_s: float | None) -> bool:
        """Ask, or wait with those who asked already; false when it is not asked. Whoever stops waiting stops nobody else."""
        if self._asking is None or self._asking.done():
            if len(self._asked_at) == _ASKED and self._clock() - self._asked_at[0] < _WITHIN_S:
                return False
            self._asked_at.append(self._clock())
            self._asking = asyncio.create_task(self._fetch(), name="keys of the identity provider")
        _, waiting = await asyncio.wait({self._asking}, timeout=patience_s)
        if waiting:
            self._trouble = self._trouble or "the provider does not answer soon"
        return True

    async def _fetch(self) -> None:
        try:
            self._keys = await self._ask()
        except Unreachable as error:
            self._trouble = str(error)
            _log.warning("the identity provider's keys: %s", error)
        except Exception as error:  # noqa: BLE001 a defect of the reading must not pass for an answer
            self._trouble = "the provider's answer could not be read"
            _log.error("the identity provider's keys could not be read: %s", type(error).__name__)
        else:
            self._fetched_at, self._trouble = self._clock(), ""
