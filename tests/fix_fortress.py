"""The attacked cluster: two shops that differ in nothing but their secrets, sessions of others, and a judge of effects."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import fix_attacks
import fix_fingerprint
import pytest
from fix_attacks import CASES, PATIENCE_S, TWINS, Attack, Secrets
from fix_postgres import ADMIN, NO_SYSTEM_POSTGRES, PostgresServer, new_server, short_directory, system_binaries

READER = "shop_reader"
"""The least that reads: it may select everything and nothing else."""
TAGS = {
    "public.employees.salary": ["secret"],
    "public.employees.national_id": ["secret"],
    "public.employees.notes": ["secret"],
    "public.customers.password_hash": ["secret"],
    "public.vault": ["hidden"],
    "public.kept": ["hidden"],
    "public.payroll": ["hidden"],
    "public.readings.code": ["hidden"],
    "public.etc": ["hidden"],
    "public.far_vault": ["hidden"],
    "public.near_vault": ["hidden"],
}


class Fortress:
    """The attacked cluster, its secrets, and the sessions of others in it."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.secrets = {TWINS[0]: Secrets("1"), TWINS[1]: Secrets("9")}
        # A digest, which the server keeps as it stands; and what its configuration holds.
        self.shared = Secrets("5", {"password": f"md5{secrets.token_hex(16)}", "cluster": server.settings["cluster_name"]})
        """Of the cluster: files, roles, settings, other sessions."""
        self.offers: set[str] = set()
        """What cases may need: extensions, `xml`, and `17+` for every version reached."""
        self.bystander: asyncpg.Connection | None = None
        self.sleeper: asyncpg.Connection | None = None
        self._sleeping: asyncio.Task[Any] | None = None
        self._heard: list[str] = []
        self._judges: dict[str, asyncpg.Connection] = {}
        self._files: set[Path] = set()
        self._read_to = self._written = ""
        self._logged: dict[str, str] = {}

    def build(self) -> None:
        """Roles, files, and the two shops as templates."""
        self.server.sql(f"CREATE ROLE {READER} LOGIN PASSWORD '{self.shared['password']}'")
        self.server.sql(f"COMMENT ON ROLE {ADMIN} IS '{self.shared['role']}'")
        text = (CASES / "attacks" / "shop.sql").read_text("utf-8")
        text = text.replace("@folder@", str(self.folder)).replace("@socket@", str(self.server.root))
        self.server.sql("CREATE DATABASE origin")
        self.server.sql(_ALL_EXTENSIONS, "origin")
        self.server.sql(f"CREATE TABLE kept AS SELECT '{self.shared['kept']}'::text AS token", "origin")
        for twin in TWINS:
            filled = text
            for name in sorted({part for part in text.split("@")[1::2] if part.isalpha()}):
                filled = filled.replace(f"@{name}@", self.secrets[twin][name])
            self.server.sql(f"CREATE DATABASE origin_{twin} TEMPLATE origin")
            self.server.sql(filled, f"origin_{twin}")
            self.server.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}", f"origin_{twin}")
            self.server.sql("ANALYZE", f"origin_{twin}")
            self.server.sql("VACUUM (FREEZE)", f"origin_{twin}")
        for name, content in {
            "secret.txt": self.shared["file"],
            f"f{self.shared['listing']}": "",
            f"{TWINS[0]}.txt": "x" * 3,
            f"{TWINS[1]}.txt": "x" * 9,
        }.items():
            (self.folder / name).write_text(content)
        self._files = {*self.folder.iterdir()}

    async def rebuild(self) -> None:
        """Both shops as they were, and nothing of an attack left in the cluster."""
        await self._leave()
        self._read_to = ""
        self._logged = {}
        for path in {*self.folder.iterdir(), *self.server.data.glob("pwned*")} - self._files:
            path.unlink()
        connection = await self._judge("postgres")
        try:
            self.offers = self.offers or await _offers(connection, await self._judge(f"origin_{TWINS[0]}"))
            await self._clean(connection)
            for twin in TWINS:
                await connection.execute(f"CREATE DATABASE {twin} TEMPLATE origin_{twin}")
                await connection.execute(f"ALTER DATABASE {twin} SET shop.canary = '{self.secrets[twin]['setting']}'")
            for name in _READ_BY_THE_JUDGES:  # else a reader prunes what was left behind, which moves the log
                await connection.execute(f"VACUUM (FREEZE) pg_catalog.{name}")
            await connection.execute("CHECKPOINT")
            await self._alone(connection)
            self.shared.drawn["start"] = await connection.fetchval("SELECT pg_postmaster_start_time()::text")
        finally:
            await connection.close()
        await self._enter()

    async def _judge(self, database: str) -> asyncpg.Connection:
        settings = {"application_name": "judge", "lock_timeout": "1s"}
        return await asyncpg.connect(self.server.dsn(database=database), server_settings=settings)

    async def _clean(self, connection: asyncpg.Connection) -> None:
        """Drop what an attack made outside the shops, and the shops."""
        for row in await connection.fetch("SELECT gid, database FROM pg_prepared_xacts"):
            other = await self._judge(row["database"])
            await other.execute(f"ROLLBACK PREPARED '{row['gid']}'")
            await other.close()
        await connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        for row in await connection.fetch("SELECT datname FROM pg_database WHERE datname NOT LIKE 'origin%' AND oid >= 16384"):
            await connection.execute(f'DROP DATABASE "{row[0]}" WITH (FORCE)')
        for row in await connection.fetch(
            f"SELECT rolname FROM pg_roles WHERE oid >= 16384 AND rolname NOT IN ('{ADMIN}', '{READER}')"
        ):
            await connection.execute(f'DROP ROLE "{row[0]}"')
        await connection.execute(f"ALTER ROLE {READER} NOSUPERUSER")
        await connection.execute(f"ALTER ROLE {READER} RESET ALL")
        await connection.execute(f"COMMENT ON ROLE {ADMIN} IS '{self.shared['role']}'")
        await connection.execute("ALTER DATABASE postgres RESET ALL")
        await connection.execute("ALTER SYSTEM RESET ALL")
        await connection.execute("SELECT pg_reload_conf()")

    async def _alone(self, connection: asyncpg.Connection) -> None:
        """Wait until the sessions of before are gone: one that ends later would be taken for an effect."""
        async with asyncio.timeout(PATIENCE_S):
            while await connection.fetchval(_OTHERS):  # noqa: ASYNC110  the server is watched, and it sets no event
                await asyncio.sleep(0.002)

    async def _enter(self) -> None:
        """Sessions of others: one that listens, one in the middle of a statement over a table with a secret name."""
        self._heard = []
        self._judges = {twin: await self._judge(twin) for twin in TWINS}
        await self._judges[TWINS[0]].execute("SELECT 1 /* kept in the statistics */")
        self.bystander = await asyncpg.connect(self.server.dsn(database=TWINS[0]))
        await self.bystander.add_listener("alarm", lambda *heard: self._heard.append(str(heard[3])))
        self.sleeper = await asyncpg.connect(self.server.dsn(database=TWINS[0]))
        table = self.secrets[TWINS[0]]["table"]
        await self.sleeper.execute(f'BEGIN; SELECT FROM "t{table}"')
        self._sleeping = asyncio.create_task(self.sleeper.execute(f"SELECT pg_sleep(3600) /* {self.shared['session']} */"))
        async with asyncio.timeout(PATIENCE_S):
            while not await self._judges[TWINS[0]].fetchval(_ASLEEP, self.sleeper.get_server_pid()):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.002)

    async def _leave(self) -> None:
        for connection in (self.bystander, self.sleeper, *self._judges.values()):
            if connection is not None:
                connection.terminate()
        if self._sleeping is not None:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self._sleeping
        self.bystander = self.sleeper = self._sleeping = None
        self._judges = {}

    @asynccontextmanager
    async def standing(self) -> AsyncIterator["Fortress"]:
        """Ready to be attacked while the block lasts."""
        await self.rebuild()
        try:
            yield self
        finally:
            await self._leave()

    def attacks(self, folder: str = "attacks") -> Iterator[Attack]:
        """Every case with its places filled; both shops get the same text."""
        return fix_attacks.attacks(folder, self._places())

    def fill(self, statement: str) -> str:
        """A statement with its places filled."""
        return str(fix_attacks.filled(statement, self._places()))

    def _places(self) -> dict[str, str]:
        assert self.bystander is not None
        assert self.sleeper is not None
        return {
            "@folder@": str(self.folder),
            "@data@": str(self.server.data),
            "@dsn@": f"host={self.server.root} user={ADMIN} dbname={TWINS[0]}",
            "@bystander@": str(self.bystander.get_server_pid()),
            "@sleeper@": str(self.sleeper.get_server_pid()),
            "@salary@": self.secrets[TWINS[0]]["salary"],
            "@table@": self.secrets[TWINS[0]]["table"],
            "@middle@": "5000000",
            "@database@": TWINS[0],
            "@surrogate@": "select '\ud800'",
            "@deep@": "select " + "(" * 3000 + "1" + ")" * 3000 + " from vault",
            "@long@": "select '" + "x" * 2_000_000 + "', token from vault",
            "@wide@": "select " + " + ".join(["salary"] * 20_000) + " from employees",
        }

    def leaked(self, reply: str, attack: Attack) -> str:
        """The secret that stands in a reply."""
        return fix_attacks.leaked(reply, iter((*self.secrets.values(), self.shared)), attack)

    async def fingerprint(self) -> dict[str, str]:
        """All that an attack could change, by name. Reads only."""
        found: dict[str, str] = {"heard": str(self._heard)}
        # Another session's end is seen by its client only when that reads again.
        found["sleeper"] = str(self._sleeping is not None and not self._sleeping.done())
        found |= await fix_fingerprint.of_cluster(self._judges[TWINS[0]])
        found["wal"] = await self._log(found["wal"])
        try:
            if not self._logged or self._logged["wal"] != found["wal"]:
                self._logged = {"wal": found["wal"]} | await self._of_each(fix_fingerprint.of_database)
            found |= self._logged | await self._of_each(fix_fingerprint.of_unlogged)
        except asyncpg.LockNotAvailableError:
            found["closed"] = "a table is closed to readers"
        found |= {str(path): f"{path.stat().st_size} {path.stat().st_mtime_ns}" for path in self.folder.iterdir()}
        return found | fix_fingerprint.of_files(self.server.data)

    async def changed(self, before: dict[str, str], facet: str) -> dict[str, str]:
        """The fingerprint once a facet differs, or after a while: signals to other processes arrive when they please."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            after = await self.fingerprint()
            seen = any(facet in name and before.get(name) != after.get(name) for name in before.keys() | after.keys())
            if seen or asyncio.get_running_loop().time() > deadline:
                return after
            await asyncio.sleep(0.01)

    async def _of_each(self, ask: Callable[[asyncpg.Connection], Awaitable[dict[str, str]]]) -> dict[str, str]:
        return {f"{twin} {name}": value for twin, judge in self._judges.items() for name, value in (await ask(judge)).items()}

    async def _log(self, position: str) -> str:
        """The log's position, but for what the server notes there of itself: which transactions run."""
        judge = self._judges[TWINS[0]]
        if position != self._read_to:
            if not await fix_fingerprint.only_notes(judge, self._read_to, position):
                self._written = position
            self._read_to = position
        return self._written

    async def quiet(self, seconds: float) -> str:
        """Wait until every session of the server has been emptied; what still runs after that time, in words."""
        try:
            async with asyncio.timeout(seconds):
                while await self._judges[TWINS[0]].fetchval(_BUSY):  # noqa: ASYNC110  the server is watched, and it sets no event
                    await asyncio.sleep(0.002)
        except TimeoutError:
            return "a statement still runs in the server"
        return ""


