"""Cues between the processes of one control database: a datasource's schema has a new version, collections are others.

A cue says where to look and nothing else; whoever hears one looks for itself, so a forged
cue costs a look. Cues may be lost while the database cannot be reached: `hear` is then
told of all of them at once, by a cue without a name. Cues of collections come from their table itself.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import asyncpg

from ostiary_tools.control.connect import CONNECTION_ERRORS, Connection, Unreachable, connect, disconnect, reason

Hear = Callable[[str, str], None]
"""Takes a datasource and the version it has now; both empty when cues may have been missed."""

_log = logging.getLogger(__name__)

_CHANNEL = "ostiary_schema"
_COLLECTIONS = "ostiary_collections"
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0
_LIVENESS_S = 30.0
"""How often an idle connection is asked whether it still is one."""
_PATIENCE_S = 5.0
_ERRORS = (asyncpg.PostgresError, *CONNECTION_ERRORS)


class Bus:
    """One connection while somebody listens, made again when it breaks; a cue of our own needs one for a moment at most."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._hear: Hear | None = None
        self._stirred: Callable[[], None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    def publish(self, datasource: str, version: str) -> None:
        """Tell the listener of this process now, and those of the others soon or, if the database is away, never."""
        if self._hear is not None:
            self._hear(datasource, version)
        task = asyncio.create_task(self._notify(f"{version} {datasource}"), name="notify")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def listen(self, hear: Hear) -> None:
        """Hear cues from now on."""
        self._hear = hear
        self._begin()

    def listen_to_collections(self, stirred: Callable[[], None]) -> None:
        """Hear from now on that collections are others, or may be."""
        self._stirred = stirred
        self._begin()

    def _begin(self) -> None:
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="listen")

    async def close(self) -> None:
        """Hear and tell no more."""
        tasks = [task for task in (self._listening, *self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _notify(self, text: str) -> None:
        try:
            connection = await connect(self._dsn, "notify", statement_timeout_s=_PATIENCE_S, flushed=False)
        except Unreachable as error:
            _log.info("other processes were not told of a new schema: %s", error)
            return
        try:
            await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, text, timeout=_PATIENCE_S)
        except _ERRORS as error:
            _log.info("other processes were not told of a new schema: %s", reason(error))
        finally:
            await disconnect(connection)

    async def _listen(self) -> None:
        pause_s = _FIRST_RETRY_S
        while True:
            with suppress(Unreachable, *_ERRORS):
                connection = await connect(self._dsn, "listen", statement_timeout_s=_PATIENCE_S, flushed=False)
                pause_s = _FIRST_RETRY_S
                try:
                    await self._hear_on(connection)
                finally:
                    await disconnect(connection)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_RETRY_S)

    async def _hear_on(self, connection: Connection) -> None:
        """Until the connection breaks."""
        broken = asyncio.Event()
        connection.add_termination_listener(lambda _: broken.set())
        await connection.add_listener(_CHANNEL, self._heard)
        await connection.add_listener(_COLLECTIONS, self._stir)
        self._tell("", "")
        self._stir()
        while not broken.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LIVENESS_S):
                    await broken.wait()
            if not broken.is_set():
                await connection.execute("SELECT 1", timeout=_PATIENCE_S)

    def _heard(self, _connection: object, _pid: int, _channel: str, text: object) -> None:
        version, _, datasource = str(text).partition(" ")
        self._tell(datasource, version)

    def _tell(self, datasource: str, version: str) -> None:
        if self._hear is not None:
            self._hear(datasource, version)

    def _stir(self, *_: object) -> None:
        if self._stirred is not None:
            self._stirred()
