"""The one road: what every call leaves in the audit log, what is refused, and what is told of the hidden."""

import asyncio
import json
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import mcp.types as t
import pytest
from fix_answers import text_of
from fix_postgres import PostgresServer
from fix_server import HIDES, READS_ALL, MakeSite, Site
from fix_waiting import until
from mcp import Client, MCPError

from ostiary.app import House, open_house, terms
from ostiary.call import Call
from ostiary.errors import CallFailed, UnknownTool
from ostiary.gate import Gate
from ostiary.mcp_app import McpApp
from ostiary.pytest_plugin import ERAS
from ostiary.worlds import Worlds
from ostiary_policies.model import Access, Intent, Permit, Principal, Statement
from ostiary_tools.api import Args, Hints, Rows, Session, Surface, Text, Tool, World
from ostiary_tools.sql import judge

SHOP = """
CREATE TABLE orders (id integer PRIMARY KEY, status text, xkqzwjv text);
CREATE TABLE vault (id integer PRIMARY KEY, token text);
INSERT INTO orders SELECT n, 'open', 'pin' FROM generate_series(1, 9) n;
"""
GUEST = """
@id("guest-calls") permit (principal in Role::"guest", action == Action::"call", resource)
when { resource in [Tool::"query", Tool::"describe", Tool::"search_schema", Tool::"explain_slow_query", Tool::"whoami"] };
@id("guest-looks") permit (principal in Role::"guest", action in [Action::"see", Action::"read"], resource);
"""
TAGGED = {"public.vault": ["hidden"], "public.orders.xkqzwjv": ["hidden"]}
SLOW = "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b"
_DRAWN = re.compile(r"data-[0-9a-f]{6}")
_PATIENCE_S = 20

OpenShop = Callable[..., Any]
"""`async with shop() as opened`."""


@dataclass(frozen=True)
class Opened:
    """A server over the small shop."""

    site: Site
    house: House
    database: str

    def client(self, role: str = "reader", era: str = ERAS[0], *tools: Tool[Any]) -> Client:
        """An agent in a role; with tools beside the shipped ones."""
        who = Principal("ada", (role,))
        return Client(McpApp(_gate(self.house, *tools) if tools else self.house.gate, lambda _: who).server, mode=era)


def _gate(house: House, *tools: Tool[Any]) -> Gate:
    registry = {**house.registry, **{(tool.surface, tool.name): tool for tool in tools}}
    return Gate(
        registry=registry,
        policies=house.policies,
        worlds=Worlds(house.datasources, registry),
        datasources=house.datasources,
        recorder=house.recorder,
        audit_reader=house.gate._means.audit_reader,
        cursors=house.cursors,
        examples=house.gate._examples,
        approvals=house.gate._approvals,
        people=house.gate._people,
        jobs=house.gate._means.jobs,
        queue=house.queue,
        budgets=house.gate._budgets,
        taints=house.gate._taints,
        ledger=house.gate._ledger,
        shelves=house.gate._shelves,
        vault=house.vault,
        terms=terms(house.config),
        meter=house.meter,
    )


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    @asynccontextmanager
    async def opened(**wishes: Any) -> AsyncIterator[Opened]:
        database = await make_database(SHOP)
        dsn = postgres_server.dsn(database=database)
        site = await make_site({"shop": dsn}, policy=READS_ALL + GUEST + HIDES, tags=("hidden",), tagged=TAGGED, **wishes)
        async with open_house(site.config, lambda _: None) as house:
            yield Opened(site, house, database)

    return opened


async def told(asked: Awaitable[Any]) -> str:
    """The whole answer, or the whole protocol error."""
    try:
        answer = await asked
        return _DRAWN.sub("data", str(answer.model_dump_json()))
    except MCPError as error:
        return error.error.model_dump_json()