_CONTRIB = (
    "adminpack amcheck btree_gin btree_gist citext cube dblink dict_int dict_xsyn earthdistance file_fdw fuzzystrmatch hstore "
    "intarray isn lo ltree old_snapshot pageinspect pg_buffercache pg_freespacemap pg_logicalinspect pg_prewarm "
    "pg_stat_statements pg_surgery pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks pgstattuple postgres_fdw seg "
    "sslinfo tablefunc tsm_system_rows tsm_system_time unaccent uuid-ossp vector xml2"
)
_ALL_EXTENSIONS = f"""
SELECT format('CREATE EXTENSION IF NOT EXISTS %I CASCADE', name) FROM pg_available_extensions
WHERE name = ANY (string_to_array('{_CONTRIB}', ' ')) ORDER BY name \\gexec
"""
_READ_BY_THE_JUDGES = (
    "pg_authid", "pg_auth_members", "pg_database", "pg_db_role_setting", "pg_shdescription", "pg_shdepend", "pg_tablespace",
    "pg_replication_origin",
)  # fmt: skip
_OTHERS = """
SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('client backend', 'parallel worker', 'walsender')
AND pid <> pg_backend_pid() AND application_name <> 'ostiary'
"""
_ASLEEP = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1"
_BUSY = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'ostiary' AND (state <> 'idle' OR query NOT IN ('', 'DISCARD ALL'))
"""


async def _offers(connection: asyncpg.Connection, shop: asyncpg.Connection) -> set[str]:
    offers = {row[0] for row in await shop.fetch("SELECT extname FROM pg_extension")}
    offers |= {f"{n}+" for n in range(10, connection.get_server_version().major + 1)}
    with suppress(asyncpg.FeatureNotSupportedError):
        await shop.fetch("SELECT xmlelement(name a)")
        offers.add("xml")
    await shop.close()
    return offers


@pytest.fixture(scope="session")
def fortress() -> Iterator[Fortress]:
    """A cluster of its own."""
    with raised() as built:
        yield built


@pytest.fixture(scope="session")
def system_fortress() -> Iterator[Fortress]:
    """One of the PostgreSQL that the system's packages brought, with contrib."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip(NO_SYSTEM_POSTGRES)
    with raised(binaries) as built:
        yield built


@pytest.fixture
def attacked(request: pytest.FixtureRequest) -> Fortress:
    """`fortress` or `system_fortress`, by parameter."""
    found: Fortress = request.getfixturevalue(request.param)
    return found


@contextmanager
def raised(binaries: Path | None = None, settings: Mapping[str, str] | None = None) -> Iterator[Fortress]:
    """A cluster in which nothing writes unless an attack does: every byte of its log counts."""
    root = short_directory()
    server = new_server(root, {**_SETTINGS, "cluster_name": f"c{secrets.token_hex(12)}", **(settings or {})}, binaries)
    # With checksums a reader writes to the log when it is the first to see that a row is committed. Without them it fails.
    server.run("pg_checksums", "--disable", "-D", str(server.data), check=False)
    folder = root / "files"
    folder.mkdir()
    folder.chmod(0o777)
    built = Fortress(server, folder)
    with (server.data / "pg_hba.conf").open("a") as rules:
        rules.write(f"local all {built.shared['hba']} reject\n")
    server.start()
    try:
        built.build()
        yield built
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


_SETTINGS = {
    "fsync": "off",
    "autovacuum": "off",
    "wal_level": "logical",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
    "max_prepared_transactions": "5",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.max": "20000",
}
