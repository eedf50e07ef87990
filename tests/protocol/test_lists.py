"""Lists and what is read, over HTTP in both eras: pages, completion, and how long a client may keep them."""

from collections.abc import Awaitable, Callable

import mcp.types as t
import pytest
from fix_http import serving
from fix_postgres import PostgresServer
from fix_server import MakeSite
from mcp import Client, MCPError

from ostiary.pytest_plugin import ERAS

TABLES = "SELECT format('CREATE TABLE t%s (id int)', lpad(n::text, 3, '0')) FROM generate_series(1, 205) n \\gexec"
TEMPLATE = t.ResourceTemplateReference(uri="schema://{datasource}/{schema}/{table}")


@pytest.mark.asyncio
async def test_lists_come_in_pages_and_for_the_caller_alone(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    site = await make_site({"shop": postgres_server.dsn(database=await make_database(TABLES))})
    options = ("--config", str(site.config.home.data.parent / "ostiary.toml"))
    role = {"OSTIARY_AGENT__ROLE": "reader", "OSTIARY_AGENT__ROLES": "reader"}
    async with serving(site.config, *options, **role) as (url, _):
        for era in ERAS:
            async with Client(url, mode=era) as client:
                await _pages(client)
                await _completion(client)
                if era == "2026-07-28":
                    await _kept_by_nobody(client)


async def _pages(client: Client) -> None:
    first = await client.list_resources()
    second = await client.list_resources(cursor=first.next_cursor)
    assert (len(first.resources), len(second.resources), second.next_cursor) == (200, 5, None)
    assert [r.name for r in (*first.resources, *second.resources)] == [f"shop/public/t{n:03}" for n in range(1, 206)]
    for cursor in ("", "x", "schema://shop", "schema://shop/public/t001/more", "schema://shop/public/%ff", "\0", "9" * 10_000):
        for listed in (client.list_resources, client.list_resource_templates, client.list_tools, client.list_prompts):
            with pytest.raises(MCPError, match="Unknown cursor") as caught:
                await listed(cursor=cursor)
            assert caught.value.code == t.INVALID_PARAMS


async def _completion(client: Client) -> None:
    many = (await client.complete(TEMPLATE, {"name": "table", "value": "t"})).completion
    assert (len(many.values), many.has_more) == (100, True)
    few = (await client.complete(TEMPLATE, {"name": "table", "value": "t20"})).completion
    assert (few.values, few.has_more) == (["t200", "t201", "t202", "t203", "t204", "t205"], False)
    none = (await client.complete(TEMPLATE, {"name": "nothing", "value": ""})).completion
    assert (none.values, none.has_more) == ([], False)


async def _kept_by_nobody(client: Client) -> None:
    """What one caller is given may differ from what the next is given, and policy may change it at any time."""
    answers = (
        await client.list_tools(),
        await client.list_prompts(),
        await client.list_resources(),
        await client.list_resource_templates(),
        await client.read_resource("schema://shop/public/t001"),
    )
    assert {(answer.cache_scope, answer.ttl_ms) for answer in answers} == {("private", 0)}
    assert all({"cache_scope", "ttl_ms"} <= answer.model_fields_set for answer in answers)
