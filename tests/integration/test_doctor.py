"""The doctor on real databases: what it finds, the login it prints, and what agents are told meanwhile."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from importlib import resources

import asyncpg
import mcp.types as t
import pytest
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
    """The command, with the site's own file."""
    assert site.config.policy.directory is not None
    file = site.config.policy.directory.parent / "ostiary.toml"
    env = {"PATH": os.environ["PATH"], "HOME": str(file.parent)}
    command = [sys.executable, "-m", "ostiary", "doctor", *arguments, "--config", str(file)]
    return subprocess.run(command, env=env, cwd="/", text=True, capture_output=True, timeout=60, check=False)


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


async def _copied(connection: asyncpg.Connection, sql: str) -> bytes:
    """The rows as the server itself writes them: the driver cannot hold every value."""
    out = io.BytesIO()
    await connection.copy_from_query(sql, output=out)
    return out.getvalue()


def _client(house: House, role: str) -> Client:
    return Client(McpApp(house.gate, lambda _: Principal("local", (role,))).server)


async def _text(client: Client, tool: str, **arguments: str) -> str:
    reply = await client.call_tool(tool, arguments)
    block = reply.content[0]
    assert isinstance(block, t.TextContent)
    return block.text
