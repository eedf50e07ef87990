"""What a login could do besides reading is found, by each way it can have it, and each fix takes it away."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from fix_postgres import ADMIN, PostgresServer

from ostiary_policies.model import Statement
from ostiary_tools.datasources.port import ReadLimits
from ostiary_tools.datasources.postgres import PostgresDatasource, PostgresSettings, open_postgres
from ostiary_tools.datasources.powers import read_findings, read_powers
from ostiary_tools.errors import Unavailable
from ostiary_tools.powers import NOTES, OVER_PRIVILEGED, Finding, Power, unaccepted

_numbers = count(1)

SHOP = """
CREATE TABLE orders (id int PRIMARY KEY, total numeric);
CREATE SEQUENCE numbers;
CREATE SCHEMA back;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT SELECT ON orders TO @role@;
CREATE FUNCTION risen() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION risen() FROM PUBLIC;
CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION back.hidden() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
"""
"""An ordinary database: functions that fire, or stand in a schema without USAGE, cannot be called."""

POWERS = {
    Power.SUPERUSER: ("ALTER ROLE @role@ SUPERUSER",),
    Power.BYPASS_RLS: ("ALTER ROLE @role@ BYPASSRLS",),
    Power.CREATE_ROLE: ("ALTER ROLE @role@ CREATEROLE",),
    Power.CREATE_DATABASE: ("ALTER ROLE @role@ CREATEDB",),
    Power.REPLICATION: ("ALTER ROLE @role@ REPLICATION",),
    Power.SERVER_FILES: ("GRANT pg_read_server_files TO @role@", "GRANT pg_write_server_files TO @role@"),
    Power.SERVER_PROGRAMS: ("GRANT pg_execute_server_program TO @role@",),
    Power.SIGNAL_BACKENDS: ("GRANT pg_signal_backend TO @role@",),
    Power.READ_ALL_DATA: ("GRANT pg_read_all_data TO @role@",),
    Power.WRITE_ALL_DATA: ("GRANT pg_write_all_data TO @role@",),
    Power.MONITOR: ("GRANT pg_monitor TO @role@", "GRANT pg_read_all_stats TO @role@", "GRANT pg_stat_scan_tables TO @role@"),
    Power.WRITE_TABLES: (
        "GRANT INSERT ON orders TO @role@",
        "GRANT DELETE ON orders TO PUBLIC",
        "GRANT TRUNCATE ON orders TO @role@",
        "GRANT UPDATE (total) ON orders TO @role@",
    ),
    Power.ALTER_TABLES: (
        "GRANT TRIGGER ON orders TO @role@",
        "GRANT REFERENCES ON orders TO PUBLIC",
        "GRANT REFERENCES (id) ON orders TO @role@",
    ),
    Power.WRITE_SEQUENCES: ("GRANT USAGE ON SEQUENCE numbers TO @role@", "GRANT UPDATE ON SEQUENCE numbers TO PUBLIC"),
    Power.CREATE_OBJECTS: (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "GRANT CREATE ON SCHEMA back TO @role@",
        "GRANT CREATE ON DATABASE @database@ TO @role@",
        "GRANT CREATE ON TABLESPACE pg_default TO @role@",
    ),
    Power.SECURITY_DEFINER: ("GRANT EXECUTE ON FUNCTION risen() TO @role@", "GRANT EXECUTE ON FUNCTION risen() TO PUBLIC"),
    Power.UNTRUSTED_FUNCTIONS: (
        "CREATE FUNCTION raw(text) RETURNS int LANGUAGE internal AS 'textlen'; GRANT USAGE ON SCHEMA public TO @role@",
    ),
    Power.RESTRICTED_OBJECTS: (
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO @role@",
        "GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO PUBLIC",
        "GRANT SELECT ON pg_authid TO @role@",
        "GRANT SELECT (rolpassword) ON pg_authid TO @role@",
    ),
    Power.OTHER_SERVERS: (
        "CREATE FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN DATA WRAPPER w TO @role@",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN SERVER s TO PUBLIC",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE USER MAPPING FOR @role@ SERVER s",
    ),
    Power.GRANT_OPTIONS: ("GRANT SELECT ON orders TO @role@ WITH GRANT OPTION", "GRANT @group@ TO @role@ WITH ADMIN OPTION"),
    Power.WRITE_LARGE_OBJECTS: ("SELECT lo_create(4711); GRANT UPDATE ON LARGE OBJECT 4711 TO @role@",),
}
OWNED = (
    "ALTER TABLE orders OWNER TO @role@",
    "CREATE SCHEMA theirs AUTHORIZATION @role@",
    "ALTER FUNCTION risen() OWNER TO @role@",
    "ALTER DATABASE @database@ OWNER TO @role@",
    "CREATE TYPE mood AS ENUM ('ok'); ALTER TYPE mood OWNER TO @role@",
)
SINCE: dict[int, dict[Power, tuple[str, ...]]] = {
    15: {Power.SERVER_SETTINGS: ("GRANT SET ON PARAMETER session_replication_role TO @role@",)},
    17: {Power.ALTER_TABLES: ("GRANT MAINTAIN ON orders TO @role@",), Power.MAINTENANCE: ("GRANT pg_maintain TO @role@",)},
}
CASES = [
    (since, power, given) for since, powers in ((0, POWERS), *SINCE.items()) for power, ways in powers.items() for given in ways
]


@dataclass
class Probe:
    """A role, a group and a database of one test."""

    server: PostgresServer
    database: str
    admin: asyncpg.Connection
    role: str = field(default_factory=lambda: f"probe_{next(_numbers)}")
    group: str = field(default_factory=lambda: f"group_{next(_numbers)}")

    async def sql(self, statements: str) -> None:
        """As a superuser, in that database."""
        for name in ("role", "group", "database"):
            statements = statements.replace(f"@{name}@", getattr(self, name))
        await self.admin.execute(statements)

    async def findings(self, set_role: str | None = None) -> list[Finding]:
        """Those that need a line; the two ways of asking agree."""
        connection = await asyncpg.connect(self.server.dsn(self.role, self.database))
        try:
            found = await read_findings(connection, set_role)
            assert {finding.power for finding in found} == await read_powers(connection, set_role)
        finally:
            await connection.close()
        return [finding for finding in found if finding.over_privileged]

    @asynccontextmanager
    async def datasource(self, *accepted: Power) -> AsyncIterator[PostgresDatasource]:
        """As the role."""
        dsn = self.server.dsn(self.role, self.database)
        datasource = await open_postgres(PostgresSettings("data", dsn, accepted_powers=frozenset(accepted)))
        try:
            yield datasource
        finally:
            await datasource.close()


@pytest_asyncio.fixture
async def probe(server: PostgresServer, database: str) -> AsyncIterator[Probe]:
    admin = await asyncpg.connect(server.dsn(database=database))
    made = Probe(server, database, admin)
    await made.sql("CREATE ROLE @role@ LOGIN; CREATE ROLE @group@")
    await made.sql(SHOP)
    yield made
    await made.sql("ALTER DATABASE @database@ OWNER TO CURRENT_USER")
    for role in (made.role, made.group):
        await made.sql(f"REASSIGN OWNED BY {role} TO {ADMIN}; DROP OWNED BY {role}; DROP ROLE {role}")
    await admin.close()


async def ask(datasource: PostgresDatasource) -> str | None:
    async with datasource.read(ReadLimits(timeout_s=10, max_rows=1, max_chars=1000)) as reader:
        return (await reader.rows(Statement("SELECT 1"))).rows[0][0]


@pytest.mark.asyncio
async def test_an_ordinary_reader_has_nothing_that_needs_a_line(probe: Probe) -> None:
    assert await probe.findings() == []


@pytest.mark.asyncio
async def test_each_power_is_found_and_its_fix_takes_it_away(probe: Probe) -> None:
    major = int(probe.server.run("postgres", "--version").stdout.split()[2].split(".")[0])
    wrong: list[str] = []
    for since, powers in ((0, POWERS), *SINCE.items()):
        for power, given in [(power, way) for power, ways in powers.items() for way in ways if major >= since]:
            await probe.sql(given)
            found = await probe.findings()
            if {finding.power for finding in found} != {power} or not {f.through for f in found} <= {probe.role, "PUBLIC"}:
                wrong.append(f"{given}: {found}")
            await probe.sql(";".join(finding.fix for finding in found))
            await probe.sql("DROP FOREIGN DATA WRAPPER IF EXISTS w CASCADE")
            if left := await probe.findings():
                wrong.append(f"{given}: its fix leaves {left}")
    assert wrong == []


@pytest.mark.asyncio
@pytest.mark.parametrize("given", OWNED)
async def test_what_it_owns_is_found(probe: Probe, given: str) -> None:
    """Whatever kind of thing it is; only another login helps."""
    await probe.sql(given)
    found = await probe.findings()
    assert {finding.power for finding in found} == {Power.OWNER}
    assert {finding.fix for finding in found} == {""}


def test_every_power_that_needs_a_line_is_tried() -> None:
    assert {power for powers in (POWERS, *SINCE.values()) for power in powers} | {Power.OWNER} == set(OVER_PRIVILEGED)
    assert set(Power) == set(OVER_PRIVILEGED) | NOTES


@pytest.mark.asyncio
async def test_the_powers_of_every_role_it_can_become_are_its_own(probe: Probe) -> None:
    """Membership without inheritance, and the role that transactions take on."""
    await probe.sql(
        "GRANT INSERT ON orders TO @group@; ALTER ROLE @group@ CREATEDB; ALTER ROLE @role@ NOINHERIT; GRANT @group@ TO @role@"
    )
    found = await probe.findings()
    assert {(finding.power, finding.through) for finding in found} == {
        (Power.CREATE_DATABASE, probe.group),
        (Power.WRITE_TABLES, probe.group),
    }
    await probe.sql("REVOKE @group@ FROM @role@")
    assert await probe.findings() == []
    assert {finding.power for finding in await probe.findings(set_role=probe.group)} == {Power.CREATE_DATABASE, Power.WRITE_TABLES}


@pytest.mark.asyncio
async def test_names_of_any_kind_are_quoted_in_evidence_and_fix(probe: Probe) -> None:
    await probe.sql(
        'CREATE SCHEMA "a""b; drop"; CREATE TABLE "a""b; drop"."T;--" ("c d" int);'
        'GRANT INSERT ON "a""b; drop"."T;--" TO @role@; GRANT UPDATE ("c d") ON "a""b; drop"."T;--" TO @role@;'
        'CREATE FUNCTION public."f("(x "a""b; drop"."T;--") RETURNS int LANGUAGE sql SECURITY DEFINER AS \'SELECT 1\';'
    )
    found = await probe.findings()
    assert {finding.power for finding in found} == {Power.WRITE_TABLES, Power.SECURITY_DEFINER}
    await probe.sql(";".join(finding.fix for finding in found))
    assert await probe.findings() == []


@pytest.mark.asyncio
async def test_an_extension_that_reaches_other_servers_is_found_as_it_is_installed(probe: Probe) -> None:
    try:
        await probe.sql("CREATE EXTENSION dblink")
    except asyncpg.FeatureNotSupportedError:
        pytest.skip("this server was built without dblink, so the other one shows it")
    found = await probe.findings()
    assert [(finding.power, finding.evidence, finding.through) for finding in found] == [
        (Power.OTHER_SERVERS, "extension dblink", "PUBLIC")
    ]
    await probe.sql(found[0].fix)
    assert await probe.findings() == []


def test_a_line_for_superuser_covers_all_and_any_other_covers_itself() -> None:
    everything = frozenset(Power)
    assert unaccepted(everything, frozenset({Power.SUPERUSER})) == ()
    assert unaccepted(everything, frozenset({Power.OWNER})) == tuple(p for p in OVER_PRIVILEGED if p is not Power.OWNER)
    assert unaccepted(NOTES, frozenset()) == ()


@pytest.mark.asyncio
async def test_a_login_that_may_do_more_is_not_used_until_it_may_not(probe: Probe, caplog: pytest.LogCaptureFixture) -> None:
    """From the start, and when the role changes while the server runs."""
    await probe.sql("ALTER ROLE @role@ CREATEDB")
    async with probe.datasource() as datasource:
        attempts: tuple[Coroutine[Any, Any, object], ...] = (datasource.refresh(), datasource.snapshot(), ask(datasource))
        for refused in attempts:
            with pytest.raises(Unavailable) as raised:
                await refused
            assert (
                raised.value.message == "datasource `data` is not available: its login may do more than its operator has accepted"
            )
        assert datasource.state().problem == "its login is over-privileged: create_database"
        assert not datasource.state().healthy
        [said] = [record.getMessage() for record in caplog.records if "create_database" in record.getMessage()]
        assert said == (
            "datasource `data` is not served: its login may do more than read (create_database); `ostiary doctor data` shows one "
            "that may not, or accept this by `accepted_powers` in [datasources.data]"
        )
        await probe.sql("ALTER ROLE @role@ NOCREATEDB")
        await datasource.refresh()
        assert await ask(datasource) == "1"
        assert datasource.state().healthy
        await probe.sql("GRANT pg_read_server_files TO @role@")
        with pytest.raises(Unavailable):
            await datasource.refresh()
        with pytest.raises(Unavailable):
            await ask(datasource)


@pytest.mark.asyncio
async def test_a_login_that_may_do_what_is_accepted_is_used(probe: Probe) -> None:
    await probe.sql("ALTER ROLE @role@ CREATEDB; GRANT INSERT ON orders TO @role@")
    async with probe.datasource(Power.CREATE_DATABASE, Power.WRITE_TABLES) as datasource:
        assert await ask(datasource) == "1"
    async with probe.datasource(Power.CREATE_DATABASE) as datasource:
        with pytest.raises(Unavailable):
            await ask(datasource)


@pytest.mark.asyncio
async def test_a_login_whose_powers_cannot_be_read_is_not_used(probe: Probe) -> None:
    async with probe.datasource() as datasource:
        await datasource.refresh()
        await probe.sql("REVOKE SELECT ON pg_catalog.pg_auth_members FROM PUBLIC")
        with pytest.raises(Unavailable):
            await datasource.refresh()
        with pytest.raises(Unavailable):
            await ask(datasource)
