"""The doctor on real databases: what it finds, the login it prints, and what agents are told meanwhile."""

import asyncio
import io
import json
import subprocess
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import asyncpg
import pytest
from fix_answers import text_of
from fix_postgres import PostgresServer
from fix_server import SAMPLE_OWNER, MakeSite, Site
from fix_sql import sample_cases
from mcp import Client

from ostiary.app import House, open_house, open_sources
from ostiary.config import Config
from ostiary.exits import Exit
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.datasources.examination import examine
from ostiary_tools.view import hash_key

_SAMPLE = resources.files("ostiary_tools.embedded")
_FILES = ("roles.sql", "shop/schema.sql", "shop/data.sql", "shop/comments.sql", "shop/grants.sql")
SHOP = "\n".join(
    (
        SAMPLE_OWNER,
        "BEGIN;",
        *(_SAMPLE.joinpath(name).read_text("utf-8") for name in _FILES),
        "COMMIT;",
    )
)
TRAPS = """
CREATE SCHEMA "a""b; DROP TABLE orders; --";
CREATE TABLE "a""b; DROP TABLE orders; --"."T
DROP TABLE orders; --" (id int);
CREATE TYPE "a""b; DROP TABLE orders; --".mood AS ENUM ('ok');
CREATE FUNCTION "a""b; DROP TABLE orders; --"."f("("x y" "a""b; DROP TABLE orders; --".mood) RETURNS int
    LANGUAGE sql IMMUTABLE AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION "a""b; DROP TABLE orders; --"."f(" FROM PUBLIC;
CREATE FUNCTION risen() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
GRANT CREATE ON SCHEMA public TO PUBLIC;
GRANT INSERT ON orders TO PUBLIC;
CREATE TABLE "\x1b[2J
  it is served" (id int);
GRANT INSERT ON "\x1b[2J
  it is served" TO PUBLIC;
CREATE TABLE vault (token text);
COMMENT ON TABLE vault IS '@secret';
"""


