"""A server process on stdio, in both eras: what it offers, how large it is, and what it does with rubbish."""

import asyncio
import csv
import io
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_waiting import ended, until
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import get_default_environment

from ostiary.config import Config
from ostiary.pytest_plugin import ERAS, Connect

RUNNING = """
select count(*) from pg_stat_activity
where state = 'active' and query like '%a.quantity + b.quantity%' and pid <> pg_backend_pid()
"""
ROOT = Path(__file__).parent.parent.parent
HUNDRED = """
select id, placed_at::date as placed, status, customer_id, (id % 97) * 1.25 as total from orders order by id limit 100
"""


def environment(config: Config) -> dict[str, str]:
    return {**get_default_environment(), "OSTIARY_HOME__DATA": str(config.home.data), "OSTIARY_HOME__STATE": str(config.home.state)}


def started(config: Config, *arguments: str) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=["-m", "ostiary", "serve", *arguments], env=environment(config))


def text(reply: Any) -> str:
    return str(reply.content[0].text)


def data(reply: Any) -> str:
    """What stands between the marks."""
    found = re.search(r"<(data-\w+)>\n(.*)\n</\1>", text(reply), re.DOTALL)
    assert found, text(reply)
    return found[2]


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_an_analyst_is_offered_few_tools_in_few_characters(ostiary_config: Config, era: str):
    async with Client(started(ostiary_config), mode=era) as client:
        listed = await client.list_tools()

    tools = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed.tools]
    assert [tool["name"] for tool in tools] == ["describe", "explain", "query", "search", "search_schema", "whoami"]
    assert len(json.dumps({"tools": tools})) <= 10_000
    assert all(tool["annotations"]["readOnlyHint"] and tool["inputSchema"]["additionalProperties"] is False for tool in tools)
    assert all(field.get("description") for tool in tools for field in tool["inputSchema"]["properties"].values())
    assert not any("outputSchema" in tool for tool in tools)


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("observer", ["describe", "search_schema", "whoami"]),
        ("auditor", ["audit_log", "audit_verify", "describe", "search_schema", "whoami"]),
    ],
)
async def test_a_role_is_offered_its_own_tools(agent: Connect, era: str, role: str, names: list[str]):
    client = await agent(role, era=era)

    assert [tool.name for tool in (await client.list_tools()).tools] == names


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_a_hundred_rows_cost_little_more_than_their_csv(agent: Connect, era: str):
    """100 rows of 5 columns in at most 1.15 times their bare CSV."""
    reply = await (await agent("analyst", era=era)).call_tool("query", {"sql": HUNDRED})

    rows = list(csv.reader(io.StringIO(data(reply))))
    bare = io.StringIO()
    csv.writer(bare, lineterminator="\n").writerows(rows)
    assert (len(rows), {len(row) for row in rows}) == (101, {5})
    assert len(text(reply)) <= 1.15 * len(bare.getvalue())
    assert reply.structured_content is None


@pytest.mark.asyncio
async def test_a_reply_stays_within_its_bound_and_says_that_it_is_cut(agent: Connect):
    reply = await (await agent("analyst")).call_tool("query", {"sql": "select * from order_items"})

    assert len(text(reply)) <= 16_000
    assert "TRUNCATED, more exist" in text(reply)


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_bad_calls_are_answered_in_words_and_the_server_goes_on(agent: Connect, era: str):
    analyst = await agent("analyst", era=era)
    with pytest.raises(MCPError, match="Unknown tool: nothing"):
        await analyst.call_tool("nothing", {})
    for arguments, said in (
        ({"sql": "select 1", "extra": 1}, "`extra`: extra inputs are not permitted"),
        ({"sql": 7}, "`sql`: input should be a valid string"),
        ({}, "give `sql`, or the `cursor` of a truncated reply"),
        ({"sql": "select 'a\0b'"}, "the statement holds a NUL character"),
        ({"sql": "select '\ud800'"}, "not valid"),
        ({"sql": "select 1 -- " + "x" * 10_000_000}, "longer than 100,000 bytes"),
        ({"sql": "select $1::text", "params": ["a\0b"]}, "a character PostgreSQL cannot store"),
        ({"sql": "select 1", "datasource": "x'; drop table orders; --"}, "unknown datasource"),
    ):
        try:
            reply = await analyst.call_tool("query", arguments)
        except (UnicodeEncodeError, ValueError):
            continue  # the client itself does not send a lone surrogate
        assert reply.is_error
        assert said in text(reply)
        assert "Traceback" not in text(reply)
    assert "\nanswer\n42" in text(await analyst.call_tool("query", {"sql": "select 42 as answer"}))


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_resources_completion_and_prompts_follow_the_caller(agent: Connect, era: str):
    import mcp.types as t

    analyst = await agent("analyst", era=era)
    resources = (await analyst.list_resources()).resources
    assert "schema://shop/public/orders" in [str(resource.uri) for resource in resources]
    assert [r.uri_template for r in (await analyst.list_resource_templates()).resource_templates] == [
        "schema://{datasource}/{schema}/{table}"
    ]
    read = await analyst.read_resource("schema://shop/public/orders")
    assert "customer_id integer" in read.contents[0].text  # type: ignore[union-attr]  # ours are text
    reference = t.ResourceTemplateReference(uri="schema://{datasource}/{schema}/{table}")
    completed = await analyst.complete(reference, {"name": "table", "value": "order"})
    assert completed.completion.values == ["order_items", "order_totals", "orders"]
    assert [prompt.name for prompt in (await analyst.list_prompts()).prompts] == ["explain_slow_query", "question_to_sql"]
    for uri in (
        "schema://shop/public/nothing",
        "schema://nowhere/public/orders",
        "schema://shop/public",
        "schema://shop/public/o%00",
    ):
        with pytest.raises(MCPError, match="Unknown resource"):
            await analyst.read_resource(uri)