def calls(records: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """(origin, tool, decision, how it ended) of each call, in order; `-` for one that did not run."""
    ends = {record["call"]: record["status"] for record in records if record["kind"] == "o"}
    begun = [record for record in records if record["kind"] in "id"]
    assert Counter(r["call"] for r in records if r["kind"] == "i") == Counter(r["call"] for r in records if r["kind"] == "o")
    return [(r["origin"], r["tool"], r["decision"], ends.get(r["call"], "-")) for r in begun]


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_every_call_leaves_an_intent_and_an_outcome_or_a_refusal(shop: OpenShop, era: str):
    async with shop() as opened, opened.client("guest", era) as client:
        await client.call_tool("query", {"sql": "select id from orders"})
        await client.call_tool("query", {"sql": "select 1 / (id - id) from orders"})
        await client.call_tool("query", {"sql": "select token from vault"})
        await client.call_tool("query", {"sql": "delete from orders"})
        await client.call_tool("query", {"sql": "select 1", "more": 1})
        for unknown in ("audit_log", "nothing"):
            with pytest.raises(MCPError):
                await client.call_tool(unknown, {})
        await client.list_resources()
        await client.read_resource("schema://shop/public/orders")
        with pytest.raises(MCPError):
            await client.read_resource("schema://shop/public/vault")
        reference = t.ResourceTemplateReference(uri="schema://{datasource}/{schema}/{table}")
        await client.complete(reference, {"name": "table", "value": "o"})
        await client.get_prompt("explain_slow_query", {"sql": "select id from orders"})
        with pytest.raises(MCPError):
            await client.get_prompt("question_to_sql", {"question": "orders"})
        site = opened.site
    assert calls(await site.records()) == [
        ("tool", "query", "permit", "ok"),
        ("tool", "query", "permit", "error"),
        ("tool", "query", "refused", "-"),
        ("tool", "query", "refused", "-"),
        ("tool", "query", "invalid", "-"),
        ("tool", "audit_log", "unknown", "-"),
        ("tool", "nothing", "unknown", "-"),
        ("list", "describe", "permit", "ok"),
        ("resource", "describe", "permit", "ok"),
        ("resource", "describe", "refused", "-"),
        ("completion", "describe", "permit", "ok"),
        ("prompt", "explain_slow_query", "permit", "ok"),
        ("prompt", "question_to_sql", "unknown", "-"),
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_what_is_hidden_is_answered_as_what_does_not_exist_byte_for_byte(shop: OpenShop, era: str):
    """`vault`, `xkqzwjv` and two tools exist; `vaulx`, `xkqzwjw`, `audit_lox` and `question_to_sqx` do not."""
    async with shop() as opened, opened.client("guest", era) as client:
        reference = t.ResourceTemplateReference(uri="schema://{datasource}/{schema}/{table}")

        async def ask(table: str, column: str, tool: str, prompt: str) -> list[str]:
            answers = [
                await told(client.call_tool(tool, {})),
                await told(client.call_tool(tool, {"sql": "select 1"})),
                await told(client.get_prompt(prompt, {"question": "x"})),
                await told(client.call_tool("describe", {"tables": [table]})),
                await told(client.call_tool("describe", {"tables": [f"public.{table}", "orders"], "samples": True})),
                await told(client.call_tool("describe", {"tables": [table], "format": "mermaid"})),
                await told(client.call_tool("search_schema", {"query": table, "detail": "full"})),
                await told(client.call_tool("search_schema", {"query": column, "detail": "full"})),
                await told(client.read_resource(f"schema://shop/public/{table}")),
                await told(client.complete(reference, {"name": "table", "value": table})),
                await told(client.get_prompt("explain_slow_query", {"sql": f"select 1 from {table}"})),
            ]
            statements = (
                "select * from {table}",
                "select {table}.id from {table}",
                "select 1 from public.{table} where id = 1",
                "select orders.id from orders, {table}",
                "select null::{table}",
                "explain select 1 from {table}",
                "select {column} from orders",
                "select o.{column} from orders o",
                "select id from orders order by {column}",
                "select id from orders join orders o using ({column})",
                "select (o).{column} from orders o",
                "select {column}(o) from orders o",
                "select (select {column}) from orders",
            )
            sql = [statement.format(table=table, column=column) for statement in statements]
            return answers + [await told(client.call_tool("query", {"sql": text})) for text in sql]

        hidden = await ask("vault", "xkqzwjv", "audit_log", "question_to_sql")
        unknown = await ask("vaulx", "xkqzwjw", "audit_lox", "question_to_sqx")
    for one, other in (
        ("vaulx", "vault"),
        ("xkqzwjw", "xkqzwjv"),
        ("audit_lox", "audit_log"),
        ("question_to_sqx", "question_to_sql"),
    ):
        unknown = [answer.replace(one, other) for answer in unknown]
    assert hidden == unknown
    assert all(text in answer for text, answer in zip(["Unknown tool"] * 3, hidden, strict=False))


@pytest.mark.asyncio
async def test_nothing_runs_while_the_audit_log_cannot_be_written(shop: OpenShop, postgres_server: PostgresServer):
    """Executions are counted by the server itself, in its log of statements."""
    mark = f"ran_{secrets.token_hex(6)}"
    asked: list[tuple[str, dict[str, Any]]] = [
        ("query", {"sql": f"select id as {mark} from orders"}),
        ("query", {"sql": "delete from orders"}),
        ("query", {"sql": "select 'an error of analysis'::date"}),
        ("whoami", {}),
        ("describe", {"tables": ["orders"]}),
        ("search_schema", {"query": "orders"}),
    ]
    log = postgres_server.root / "log"
    async with shop() as opened:
        admin = await asyncpg.connect(postgres_server.dsn())
        await admin.execute(f"ALTER DATABASE {opened.database} SET log_statement = 'all'")
        await admin.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", opened.database)
        async with opened.client() as client:

            async def works() -> bool:
                reply: t.CallToolResult = await client.call_tool(*asked[0])
                return not reply.is_error

            await until(works)
            assert _executions(log, mark) >= 1
            await admin.execute(f"REVOKE CONNECT ON DATABASE {opened.site.control} FROM ostiary_writer")
            await admin.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", opened.site.control)
            before = _executions(log, mark)
            replies = [await client.call_tool(tool, arguments) for tool, arguments in asked]
            assert [text_of(reply).partition(":")[0] for reply in replies] == ["not_recorded"] * len(asked)
            for surface in (client.list_resources(), client.read_resource("schema://shop/public/orders")):
                with pytest.raises(MCPError):
                    await surface
            assert _executions(log, mark) == before
            await admin.execute(f"GRANT CONNECT ON DATABASE {opened.site.control} TO ostiary_writer")
            await until(works)
        await admin.close()
        site = opened.site
    calls(await site.records())


def _executions(log: Any, mark: str) -> int:
    return sum("execute" in line and mark in line for line in log.read_text(errors="replace").split("\n20"))


@pytest.mark.asyncio
async def test_the_same_denial_again_and_again_is_one_record_and_a_count(shop: OpenShop):
    async with shop() as opened, opened.client("guest") as client:
        replies = {text_of(await client.call_tool("query", {"sql": "select token from vault"})) for _ in range(6)}
        assert len(replies) == 1
        site = opened.site
    records = await site.records()
    assert calls(records) == [("tool", "query", "refused", "-")]
    folded = [record for record in records if record.get("event") == "denials_folded"]
    assert [(record["count"], record["first"]) for record in folded] == [(5, next(r["call"] for r in records if r["kind"] == "d"))]


@pytest.mark.asyncio
async def test_no_text_of_a_call_keeps_the_audit_log_from_being_searched(shop: OpenShop):
    """PostgreSQL's JSON functions fail on NUL, and no log may be written that an administrator cannot search."""
    async with shop() as opened:
        for text in ("\0", "\ud800", "\\u0000", "\\\0", '"', "\x01\x7f\u2028"):
            for tool, arguments in ((text, {}), ("query", {text: 1}), ("search_schema", {"query": text}), ("query", {"sql": text})):
                with suppress(CallFailed, UnknownTool):
                    await opened.house.gate.call(Principal("ada", ("reader",)), Call(tool, arguments, trace=text))
        reader = opened.house.gate._means.audit_reader
        found = await reader.records(agent="ada", tool="search_schema", kind="intent", before=None, limit=100)
    assert len(found) == 5  # all but the lone surrogate, which no text may hold


@pytest.mark.asyncio
async def test_no_value_of_a_call_stands_in_the_audit_log(shop: OpenShop):
    """Literals, parameters, arguments of what is unknown or malformed, and what a database error would quote."""
    canary = f"canary{secrets.token_hex(8)}"
    async with shop() as opened, opened.client("guest") as client:
        for sql in (
            f"select '{canary}'",
            f"select id from orders where status = '{canary}' -- {canary}",
            f"select '{canary}'::integer",
            f"select token from vault where token = '{canary}'",
            f"select '{canary}' from",
            f"delete from orders where status = '{canary}'",
            f"explain select id from orders where status like '{canary}%'",
            f"select $a${canary}$a$, E'\\x41{canary}', U&'{canary}', x'{canary.encode().hex()}'",
        ):
            await client.call_tool("query", {"sql": sql})
        await client.call_tool("query", {"sql": "select $1::text", "params": [canary]})
        await client.call_tool("query", {"sql": "select $1::integer", "params": [canary]})
        await client.call_tool("query", {"sql": "select 1", "max_rows": canary})
        await client.call_tool("query", {"sql": 1, "datasource": {"a": canary}})
        await client.get_prompt("explain_slow_query", {"sql": f"select id from orders where status = '{canary}'"})
        with pytest.raises(MCPError):
            await client.call_tool("nothing", {"secret": canary, "deep": {"password": [canary]}})
        site = opened.site
    stored = json.dumps(await site.records())
    assert len(calls(await site.records())) == 14
    assert canary not in stored
    assert canary.encode().hex() not in stored


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_a_statement_that_takes_too_long_is_ended_and_recorded(shop: OpenShop, era: str):
    async with shop(limits={"timeout_s": 0.2}) as opened, opened.client(era=era) as client:
        reply = await client.call_tool("query", {"sql": SLOW})
        assert text_of(reply).startswith("timeout:")
        site = opened.site
    assert calls(await site.records()) == [("tool", "query", "permit", "error")]


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_a_call_the_client_gives_up_ends_in_the_server_and_is_recorded(
    shop: OpenShop, era: str, postgres_server: PostgresServer
):
    admin = await asyncpg.connect(postgres_server.dsn())

    async with shop() as opened:

        async def running() -> bool:
            activity = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'active'"
                " AND query LIKE '%generate_series(1, 1000000)%'"
            )
            return bool(await admin.fetchval(activity, opened.database))

        async def idle() -> bool:
            return not await running()

        async with opened.client(era=era) as client:
            call = asyncio.create_task(client.call_tool("query", {"sql": SLOW}))
            await until(running)
            call.cancel()
            await until(idle)
            with pytest.raises(asyncio.CancelledError):
                await call
            assert not (await client.call_tool("whoami", {})).is_error
        site = opened.site
    await admin.close()
    assert calls(await site.records()) == [("tool", "query", "permit", "cancelled"), ("tool", "whoami", "permit", "ok")]


class NoArgs(Args):
    """None."""


class Sly:
    """A tool whose plan states less than its statement reads."""

    name, title, description = "sly", "Sly", "Reads more than it says."
    surface, hints, args = Surface.TOOL, Hints(), NoArgs
    ran = False

    def __init__(self, sql: str, accesses: Callable[[tuple[Access, ...]], tuple[Access, ...]]) -> None:
        self.sql = sql
        self.accesses = accesses

    def plan(self, _: NoArgs, world: World) -> Intent:
        """Say less."""
        judged = judge(self.sql, world.view("shop"))
        return Intent(self.name, {}, self.accesses(judged.accesses), "shop", (judged.statement,))

    async def run(self, permit: Permit, session: Session) -> Rows:
        """Do more."""
        Sly.ran = True
        return await session.rows(permit.intent.statements[0])


class Other(Sly):
    """A tool that runs another statement than the permit's."""

    name = "other"

    async def run(self, _: Permit, session: Session) -> Rows:
        """Do something else."""
        return await session.rows(Statement("SELECT token FROM public.vault", ()))


class Broken:
    """A tool with a defect."""

    name, title, description = "broken", "Broken", "Fails."
    surface, hints, args = Surface.TOOL, Hints(), NoArgs

    def __init__(self, secret: str, *, in_plan: bool) -> None:
        self.secret = secret
        self.in_plan = in_plan

    def plan(self, _: NoArgs, _world: World) -> Intent:
        """Fail, or not yet."""
        if self.in_plan:
            raise RuntimeError(f"password={self.secret}")
        return Intent(self.name)

    async def run(self, _: Permit, _session: Session) -> Text:
        """Fail."""
        raise RuntimeError(f"password={self.secret}")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sly",
    [
        Sly("select status from orders", lambda _: ()),
        Sly("select status from orders", lambda stated: stated[:-1]),
    ],
)
async def test_a_tool_that_states_less_than_its_statement_does_is_refused(shop: OpenShop, sly: Sly):
    Sly.ran = False
    async with shop() as opened, opened.client("reader", ERAS[0], sly) as client:
        reply = await client.call_tool("sly", {})
        assert reply.is_error
        assert "judged_again" in text_of(reply)
        site = opened.site
    assert not Sly.ran
    assert calls(await site.records()) == [("tool", "sly", "refused", "-")]