def doctor(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return site.command("doctor", *arguments)


@pytest.mark.asyncio
async def test_the_login_it_prints_reads_what_policy_lets_and_may_do_nothing_else(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    """Over the sample with names that would like to be statements, and rights that everybody has."""
    database = await make_database(SHOP + TRAPS)
    before = await make_site({"shop": postgres_server.dsn(database=database)}, accepted_powers=())
    found = await asyncio.to_thread(doctor, before)
    assert found.returncode == Exit.FAILED
    for line in ("  over-privileged: superuser, may do everything, on the server's machine too", "  it is not served"):
        assert line in found.stdout.splitlines()
    assert "  it is served" not in found.stdout.splitlines()
    assert "\x1b" not in found.stdout
    script = await asyncio.to_thread(doctor, before, "shop", "--sql")
    assert script.returncode == Exit.OK
    postgres_server.sql(script.stdout, database)
    try:
        after = await make_site({"shop": postgres_server.dsn("shop_agent", database)}, accepted_powers=())
        told = await asyncio.to_thread(doctor, after, "--json")
        assert told.returncode == Exit.OK, told.stdout
        [shop] = json.loads(told.stdout)
        assert (shop["served"], shop["unaccepted"], shop["login"]) == (True, [], "shop_agent")
        assert {finding["power"] for finding in shop["findings"]} == {"create_large_objects"}
        await _reads_as_before(postgres_server, database)
        async with open_house(after.config, lambda _: None) as house, _client(house, "engineer") as client:
            assert "3 rows" in await _text(client, "query", sql="select id from orders order by id limit 3")
    finally:
        postgres_server.sql("DROP OWNED BY shop_agent", database)
        postgres_server.sql("DROP ROLE shop_agent")


async def _reads_as_before(server: PostgresServer, database: str) -> None:
    owner = await asyncpg.connect(server.dsn(database=database))
    agent = await asyncpg.connect(server.dsn("shop_agent", database))
    try:
        # What the catalogs show depends on who asks.
        asked = [case for case in sample_cases() if not case.title.startswith("catalogs: ")]
        assert len(asked) >= 40
        for case in asked:
            if not case.sql.lower().startswith("explain"):
                assert await _copied(agent, case.sql) == await _copied(owner, case.sql), case.title
        await owner.execute("CREATE TABLE later (id int)")
        for forbidden in ("select * from vault", "delete from orders", "create table mine (id int)", "select risen()"):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
                await agent.execute(forbidden)
        assert await agent.fetchval("select count(*) from pg_tables where tablename like E'T\\nDROP%'") == 1
        assert await agent.fetchval("show default_transaction_read_only") == "on"
    finally:
        await owner.close()
        await agent.close()


@pytest.mark.asyncio
async def test_agents_are_told_that_it_is_not_available_and_not_why(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    database = await make_database("CREATE TABLE orders (id int)")
    dsn = postgres_server.dsn(database=database)
    site = await make_site({"shop": dsn, "twin": dsn}, accepted_powers=("owner",))
    async with open_house(site.config, lambda _: None) as house, _client(house, "reader") as client:
        for text in (
            await _text(client, "whoami"),
            await _text(client, "query", sql="select 1", datasource="shop"),
            await _text(client, "search_schema", query="orders", datasource="shop"),
        ):
            assert "not available" in text
            assert "superuser" not in text
            assert "orders" not in text
    [started] = [record for record in await site.records() if record["kind"] == "e" and record.get("event") == "started"]
    assert started["accepted_powers"] == {"shop": ["owner"], "twin": ["owner"]}


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_exit_code_says_what_is_wrong(make_site: MakeSite, postgres_server: PostgresServer):
    gone = await make_site({"shop": postgres_server.dsn(database="not_there")})
    unreachable = await asyncio.to_thread(doctor, gone)
    assert unreachable.returncode == Exit.UNAVAILABLE
    assert "error: datasource `shop` cannot be reached: the configured database does not exist" in unreachable.stderr
    assert (await asyncio.to_thread(doctor, gone, "other")).returncode == Exit.USAGE
    accepted = await make_site({"shop": postgres_server.dsn()}, accepted_powers=("superuser", "owner"))
    told = await asyncio.to_thread(doctor, accepted)
    assert told.returncode == Exit.OK
    assert "  accepted: superuser, may do everything, on the server's machine too" in told.stdout.splitlines()
    assert "  `accepted_powers` names what the login cannot do: owner; take it out" in told.stdout.splitlines()


@pytest.mark.asyncio
async def test_the_login_of_the_sample_needs_no_line(ostiary_config: Config):
    async with open_sources(ostiary_config, lambda _: None) as [sample]:
        found = await examine(sample)
    assert [finding for finding in found.findings if finding.over_privileged] == []


HASHED = """
@id("all") permit (principal in Role::"reader", action in [Action::"call", Action::"see"], resource);
@id("reads") permit (principal in Role::"reader", action == Action::"read", resource)
unless { resource is Column && resource.name == "email" };
@id("hashed") @mask("hash") permit (principal in Role::"reader", action == Action::"read_masked", resource is Column);
"""
PEOPLE = "CREATE TABLE people (id int, email text); INSERT INTO people SELECT n, 'p' || n FROM generate_series(1, 3) n;"
LOUD = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_parameter_max_length_on_error": "-1",
    "debug_print_plan": "on",
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_verbose": "on",
}
"""Every way by which the server of the tests would log values."""


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_server_that_logs_the_key_of_hashes_is_told_of_with_what_ends_it(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer, caplog: Any
):
    """Known by the server's own log: it holds the key before, and nothing of it afterwards."""
    database = await make_database(PEOPLE)
    dsn = postgres_server.dsn("loud", database)
    settings = "".join(f"ALTER ROLE loud SET {name} = '{value}';" for name, value in LOUD.items())
    postgres_server.sql(f"CREATE ROLE loud LOGIN SUPERUSER; {settings}", database)
    key = hash_key("a secret of the hashes, long enough")
    log = postgres_server.root / "log"

    async def logged(site: Site) -> str:
        start = log.stat().st_size
        async with open_house(site.config, lambda _: None) as house, _client(house, "reader") as client:
            assert "3 rows" in await _text(client, "query", sql="select email from people")
            failed = await _text(client, "query", sql="select (1 / (id - id))::text || email from people")
        assert failed.startswith("database_error")
        return log.read_bytes()[start:].decode(errors="replace")

    def holds(text: str) -> bool:
        return any(part.removeprefix("\\x")[:24] in text for part in key)

    try:
        site = await make_site({"shop": dsn}, policy=HASHED, mask_key="a secret of the hashes, long enough")
        assert holds(await logged(site))
        assert (
            "logs bound values (log_statement = all, log_min_duration_statement = 0; auto_explain.log_min_duration = 0)"
            in caplog.text
        )
        told = await asyncio.to_thread(doctor, site, "--json")
        [shop] = json.loads(told.stdout)
        assert [each["fix"] for each in shop["value_logs"]] == [
            'ALTER ROLE "loud" SET log_parameter_max_length = 0;',
            'ALTER ROLE "loud" SET auto_explain.log_min_duration = -1;',
        ]
        lines = (await asyncio.to_thread(doctor, site)).stdout.splitlines()
        assert "  note: values are logged, and the key of `hash` masks with them: auto_explain.log_min_duration = 0" in lines
        assert '      as a superuser: ALTER ROLE "loud" SET auto_explain.log_min_duration = -1;' in lines
        plain = await make_site({"shop": dsn}, mask_key="a secret of the hashes, long enough")
        assert json.loads((await asyncio.to_thread(doctor, plain, "--json")).stdout)[0]["value_logs"] == []
        postgres_server.sql("".join(each["fix"] for each in shop["value_logs"]), database)
        caplog.clear()
        text = await logged(site)
        assert "select" in text.lower()
        assert not holds(text)
        assert "logs bound values" not in caplog.text
        assert json.loads((await asyncio.to_thread(doctor, site, "--json")).stdout)[0]["value_logs"] == []
    finally:
        postgres_server.sql("DROP ROLE loud")


async def _copied(connection: asyncpg.Connection, sql: str) -> bytes:
    """The rows as the server itself writes them: the driver cannot hold every value."""
    out = io.BytesIO()
    await connection.copy_from_query(sql, output=out)
    return out.getvalue()


def _client(house: House, role: str) -> Client:
    return Client(McpApp(house.gate, lambda _: Principal("local", (role,))).server)


async def _text(client: Client, tool: str, **arguments: str) -> str:
    reply = await client.call_tool(tool, arguments)
    return text_of(reply)