@asynccontextmanager
async def raw_server(config: Config) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server whose pipes are ours. It must end by itself when its input ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ostiary", "serve"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(config),
        limit=1 << 24,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def frame(number: int, method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


INITIALIZE = frame(1, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "raw", "version": "0"}) + (
    b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
)


async def answer_to(process: asyncio.subprocess.Process, number: int) -> dict[str, Any]:
    """The frame with that id; every line before it must be a frame too."""
    assert process.stdout
    while True:
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        found: dict[str, Any] = json.loads(line)
        assert found["jsonrpc"] == "2.0"
        if found.get("id") == number:
            return found


@pytest.mark.asyncio
async def test_rubbish_on_the_wire_is_survived(ostiary_config: Config):
    """Malformed JSON-RPC, invalid UTF-8 and NUL: nothing but frames comes back, and the next request is answered."""
    rubbish = (
        b"\xff\xfe\x00\x01\n",
        b"{\n",
        b"[]\n",
        b'"text"\n',
        b"\x00\n",
        b'{"jsonrpc":"1.0","id":7,"method":"tools/list"}\n',
        b'{"jsonrpc":"2.0","id":8}\n',
        b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":[]}\n',
        b'{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"query","arguments":"x"}}\n',
        b'{"jsonrpc":"2.0","id":11,"method":"no/such/method"}\n',
        frame(12, "tools/call", name="query", arguments={"sql": "\x00\x01"}),
        b'{"jsonrpc":"2.0","id":13,"method":"tools/call","params":{"name":"query","arguments":{"sql":"select \\ud800"}}}\n',
        b"[" * 50_000 + b"\n",
    )
    async with raw_server(ostiary_config) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(INITIALIZE)
        assert (await answer_to(process, 1))["result"]["serverInfo"]["name"] == "ostiary"
        for line in rubbish:
            process.stdin.write(line)
        process.stdin.write(frame(99, "tools/call", name="query", arguments={"sql": "select 42 as answer"}))
        assert "42" in (await answer_to(process, 99))["result"]["content"][0]["text"]
        process.stdin.close()
        async with asyncio.timeout(30):
            assert await process.wait() == 0


@pytest.mark.asyncio
async def test_a_client_that_leaves_ends_its_statement_in_the_server(ostiary_config: Config, agent: Connect):
    slow = "select count(*) from order_items a, order_items b, order_items c where a.quantity + b.quantity > c.quantity"
    async with raw_server(ostiary_config) as process:
        assert process.stdin
        process.stdin.write(INITIALIZE)
        await answer_to(process, 1)
        process.stdin.write(frame(2, "tools/call", name="query", arguments={"sql": slow}))
        dsn = await _dsn(ostiary_config)
        await _until(dsn, running=True)
        process.stdin.close()
        async with asyncio.timeout(30):
            await process.wait()
    await _until(dsn, running=False)


async def _dsn(config: Config) -> str:
    from ostiary_tools.embedded import ADMIN, SHOP, attach

    cluster = await attach(config.home.data, lambda _: None, runtime_dir=config.home.runtime)
    await cluster.detach()
    return cluster.dsn(ADMIN, SHOP)


async def _until(dsn: str, *, running: bool) -> None:
    """Wait until the slow statement is running or gone."""
    connection = await asyncpg.connect(dsn)
    try:

        async def seen() -> bool:
            return bool(await connection.fetchval(RUNNING)) is running

        await until(seen)
    finally:
        await connection.close()


def test_every_client_format_names_a_command_that_exists():
    known = json.loads((ROOT / "mcp.json").read_text())

    assert known == {"mcpServers": {"ostiary": {"command": "ostiary", "args": ["serve"]}}}


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "key"), [("claude-desktop", "mcpServers"), ("cursor", "mcpServers"), ("vscode", "servers")])
async def test_each_printed_client_configuration_starts_a_server(ostiary_config: Config, kind: str, key: str):
    printed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ostiary", "config", "--client", kind, "--json"),
        stdout=asyncio.subprocess.PIPE,
        env=environment(ostiary_config),
    )
    out, _ = await ended(printed)
    entry = json.loads(out)[key]["ostiary"]
    parameters = StdioServerParameters(command=entry["command"], args=entry["args"], env=environment(ostiary_config))
    async with Client(parameters) as client:
        assert "query" in [tool.name for tool in (await client.list_tools()).tools]
