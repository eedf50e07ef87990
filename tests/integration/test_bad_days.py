"""Bad input and bad moments, through a real MCP client: each is answered in words, and the next query is answered as ever."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import asyncpg
import mcp.types as t
import pytest
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from fix_waiting import until
from mcp import Client

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

POLICY = """
@id("reads") permit (principal in Role::"reader", action, resource);
@id("no-secrets")
forbid (principal, action in [Action::"see", Action::"read"], resource is Table) when { resource.tags.contains("secret") };
@id("no-secret-columns")
forbid (principal, action in [Action::"see", Action::"read"], resource is Column)
when { resource.tags.contains("secret") || resource.table_tags.contains("secret") };
"""
SHOP = """
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders SELECT n, 'plain ' || n FROM generate_series(1, 50) AS n;
CREATE TABLE vault (id int PRIMARY KEY, note text);
INSERT INTO vault VALUES (1, '@canary@');
COMMENT ON TABLE vault IS '@secret';
"""
REFUSED = ("refused: ", "database_error: ", "invalid_arguments: ", "timeout: ", "denied: ")
"""How a reply begins that is no answer."""

HOSTILE = {
    "10,000 parentheses": "select " + "(" * 10_000 + "1" + ")" * 10_000,
    "10,000 subselects": "select " + "(select " * 10_000 + "1" + ")" * 10_000,
    "10,000 signs": "select " + "- " * 10_000 + "1",
    "10,000 casts": "select 1" + "::int" * 10_000,
    "10,000 ORs": "select 1 where " + " or ".join(["1 = 2"] * 10_000),
    "10,000 brackets": "select " + "array[" * 10_000 + "1" + "]" * 10_000,
    "10,000 CASEs": "select " + "case when true then " * 10_000 + "1" + " end" * 10_000,
    "1 MB of text": "select '" + "x" * 1_000_000 + "'",
    "1 MB of a comment": "select 1 /* " + "x" * 1_000_000 + " */",
    "5,000 columns": "select " + ", ".join(f"1 as c{n}" for n in range(5_000)),
    "unterminated text": "select 'a",
    "unterminated name": 'select "a',
    "unterminated dollars": "select $a$ $b$",
    "unterminated comment": "select 1 /* /* */",
    "unterminated bracket": "select (1",
    "unterminated escape": "select E'\\",
    "unterminated code point": "select U&'\\00'",
    "unterminated CASE": "select case when true",
    "NUL": "select 'a\0b'",
    "NUL in a name": "select * from orders\0; drop table orders",
    "NUL by escape": "select E'a\\000b'",
    "overlong slash": "select E'\\xc0\\xaf'",
    "half a surrogate": "select U&'\\d800'",
    "Cyrillic o": "select * from \u043erders",
    "fullwidth": "\uff33\uff25\uff2c\uff25\uff23\uff34 1 from vault",
    "bidi override": "select id from orders where note = '\u202e' or 1 = 1 -- \u202d vault\n union select 1 from vault",
    "hidden by code points": 'select note from U&"v\\0061ult"',
    "hidden by an escape of choice": "select note from U&\"v!0061ult\" uescape '!'",
    "hidden by quotes": 'select note from "public"."vault"',
    "hidden after a carriage return": "select 1 --\r from orders\n union all select note from vault",
    "second statement behind a comment": "select 1 -- \n; drop table orders",
    "second statement behind dollars": "select $x$ ; $x$; drop table orders",
    "no-break space": "select\u00a01; drop table orders",
    "text for ever": "with recursive r as (select 'x'::text as t union all select t || t from r) select length(t) from r",
    "rows for ever": "with recursive r as (select 1 as n union all select n + 1 from r) select count(*) from r",
    "a sum of everything": "select count(*) from orders a, orders b, orders c, orders d, orders e, orders f, orders g",
}
HONEST = {
    "60 joins": "select count(*) from orders o0 " + " ".join(f"join orders o{n} on o{n}.id = o0.id" for n in range(1, 60)),
    "1,600 columns": "select " + ", ".join(f"{n} as c{n}" for n in range(1_600)),
    "10,000 values": "select count(*) from orders where id in (" + ", ".join(map(str, range(10_000))) + ")",
    "nested comments": "select /* a /* b */ c */ 1 -- end",
    "dollar quotes": "select $a$ $b$ '; drop table orders; -- $b$ $a$",
    "escapes": "select E'\\x27; drop table orders; --', U&'d!0061ta' uescape '!'",
    "a name by code points": 'select count(*) from U&"\\006frders"',
    "every plane": "select '\ufeff\u202e\u0430\U0001f600\u0301'",
    "a value cut in the server": "select repeat('x', 100000000)",
}


@dataclass(frozen=True)
class Day:
    """A running server, a reader of it, and the owner of its data."""

    site: Site
    house: House
    client: Client
    owner: asyncpg.Connection
    database: str
    canary: str

    async def query(self, sql: str) -> str:
        """The whole reply."""
        block = (await self.client.call_tool("query", {"sql": sql})).content[0]
        assert isinstance(block, t.TextContent)
        return block.text


OpenDay = Callable[..., AbstractAsyncContextManager[Day]]


@pytest.fixture
def day(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenDay:
    @asynccontextmanager
    async def opened(timeout_s: float) -> AsyncIterator[Day]:
        canary = secrets.token_hex(8)
        database = await make_database(SHOP.replace("@canary@", canary))
        site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=POLICY, limits={"timeout_s": timeout_s})
        owner = await asyncpg.connect(postgres_server.dsn(database=database))
        try:
            async with open_house(site.config, lambda _: None) as house:
                who = Principal("bad", ("reader",))
                async with Client(McpApp(house.gate, lambda _: who).server) as client:
                    yield Day(site, house, client, owner, database, canary)
        finally:
            await owner.close()

    return opened


@pytest.mark.asyncio
async def test_hostile_text_is_answered_in_words_and_harms_nothing(day: OpenDay):
    wrong: list[str] = []
    async with day(timeout_s=0.5) as shop:
        usual = (await shop.query("select count(*) from orders")).splitlines()[1:3]
        assert usual == ["count", "50"]
        for name, sql in HOSTILE.items():
            reply = await shop.query(sql)
            if not reply.startswith(REFUSED):
                wrong.append(f"{name} is answered: {reply[:200]}")
            if shop.canary in reply or len(reply) > 2_000:
                wrong.append(f"{name} tells too much: {reply[:200]}")
            if (await shop.query("select count(*) from orders")).splitlines()[1:3] != usual:
                wrong.append(f"{name} changes the next answer")
    assert wrong == []


@pytest.mark.asyncio
async def test_honest_text_of_unusual_size_and_spelling_is_answered(day: OpenDay):
    async with day(timeout_s=30) as shop:
        replies = {name: await shop.query(sql) for name, sql in HONEST.items()}
    assert {name: reply[:300] for name, reply in replies.items() if reply.startswith(REFUSED)} == {}
    assert max(map(len, replies.values())) < 20_000


@pytest.mark.asyncio
async def test_a_table_swapped_or_hidden_between_two_calls_shows_nothing_of_what_it_hides(day: OpenDay):
    """The snapshot is a minute old by right; the call that would run on something else is ended, and the next is judged anew."""
    async with day(timeout_s=30) as shop:
        assert "plain 7" in await shop.query("select note from orders where id = 7")
        await shop.owner.execute("ALTER TABLE orders RENAME TO gone; ALTER TABLE vault RENAME TO orders")
        first, second = await shop.query("select note from orders"), await shop.query("select note from orders")
        assert first.startswith("schema_changed: ")
        assert second.startswith("refused: "), second
        await shop.owner.execute("COMMENT ON COLUMN gone.note IS '@secret'; ALTER TABLE gone RENAME TO shown")
        again = [await shop.query("select note from shown where id = 7") for _ in range(2)]
        assert not [reply for reply in (first, second, *again) if shop.canary in reply or "plain 7" in reply]


@pytest.mark.asyncio
@pytest.mark.parametrize("phase", ["analysing", "waiting for the intent"])
async def test_a_call_given_up_before_it_ran_is_recorded_and_never_runs(day: OpenDay, postgres_server: PostgresServer, phase: str):
    """Held by a lock on the table, or on the audit log; cancelled while it runs is in test_gate.py."""
    async with day(timeout_s=30) as shop:
        await shop.query("select 1")
        scans = "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) FROM pg_stat_user_tables WHERE relname = 'orders'"
        before = await shop.owner.fetchval(scans)
        holder = await asyncpg.connect(postgres_server.dsn(database=shop.database if phase == "analysing" else shop.site.control))
        watch = await asyncpg.connect(postgres_server.dsn(database=shop.database))

        async def held() -> bool:
            state = "wait_event_type = 'Lock'" if phase == "analysing" else "query LIKE '%held_call%' AND wait_event = 'ClientRead'"
            look = f"SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'ostiary' AND {state}"
            return bool(await watch.fetchval(look, shop.database))

        async def gone() -> bool:
            look = "SELECT count(xact_start) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'ostiary'"
            return not await watch.fetchval(look, shop.database)

        held_lock = holder.transaction()
        await held_lock.start()
        await holder.execute(f"LOCK TABLE {'orders' if phase == 'analysing' else 'audit.log'} IN ACCESS EXCLUSIVE MODE")
        call = asyncio.create_task(shop.query("select count(*) as held_call from orders"))
        await until(held)
        call.cancel()
        await until(gone)
        await held_lock.rollback()
        with pytest.raises(asyncio.CancelledError):
            await call
        await holder.close()
        await watch.close()

        assert "50" in await shop.query("select count(*) from orders where id > 0")
        site = shop.site
        await shop.owner.execute("SELECT pg_stat_force_next_flush()")
        assert await shop.owner.fetchval(scans) - before <= 1, "only the last query looked"
    records = await site.records()
    calls = [record["call"] for record in records if "held_call" in str(record.get("sql"))]
    assert len(calls) == 1
    ends = [record["status"] for record in records if record["kind"] == "o" and record["call"] in calls]
    assert ends == ["cancelled"]
