"""Two shops that differ in nothing but their secrets, and everything an attack could have left behind or carried out.

What is judged is effect: a fingerprint of the whole cluster before and after, secrets in
any reply, and replies that differ between the two shops although only secrets do.
"""

import asyncio
import base64
import hashlib
import secrets
import shutil
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_postgres import ADMIN, PostgresServer, new_server, short_directory

CASES = Path(__file__).parent / "cases" / "attacks"
READER = "shop_reader"
"""The least that reads: it may select everything and nothing else."""
TWINS = ("shop_a", "shop_b")
TAGS = {
    "public.employees.salary": ["secret"],
    "public.employees.national_id": ["secret"],
    "public.employees.notes": ["secret"],
    "public.customers.password_hash": ["secret"],
    "public.vault": ["hidden"],
    "public.payroll": ["hidden"],
}
_WINDOW = 8
"""So many characters of a secret in a row are a leak; chance makes one in billions of replies."""
_KEPT_BY_THE_SERVER = {"base", "global", "pg_wal", "pg_xact", "pg_subtrans", "pg_multixact", "pg_stat", "pg_stat_tmp", "pg_logical"}


@dataclass(frozen=True)
class Attack:
    """One call, and why a bare superuser could do it without harm where that is so."""

    title: str
    call: Mapping[str, Any]
    toothless: str

    @property
    def sql(self) -> str | None:
        """Of a plain query."""
        sql = self.call.get("sql")
        return sql if isinstance(sql, str) else None


@dataclass(frozen=True)
class Secrets:
    """The values that fill the places of shop.sql in one of the shops."""

    first: str
    drawn: dict[str, str] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> str:
        if name not in self.drawn:
            digits = secrets.randbelow(900_000) + 100_000
            longer = secrets.token_hex(12 if self.first == "1" else 14)
            self.drawn[name] = f"{self.first}{digits}" if name == "salary" else self.first + longer
        return self.drawn[name]