@pytest.mark.asyncio
async def test_a_tool_that_runs_another_statement_than_it_stated_is_refused(shop: OpenShop):
    async with shop() as opened, opened.client("reader", ERAS[0], Other("select id from orders", lambda stated: stated)) as client:
        reply = await client.call_tool("other", {})
        assert reply.is_error
        assert "permit" in text_of(reply)
        site = opened.site
    assert calls(await site.records()) == [("tool", "other", "permit", "error")]


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("in_plan", [True, False])
async def test_a_defect_of_a_tool_is_told_by_the_id_of_the_call_alone(shop: OpenShop, era: str, *, in_plan: bool):
    """The 2025 era of the SDK sends the text of an exception to the client."""
    secret = secrets.token_hex(8)
    async with shop() as opened, opened.client("reader", era, Broken(secret, in_plan=in_plan)) as client:
        reply = await client.call_tool("broken", {})
        site = opened.site
    records = await site.records()
    [call] = {record["call"] for record in records if record["kind"] in "iod"}
    assert text_of(reply) == f"internal: the call failed inside the server; its id is {call}\nhint: tell the operator the id"
    assert reply.is_error
    assert secret not in reply.model_dump_json() + json.dumps(records)


@pytest.mark.asyncio
async def test_fifty_calls_at_once_are_each_answered_with_their_own_rows_and_recorded(shop: OpenShop):
    async with shop() as opened, opened.client() as client, opened.client("guest") as other:
        asked = [
            (client if n % 2 else other).call_tool("query", {"sql": f"select {n} as n, id from orders where id = {1 + n % 9}"})
            for n in range(50)
        ]
        replies = await asyncio.gather(*asked)
        site = opened.site
    assert [text_of(reply).split("\n")[2] for reply in replies] == [f"{n},{1 + n % 9}" for n in range(50)]
    assert calls(await site.records()) == [("tool", "query", "permit", "ok")] * 50
