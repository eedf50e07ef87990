"""Attributes of callers over real HTTP: signed claims in, decisions of the real engine out, and no value on record."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from fix_agents import http_client
from fix_http import serving
from fix_identity import AUDIENCE, Provider, providing
from fix_pages import cursor_of
from fix_postgres import PostgresServer
from fix_server import READS_ALL, MakeSite, Site
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

SHOP = "CREATE TABLE orders (id integer PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 9); CREATE TABLE days ()"
EUROPE, ELSEWHERE = "canary-europe", "canary-elsewhere"
POLICY = f"""{READS_ALL}
@id("europe") forbid (principal, action in [Action::"see", Action::"read"], resource == Table::"shop.public.orders")
unless {{ principal has region && principal.region == "{EUROPE}" }};
@id("plans") forbid (principal, action == Action::"call", resource == Tool::"explain")
unless {{ principal has teams && principal.teams.contains("planners") && principal has grade && principal.grade > 2 }};
"""
ORDERS = {"sql": "select id from orders order by id"}
LOOKS: dict[str, dict[str, Any]] = {"query": ORDERS, "describe": {"tables": ["orders"]}, "search_schema": {"query": "order"}}
SHOWN = r"id\n1\n2|id integer|public/orders|public\.orders"
"""What nobody is shown who may not see the table."""

_OWN = "io.modelcontextprotocol/"
META = {f"{_OWN}protocolVersion": "2026-07-28", f"{_OWN}clientInfo": {"name": "t", "version": "1"}, f"{_OWN}clientCapabilities": {}}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}


@dataclass(frozen=True)
class Served:
    """A server that believes a provider."""

    site: Site
    url: str
    provider: Provider

    @asynccontextmanager
    async def client(self, era: str = "2026-07-28", **claims: Any) -> AsyncIterator[tuple[Client, httpx2.AsyncClient]]:
        """The agent `alice` with those claims; its token can be changed on the way."""
        async with (
            http_client(headers=self.bearer(**claims)) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=era) as client,
        ):
            yield client, http

    def bearer(self, **claims: Any) -> dict[str, str]:
        """The header of a token with those claims."""
        return {"Authorization": f"Bearer {self.provider.token(**claims)}"}


Serve = Callable[[], Any]


@pytest.fixture
def serve(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> Serve:
    """A process over a small shop."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Served]:
        async with providing() as provider:
            more = f"""
                [agent]
                role = "reader"
                roles = ["reader"]
                [http]
                authentication = ["oauth"]
                [oauth]
                issuer = "{provider.url}"
                resource = "{AUDIENCE}"
                roles = {{ readers = ["reader"] }}
                [attributes.region]
                type = "text"
                claim = "place.region"
                agents = {{ alice = "{EUROPE}" }}
                [attributes.teams]
                type = "texts"
                claim = "teams"
                [attributes.grade]
                type = "integer"
                claim = "grade"
                """
            dsn = postgres_server.dsn(database=await make_database(SHOP))
            site = await make_site({"shop": dsn}, policy=POLICY, limits={"rows": 2}, more=more)
            file = site.config.home.data.parent / "ostiary.toml"
            async with serving(site.config, "--config", str(file)) as (url, _):
                yield Served(site, url, provider)

    return opened


async def asked(client: Client, tool: str, arguments: dict[str, Any]) -> str:
    """The text of the reply."""
    return str((await client.call_tool(tool, arguments)).content[0].text)  # type: ignore[union-attr]  # our replies are text


def region(where: str) -> dict[str, Any]:
    return {"place": {"region": where}}


@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
@pytest.mark.asyncio
async def test_what_one_was_allowed_is_not_remembered_for_the_same_agent_with_other_attributes(serve: Serve, era: str):
    """The attack: warm every memory as the one, then ask as the other, on the same session, in both orders."""
    async with serve() as served, served.client(era, **region(EUROPE)) as (client, http):
        seen = []
        for claims in (region(EUROPE), region(ELSEWHERE), {}, region(EUROPE), region(EUROPE.upper())):
            http.headers.update(served.bearer(**claims))
            replies = {tool: await asked(client, tool, arguments) for tool, arguments in LOOKS.items()}
            replies["resources"] = str((await client.list_resources()).resources)
            seen.append({name: bool(re.search(SHOWN, reply)) for name, reply in replies.items()})

    assert [set(each.values()) for each in seen] == [{True}, {False}, {False}, {True}, {False}], seen


@pytest.mark.asyncio
async def test_the_tools_offered_depend_on_attributes_of_every_type(serve: Serve):
    async with serve() as served, http_client() as http:
        offered = []
        for claims in (
            {"teams": ["sales", "planners"], "grade": 3},
            {"teams": ["sales", "planners"], "grade": 2},
            {"teams": ["Planners"], "grade": 3},
            {"grade": 3},
            {"teams": ["planners"], "grade": 3},
        ):
            tools = (await http.post(served.url, json=LIST, headers=HEADERS | served.bearer(**claims))).json()["result"]["tools"]
            offered.append("explain" in {tool["name"] for tool in tools})

    assert offered == [True, False, False, False, True]


@pytest.mark.asyncio
async def test_a_cursor_ends_when_an_attribute_changes(serve: Serve):
    """Even one that no policy asks for: who the rows were for is not who asks now."""
    async with serve() as served, served.client(**region(EUROPE), grade=1) as (client, http):
        cursor = cursor_of(await asked(client, "query", ORDERS))
        for claims in ({"grade": 2}, {}, {"grade": 1, "teams": []}):
            http.headers.update(served.bearer(**region(EUROPE), **claims))
            reply = await asked(client, "query", {"cursor": cursor})
            assert reply.startswith("refused: this cursor has ended: your attributes have changed since")
        http.headers.update(served.bearer(**region(EUROPE), grade=1))
        assert (await asked(client, "query", {"cursor": cursor})).splitlines()[1:4] == ["id", "3", "4"]


@pytest.mark.asyncio
async def test_the_audit_log_tells_callers_with_other_attributes_apart_and_holds_no_value(serve: Serve):
    async with serve() as served, served.client() as (client, http):
        for where in (EUROPE, EUROPE, ELSEWHERE, ELSEWHERE, "another", ""):
            http.headers.update(served.bearer(**(region(where) if where else {})))
            await asked(client, "query", ORDERS)
        records = await served.site.records()

    told = [(r["kind"], r.get("attributes", {})) for r in records if r.get("tool") == "query" and r["kind"] in "id"]
    assert [kind for kind, _ in told] == ["i", "i", "d", "d", "d"], "the second denial of ELSEWHERE is a number"
    assert [attributes.get("names") for _, attributes in told] == [["region"]] * 4 + [None]
    digests = [attributes.get("digest", "") for _, attributes in told]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
    assert EUROPE not in json.dumps(records)
    assert ELSEWHERE not in json.dumps(records)