class Fortress:
    """The attacked cluster, its secrets, and the sessions of others in it."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.secrets = {TWINS[0]: Secrets("1"), TWINS[1]: Secrets("9")}
        # A digest, which the server keeps as it stands; and what its configuration holds.
        self.shared = Secrets("5", {"password": f"md5{secrets.token_hex(16)}", "cluster": server.settings["cluster_name"]})
        """Of the cluster: files, roles, settings, other sessions."""
        self.bystander: asyncpg.Connection | None = None
        self.sleeper: asyncpg.Connection | None = None
        self._sleeping: asyncio.Task[Any] | None = None
        self._heard: list[str] = []
        self._judges: dict[str, asyncpg.Connection] = {}
        self.bare: list[asyncpg.Connection] = []
        """Sessions without a gate."""

    def build(self) -> None:
        """Roles, files, and the two shops as templates."""
        (self.folder / "secret.txt").write_text(self.shared["file"])
        (self.folder / f"f{self.shared['listing']}").write_text("")
        self.server.sql(f"CREATE ROLE {READER} LOGIN PASSWORD '{self.shared['password']}'")
        self.server.sql(f"COMMENT ON ROLE {ADMIN} IS '{self.shared['role']}'")
        text = (CASES / "shop.sql").read_text("utf-8")
        for twin in TWINS:
            filled = text
            for name in sorted({part for part in text.split("@")[1::2] if part.isalpha()}):
                filled = filled.replace(f"@{name}@", self.secrets[twin][name])
            self.server.sql(f"CREATE DATABASE origin_{twin}")
            self.server.sql(filled, f"origin_{twin}")
            self.server.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}", f"origin_{twin}")
            self.server.sql("ANALYZE", f"origin_{twin}")
            self.server.sql("VACUUM (FREEZE)", f"origin_{twin}")

    async def rebuild(self) -> None:
        """Both shops as they were, and nothing of an attack left in the cluster."""
        await self._leave()
        for path in self.folder.iterdir():
            if path.name not in ("secret.txt", f"f{self.shared['listing']}"):
                path.unlink()
        connection = await asyncpg.connect(self.server.dsn())
        try:
            await connection.execute(f"ALTER ROLE {READER} NOSUPERUSER")
            await connection.execute("ALTER SYSTEM RESET ALL")
            for row in await connection.fetch("SELECT gid, database FROM pg_prepared_xacts"):
                other = await asyncpg.connect(self.server.dsn(database=row["database"]))
                await other.execute(f"ROLLBACK PREPARED '{row['gid']}'")
                await other.close()
            for twin in TWINS:
                await connection.execute(f"DROP DATABASE IF EXISTS {twin} WITH (FORCE)")
                await connection.execute(f"CREATE DATABASE {twin} TEMPLATE origin_{twin}")
                await connection.execute(f"ALTER DATABASE {twin} SET shop.canary = '{self.secrets[twin]['setting']}'")
            await connection.execute("VACUUM (FREEZE) pg_catalog.pg_authid, pg_catalog.pg_database, pg_catalog.pg_db_role_setting")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
        await self._enter()

    async def _enter(self) -> None:
        """Sessions of others: one that listens, one in the middle of a statement."""
        self._heard = []
        judge = {"application_name": "judge", "lock_timeout": "1s"}
        self._judges = {twin: await asyncpg.connect(self.server.dsn(database=twin), server_settings=judge) for twin in TWINS}
        self.bystander = await asyncpg.connect(self.server.dsn(database=TWINS[0]))
        await self.bystander.add_listener("alarm", lambda *heard: self._heard.append(str(heard[3])))
        self.sleeper = await asyncpg.connect(self.server.dsn(database=TWINS[0]))
        self._sleeping = asyncio.create_task(self.sleeper.execute(f"SELECT pg_sleep(3600) /* {self.shared['session']} */"))

    def end_bare(self) -> None:
        """Close the sessions without a gate."""
        for connection in self.bare:
            connection.terminate()
        self.bare = []

    async def _leave(self) -> None:
        self.end_bare()
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

    def attacks(self) -> Iterator[Attack]:
        """Every case with its places filled; both shops get the same text."""
        assert self.bystander is not None
        assert self.sleeper is not None
        places = {
            "@folder@": str(self.folder),
            "@dsn@": f"host={self.server.root} user={ADMIN} dbname={TWINS[0]}",
            "@bystander@": str(self.bystander.get_server_pid()),
            "@sleeper@": str(self.sleeper.get_server_pid()),
            "@salary@": self.secrets[TWINS[0]]["salary"],
            "@middle@": "5000000",
            "@database@": TWINS[0],
            "@surrogate@": "select '\ud800'",
            "@deep@": "select " + "(" * 3000 + "1" + ")" * 3000 + " from vault",
            "@long@": "select '" + "x" * 2_000_000 + "', token from vault",
            "@wide@": "select " + " + ".join(["salary"] * 20_000) + " from employees",
        }
        for path in sorted(CASES.glob("*.toml")):
            for case in tomllib.loads(path.read_text("utf-8"))["case"]:
                title, toothless = case.pop("title"), case.pop("toothless", "")
                yield Attack(f"{path.stem}: {title}", _filled(case, places), toothless)

    def leaked(self, reply: str, attack: Attack) -> str:
        """The secret that stands in a reply, in any of its disguises; one that the attacker wrote himself is none."""
        written = str(attack.call).lower()
        found = reply.lower()
        for owner in (*self.secrets.values(), self.shared):
            for name, value in owner.drawn.items():
                if any(form in found and form not in written for form in _disguises(value)):
                    return name
        return ""

    async def fingerprint(self) -> dict[str, str]:
        """All that an attack could change, by name. Reads only."""
        found: dict[str, str] = {"heard": str(self._heard)}
        # Another session's end is seen by its client only when that reads again.
        found["sleeper"] = str(self._sleeping is not None and not self._sleeping.done())
        for twin, judge in self._judges.items():
            try:
                found |= {f"{twin} {row[0]}": str(row[1]) for row in await judge.fetch(await _questions(judge))}
            except asyncpg.LockNotAvailableError:
                found[f"{twin} locked"] = "a table is closed to readers"
        found |= {str(path): f"{path.stat().st_size} {path.stat().st_mtime_ns}" for path in self.folder.iterdir()}
        for top in self.server.data.iterdir():
            if top.name not in _KEPT_BY_THE_SERVER:
                found |= {str(path): str(path.stat().st_size) for path in (top, *top.glob("**/*"))}
        return found

    async def quiet(self, seconds: float) -> str:
        """Wait until every session of the server has been emptied; what still runs after that time, in words."""
        try:
            async with asyncio.timeout(seconds):
                while await self._judges[TWINS[0]].fetchval(_BUSY):  # noqa: ASYNC110  the server is watched, and it sets no event
                    await asyncio.sleep(0.002)
        except TimeoutError:
            return "a statement still runs in the server"
        return ""


_BUSY = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'ostiary' AND (state <> 'idle' OR query NOT IN ('', 'DISCARD ALL'))
"""

