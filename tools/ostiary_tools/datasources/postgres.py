"""PostgreSQL 14 to 18 behind the `Datasource` port.

Every read is one READ ONLY transaction with its limits set in the server, on a
session that is rolled back and emptied by DISCARD ALL before another call gets it.
The database may be down when the datasource opens and may restart at any time.

A login that could do more than read is not used unless its powers were accepted. They
are read with every refresh of the snapshot, and there is a snapshot only while they hold.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from ostiary_tools.datasources.catalog import RELATION_MARKS, build_snapshot, read_catalog
from ostiary_tools.datasources.failures import DRIVER_ERRORS, connect_problem, is_lost
from ostiary_tools.datasources.listening import listening
from ostiary_tools.datasources.opening import IN_RECOVERY, SESSION, PostgresSettings, milliseconds, opening, seeing
from ostiary_tools.datasources.pool import RESET_TIMEOUT_S, new_pool
from ostiary_tools.datasources.port import ChangeLimits, Changer, Fate, PoolState, ReadLimits
from ostiary_tools.datasources.powers import read_powers
from ostiary_tools.datasources.statement import NO_STANDBY, Known, PostgresReader
from ostiary_tools.datasources.value_logging import ValueLog, value_logs
from ostiary_tools.datasources.watch import Watch
from ostiary_tools.datasources.writer import Writer, changing_settings
from ostiary_tools.errors import Refused, ReplicaUnavailable, SchemaChanged, Unavailable
from ostiary_tools.powers import Power, unaccepted
from ostiary_tools.snapshot import Mark, MarkKey, Snapshot

__all__ = ["PostgresDatasource", "PostgresSettings", "open_postgres"]

_log = logging.getLogger(__name__)

_NOTHING: Mapping[MarkKey, Mark] = MappingProxyType({})
_HAS_TRANSACTION_TIMEOUT = 170_000
_CATALOG_TIMEOUT_S = 60.0
_FIRST_RETRY_S = 0.5
_PAUSE_S = 0.001
_LAST_RETRY_S = 30.0


async def open_postgres(settings: PostgresSettings, changed: Callable[[str, str], None] | None = None) -> "PostgresDatasource":
    """Open the datasource; connecting goes on behind, and a database that is down does not fail it.

    `changed` hears the name and the schema version whenever a refresh finds another version than the one before.
    """
    datasource = PostgresDatasource(settings, await new_pool(settings), changed)
    datasource.warm()
    if settings.replica_dsn is not None:
        standby = replace(settings, dsn=settings.replica_dsn, replica_dsn=None)
        datasource.replica = PostgresDatasource(standby, await new_pool(standby), None, datasource, standby=True)
        datasource.replica.warm()
    if settings.writer_dsn is not None:
        for_changes = changing_settings(settings, settings.writer_dsn)
        login = PostgresDatasource(for_changes, await new_pool(for_changes), None, datasource)
        datasource.writer = Writer(login, for_changes, datasource)
    return datasource


class PostgresDatasource:
    """See the port. Made by `open_postgres`.

    `watch` says of relations whether they are what they were, `known` what was learned under the snapshot.

    A replica is one too, `of` the datasource whose snapshots its statements are judged by. Each of its transactions begins
    with the proof that the server is a standby. So is the login for changes, of which only the sessions are used.

    The private fields hold one invariant: a connection is in the pool, or lent to one
    `read`, or in a task of `_releasing`; nobody else holds it.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        pool: asyncpg.Pool,
        changed: Callable[[str, str], None] | None,
        of: "PostgresDatasource | None" = None,
        *,
        standby: bool = False,
    ) -> None:
        self.replica: PostgresDatasource | None = None
        self.writer: Writer | None = None
        self._of = of
        self._standby = standby
        self._kind = ReplicaUnavailable if standby else Unavailable
        part = "" if of is None else "the replica of " if standby else "the login for changes of "
        self._called = f"{part}datasource `{settings.name}`"
        self._settings = settings
        self._changed = changed
        self._version = ""
        self._pool = pool
        self.known = Known()
        self.watch = Watch(self._connect_watch, RELATION_MARKS)
        self._releasing: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._problem = "it has not been reached yet"
        self._unaccepted: tuple[Power, ...] = ()
        self._value_logs: tuple[ValueLog, ...] = ()
        self._warming: asyncio.Task[None] | None = None
        self._snapshot: Snapshot | None = None
        self._stamp = ""
        self._checked_at = 0.0
        self._reading = asyncio.Lock()
        self._refreshing: asyncio.Task[Snapshot] | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """As configured."""
        return self._settings.name

    def listening(self, channels: frozenset[str], hear: Callable[[str], None]) -> AbstractAsyncContextManager[None]:
        """As the port says."""
        return listening(self._settings, channels, hear)

    def state(self) -> PoolState:
        """Sizes and health."""
        return PoolState(
            size=self._pool.get_size(),
            idle=self._pool.get_idle_size(),
            waiting=self._waiting,
            healthy=not self._problem and not self._unaccepted,
            problem=self._problem or (f"its login is over-privileged: {', '.join(self._unaccepted)}" if self._unaccepted else ""),
            replica=self.replica.state() if self.replica is not None else None,
        )

    @asynccontextmanager
    async def read(self, limits: ReadLimits, relied: Mapping[MarkKey, Mark] = _NOTHING) -> AsyncIterator[PostgresReader]:
        """Open the transaction on a pooled session; roll back and empty the session behind the caller's back."""
        if self._of is not None:
            await self.snapshot()  # nobody else asks a replica for it, and with it goes what its login may do
        elif self._snapshot is None:
            await self.refresh()
        connection = await self.begin(opening(self._settings, "BEGIN READ ONLY", limits.timeout_s) + self._whole(limits))
        known = (self._of or self).known
        watch = partial(self.watch.marks, connection.instance)
        try:
            yield PostgresReader(connection, limits, relied, known, watch, standby=self._standby)
        except SchemaChanged:
            self._doubt()
            raise
        finally:
            self.give_back(connection)

    @property
    def changeable(self) -> bool:
        """Whether a login for changes is configured."""
        return self.writer is not None

    @asynccontextmanager
    async def change(self, limits: ChangeLimits, relied: Mapping[MarkKey, Mark] = _NOTHING) -> AsyncIterator[Changer]:
        """See `Writer.change`."""
        try:
            async with self._writing().change(limits, relied) as changer:
                yield changer
        except SchemaChanged:
            self._doubt()
            raise

    async def fate(self, transaction: str) -> Fate:
        """See `Writer.fate`."""
        return await self._writing().fate(transaction)

    def _writing(self) -> Writer:
        if self.writer is None:
            raise Refused("read_only", f"{self._called} is read only", "its operator can configure `writer_dsn` for it")
        return self.writer

    def _doubt(self) -> None:
        """Have the next call judged by a new snapshot instead of by this one again."""
        if self._of is None:
            self._snapshot = None
        else:
            # A replica that lags differs for a while, so the datasource looks again and keeps what it has if that is right.
            self._of.look_again()

    def look_again(self) -> None:
        """Have the next call that asks for the snapshot see whether it is still right."""
        self._checked_at = -math.inf

    def _whole(self, limits: ReadLimits) -> str:
        """Bound the transaction as a whole: between analysis and run the driver leaves it in a state that no other limit ends."""
        if self._snapshot is None or self._snapshot.server_version < _HAS_TRANSACTION_TIMEOUT:
            return ""
        return f"SET LOCAL transaction_timeout = {milliseconds(limits.timeout_s + self._settings.idle_timeout_s)};"

    async def snapshot(self) -> Snapshot:
        """Give the snapshot; the first call that finds it older than its time to live has it read anew and gets the old one."""
        fresh = asyncio.get_running_loop().time() - self._checked_at < self._settings.snapshot_ttl_s
        if self._snapshot is not None and fresh:
            return self._snapshot
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self.refresh(), name=f"refresh {self.name}")
            # With an old snapshot nobody awaits the task; its failure stands in `state()`.
            self._refreshing.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self._snapshot is not None:
            return self._snapshot
        return await asyncio.shield(self._refreshing)

    async def refresh(self) -> Snapshot:
        """Read the catalog; when its stamp has not changed the same object is returned."""
        async with self._reading:
            connection = await self.begin(
                opening(self._settings, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", _CATALOG_TIMEOUT_S)
            )
            try:
                self._judge_login(await read_powers(connection, self._settings.set_role))
                if self._settings.secret_values:
                    self._note_logging(await value_logs(connection))
                rows = await read_catalog(connection, self._stamp if self._snapshot else "") if self._of is None else None
            except DRIVER_ERRORS as error:
                if not is_lost(error):
                    # Who could do what is not known, so nothing is read until it is.
                    self._snapshot = None
                self._note(f"its catalog cannot be read ({type(error).__name__})")
                raise self._unavailable() from None
            finally:
                self.give_back(connection)
            if rows is not None:
                self._snapshot = await asyncio.to_thread(
                    build_snapshot, self.name, rows, search_path=self._settings.search_path, tags=self._settings.tags
                )
                self._stamp = rows.stamp
                self.known = Known()
                self._note_version(self._snapshot.version)
            elif self._of is not None:
                self._snapshot = await self._of.snapshot()
            self._checked_at = asyncio.get_running_loop().time()
            if self._snapshot is None:
                raise self._unavailable()
            return self._snapshot

    def _note_version(self, version: str) -> None:
        if self._changed is not None and self._version not in ("", version):
            self._changed(self.name, version)
        self._version = version

    def _judge_login(self, powers: frozenset[Power]) -> None:
        """Raise Unavailable, and give up the snapshot, while the login may do what nobody accepted."""
        found = unaccepted(powers, self._settings.accepted_powers)
        if found and found != self._unaccepted:
            _log.error(
                "%s is not served: its login may do more than read (%s); `ostiary doctor %s` shows one that may not, "
                "or accept this by `accepted_powers` in [datasources.%s]",
                *(self._called, ", ".join(found), self.name, self.name),
            )
        self._unaccepted = found
        if found:
            self._snapshot = None
            self.warm()
            message = f"{self._called} is not available: its login may do more than its operator has accepted"
            raise self._kind(message, "the operator finds the reason with `ostiary doctor`")

    def _note_logging(self, found: tuple[ValueLog, ...]) -> None:
        if found and found != self._value_logs:
            _log.warning(
                "the server of %s logs bound values (%s), and with them the key of `hash` masks; "
                "`ostiary doctor %s` shows what ends it",
                *(self._called, "; ".join(each.because for each in found), self.name),
            )
        self._value_logs = found

    async def close(self) -> None:
        """Close every connection; what runs is cancelled in the server first."""
        self._closed = True
        for other in (self.replica, self.writer):
            if other is not None:
                await other.close()
        for task in (self._warming, self._refreshing):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, Unavailable):
                    await task
        await asyncio.gather(*self._releasing)
        await self.watch.close()
        try:
            async with asyncio.timeout(RESET_TIMEOUT_S):
                await self._pool.close()
        except DRIVER_ERRORS:  # a server that hangs, or one that is gone: there is nobody left to say goodbye to
            self._pool.terminate()

    async def _connect_watch(self) -> asyncpg.Connection:
        """One that sees the catalog as the pool's do, and on which a question's plan is kept."""
        session = {**SESSION, "application_name": "ostiary marks", "plan_cache_mode": "force_generic_plan"}
        connection = await asyncpg.connect(self._settings.dsn, timeout=self._settings.acquire_timeout_s, server_settings=session)
        try:
            await connection.execute(seeing(self._settings, local="") + "SET default_transaction_read_only = on")
        except BaseException:  # also when nobody waits any more
            connection.terminate()
            raise
        return connection

    async def begin(self, script: str, *, again: bool = True) -> PoolConnectionProxy:
        """Acquire a connection and send it our opening script; one that died while it was idle is replaced once."""
        connection = await self._acquire()
        try:
            proof = IN_RECOVERY if self._standby else ""
            status = await connection.execute(script + proof, timeout=self._settings.acquire_timeout_s)
        except DRIVER_ERRORS as error:
            self.give_back(connection)
            if not (again and is_lost(error)):
                raise self._refused(error) from None
        except BaseException:
            self.give_back(connection)
            raise
        else:
            if not self._standby or status == "SELECT 1":
                self._problem = ""
                return connection
            # It was promoted, or its address leads elsewhere now: a new connection may find another one.
            self.give_back(connection)
            if not again:
                self._note(NO_STANDBY)
                raise self._unavailable()
        await self._pool.expire_connections()
        return await self.begin(script, again=False)

    async def _acquire(self) -> PoolConnectionProxy:
        self._waiting += 1
        # A bound on the waiting costs a task, and for one that is idle nobody waits; connecting has its own.
        timeout_s = None if self._pool.get_idle_size() else self._settings.acquire_timeout_s
        try:
            return await self._pool.acquire(timeout=timeout_s)
        except TimeoutError:
            if self._pool.get_idle_size() == 0 and self._pool.get_size() == self._settings.pool_max:
                busy = f"all {self._settings.pool_max} connections of {self._called} are busy"
                raise self._kind(busy, "try again in a moment") from None
            raise self._refused(TimeoutError()) from None
        except DRIVER_ERRORS as error:
            raise self._refused(error) from None
        finally:
            self._waiting -= 1

    def give_back(self, connection: PoolConnectionProxy) -> None:
        """Roll back and empty a session behind the caller's back."""
        task = asyncio.create_task(self._release(connection), name=f"release {self.name}")
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release(self, connection: PoolConnectionProxy) -> None:
        if not self._waiting:
            # The reply goes first: emptying the session keeps the processor busy as long as a small statement does.
            await asyncio.sleep(_PAUSE_S)
        # A session that cannot be emptied is closed by asyncpg, and the pool makes another.
        with suppress(*DRIVER_ERRORS):
            try:
                await connection.execute("ROLLBACK", timeout=RESET_TIMEOUT_S)
            finally:
                await self._pool.release(connection, timeout=RESET_TIMEOUT_S)

    def _refused(self, error: BaseException) -> Unavailable:
        self._note(connect_problem(error))
        return self._unavailable()

    def _unavailable(self) -> Unavailable:
        return self._kind(f"{self._called} cannot be reached: {self._problem}", "try again later")

    def _note(self, problem: str) -> None:
        self._problem = problem
        self.warm()

    def warm(self) -> None:
        """Connect and read the catalog behind, until it worked once; so health returns without a caller."""
        if not self._closed and (self._warming is None or self._warming.done()):
            self._warming = asyncio.create_task(self._warm(), name=f"warm {self.name}")

    async def _warm(self) -> None:
        pause_s = _FIRST_RETRY_S
        while True:
            try:
                await self.refresh()
                await self._fill()
                await self.watch.connect()
            except Unavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LAST_RETRY_S)
            else:
                return

    async def _fill(self) -> None:
        """Hold as many connections at once as the pool keeps at least, so that they are made."""
        begin = opening(self._settings, "BEGIN READ ONLY", _CATALOG_TIMEOUT_S)
        held = await asyncio.gather(*(self.begin(begin) for _ in range(self._settings.pool_min)), return_exceptions=True)
        for connection in held:
            if not isinstance(connection, BaseException):
                self.give_back(connection)