_WAYS = """
SELECT 'wal', pg_current_wal_insert_lsn()::text
UNION ALL SELECT 'configuration read', pg_conf_load_time()::text
UNION ALL SELECT 'settings', md5(string_agg(name || '=' || coalesce(setting, ''), ',' ORDER BY name)) FROM pg_settings
UNION ALL SELECT 'advisory locks', count(*)::text FROM pg_locks WHERE locktype = 'advisory'
UNION ALL SELECT 'table locks', count(*)::text FROM pg_locks WHERE mode NOT IN ('AccessShareLock', 'ExclusiveLock')
UNION ALL SELECT 'prepared transactions', count(*)::text FROM pg_prepared_xacts
UNION ALL SELECT 'replication slots', count(*)::text FROM pg_replication_slots
UNION ALL SELECT 'statistics', string_agg(stats_reset::text, ',') FROM pg_stat_database WHERE datname = current_database()
UNION ALL SELECT 'shared statistics', coalesce(stats_reset::text, '') FROM pg_stat_bgwriter
UNION ALL SELECT 'sequences', string_agg(schemaname || sequencename || coalesce(last_value, 0), ',') FROM pg_sequences
UNION ALL SELECT 'other sessions', string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name = ''
"""
_BY_ROW = ("pg_class", "pg_proc")
_BY_VALUE = (
    "pg_authid",
    "pg_auth_members",
    "pg_database",
    "pg_db_role_setting",
    "pg_largeobject",
    "pg_description",
    "pg_shdescription",
    "pg_namespace",
    "pg_extension",
    "pg_trigger",
)


async def _questions(connection: asyncpg.Connection) -> str:
    """One statement over everything: each table by its rows, big catalogs by the rows' addresses and writers."""
    tables = await connection.fetch(
        "SELECT oid::regclass::text AS t FROM pg_class WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace"
    )
    whole = [row["t"] for row in tables] + list(_BY_VALUE)
    parts = [f"SELECT '{t}', md5(string_agg(x::text, '|' ORDER BY x::text)) FROM {t} x" for t in whole]
    parts += [f"SELECT '{t}', md5(string_agg(x.ctid::text || x.xmin::text, '|' ORDER BY x.ctid)) FROM {t} x" for t in _BY_ROW]
    return _WAYS + "".join(f" UNION ALL {part}" for part in parts)


def _disguises(value: str) -> Iterator[str]:
    """The value, or enough of it, as it may be spelled; in lower case."""
    if len(value) <= _WINDOW:
        yield value.lower()
        return
    texts = [value, value[::-1], value.encode().hex(), "".join(f"{ord(c)}," for c in value)]
    texts += [hashlib.new(kind, value.encode()).hexdigest() for kind in ("md5", "sha1", "sha256")]
    for text in texts:
        yield from (text[n : n + 2 * _WINDOW].lower() for n in range(0, max(1, len(text) - 2 * _WINDOW), _WINDOW))
    yield from (value[n : n + _WINDOW].lower() for n in range(len(value) - _WINDOW + 1))
    for shift in range(3):
        yield base64.b64encode(b"x" * shift + value.encode()).decode()[4:-4].lower()


def _filled(value: Any, places: Mapping[str, str]) -> Any:
    match value:
        case str():
            for place, text in places.items():
                value = value.replace(place, text)
            return value
        case dict():
            return {name: _filled(item, places) for name, item in value.items()}
        case list():
            return [_filled(item, places) for item in value]
        case _:
            return value


@pytest.fixture(scope="session")
def fortress() -> Iterator[Fortress]:
    """A cluster of its own, in which nothing writes unless an attack does: every byte of its log counts."""
    root = short_directory()
    server = new_server(
        root,
        {
            "fsync": "off",
            "autovacuum": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "checkpoint_timeout": "1h",
            "max_wal_size": "4GB",
            "max_prepared_transactions": "5",
            "cluster_name": f"c{secrets.token_hex(12)}",
        },
    )
    # With checksums a reader writes to the log when it is the first to see that a row is committed. Without them it fails.
    server.run("pg_checksums", "--disable", "-D", str(server.data), check=False)
    server.start()
    folder = root / "files"
    folder.mkdir()
    folder.chmod(0o777)
    try:
        built = Fortress(server, folder)
        built.build()
        yield built
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)
