"""Everything in tests/cases/leaks through a real MCP client: nothing that a mask or a row rule withholds comes out."""

from collections.abc import Iterator
from contextlib import AsyncExitStack

import asyncpg
import fix_attacks
import fix_leaks
import pytest
from fix_answers import Table, connected, read
from fix_attacks import Attack
from fix_leaks import VARIANTS, Doors, Probe, World, doors, probes, reopened, worlds
from fix_pages import cursor_of
from fix_postgres import PostgresServer
from fix_server import MakeSite

HONEST = """
select (select count(email) from people) as people, (select count(*) from docs where body like 'plain%') as docs,
    (select count(*) from papers) as papers, (select count(*) from events) as events, (select count(serial) from assets) as assets
"""
"""What withholds everything leaks nothing: each of these tables must still be read."""


@pytest.fixture(scope="module")
def pair(postgres_server: PostgresServer) -> Iterator[tuple[World, World]]:
    with worlds(postgres_server) as built:
        yield built


async def probed(opened: Doors, variants: tuple[str, ...], columns: int) -> tuple[int, list[str]]:
    """How many probes there were, and what came through, once it is sure that honest questions are answered."""
    for role in variants:
        for reply in await opened.raw(Probe(Attack("honest", {"sql": HONEST}), role)):
            assert read(reply) == Table(["people", "docs", "papers", "events", "assets"], [["12", "20", "20", "10", "6"]])
    tried = list(probes(opened.pair[0], variants, columns))
    return len(tried), [f"{probe.title}: {harm}" for probe in tried for harm in await opened.leaks(probe)]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("variants", "columns", "at_least"),
    [
        pytest.param((VARIANTS[0], VARIANTS[-1]), 1, 550, id="few"),
        pytest.param(VARIANTS, len(fix_leaks.COLUMNS), 2_000, id="all", marks=pytest.mark.slow),
    ],
)
async def test_nothing_withheld_comes_through(
    pair: tuple[World, World],
    postgres_server: PostgresServer,
    make_site: MakeSite,
    variants: tuple[str, ...],
    columns: int,
    at_least: int,
):
    async with doors(pair, postgres_server, make_site) as opened:
        count, through = await probed(opened, variants, columns)
        told = Probe(Attack("the audit log", {"tool": "audit_log", "arguments": {"limit": 500}}), "watcher")
        through += [f"{told.title}: {harm}" for harm in await opened.canaries(told)]
    assert count >= at_least
    assert through == [], f"{len(through)} leaks in {count} probes:\n" + "\n".join(through)


@pytest.fixture
def pair_of_its_own(postgres_server: PostgresServer) -> Iterator[tuple[World, World]]:
    with worlds(postgres_server) as built:
        yield built


@pytest.mark.slow
@pytest.mark.asyncio
async def test_nothing_withheld_comes_through_views_that_policies_hold_inside_of(
    pair_of_its_own: tuple[World, World], postgres_server: PostgresServer, make_site: MakeSite
):
    """Each statement meets views in the place of the tables, whose columns the agent may all read."""
    roles = (*VARIANTS, *fix_leaks.OTHERS)
    async with fix_leaks.doors_with_views(pair_of_its_own, postgres_server, make_site, roles) as opened:
        count, through = await probed(opened, VARIANTS, len(fix_leaks.COLUMNS))
    assert count >= 2_000
    assert through == [], f"{len(through)} leaks in {count} probes:\n" + "\n".join(through)


@pytest.mark.asyncio
@pytest.mark.parametrize("format_", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
async def test_a_file_holds_the_masks_and_the_rows_that_are_allowed(
    pair: tuple[World, World], postgres_server: PostgresServer, make_site: MakeSite, format_: str
):
    attacks = [
        Attack(
            table, {"tool": "export", "arguments": {"sql": f"select * from {table} order by id", "name": table, "format": format_}}
        )
        for table in ("people", "many", "oddities", "docs", "events", "assets", "cards", "papers", "pay")
    ]
    async with doors(pair, postgres_server, make_site, roles=("exporter",)) as opened:
        for attack in attacks:
            await opened.replies(Probe(attack, "exporter"))
        files = [sorted(site.config.export_folder.iterdir()) for site in opened.sites]
        assert [len(found) for found in files] == [len(attacks)] * 2
        for one, other in zip(*files, strict=True):
            texts = (one.read_bytes().decode("latin-1"), other.read_bytes().decode("latin-1"))
            assert fix_leaks.leaks(pair, attacks[0], texts) == [], one.name


@pytest.mark.asyncio
async def test_a_cursor_ends_when_masks_and_rules_come_or_change(
    pair: tuple[World, World], postgres_server: PostgresServer, make_site: MakeSite
):
    """No page of what was begun under another policy."""
    before = fix_leaks.POLICY.replace('@mask("last:4")', '@mask("last:9")')
    before = before.replace('resource.region == "north"', 'resource.region == "south"')
    attacks = [
        Attack("masks", {"sql": "select id, phone from people order by id", "max_rows": 3}),
        Attack("rules", {"sql": "select id, body from docs order by id", "max_rows": 3}),
    ]
    async with doors(pair, postgres_server, make_site, before, roles=("one",)) as opened:
        begun = [await opened.raw(Probe(attack)) for attack in attacks]
        for site in opened.sites:
            (site.config.home.data.parent / "policies" / "own.cedar").write_text(fix_leaks.POLICY)
        async with reopened(opened) as again:
            for attack, first in zip(attacks, begun, strict=True):
                for world, handle in zip(pair, map(cursor_of, first), strict=True):
                    reply = await again.reply(world, Probe(Attack("the next page", {"cursor": handle})))
                    assert "rule: cursor" in reply
                    assert "policy" in reply
                    assert fix_attacks.leaked(reply, (w.canaries for w in pair), attack) == ""


PAGED = (
    "select * from people order by id",
    "select id, email from people order by email",
    "select id, salary from people order by salary desc",
    "select id, born from people order by born, id",
    "select id, bonus from people order by bonus nulls first",
    "select * from docs order by id",
    "select id, slug from docs order by slug",
    "select id, amount, title from docs order by amount desc, id",
    "select d.id, p.email from docs d join people p on p.id = d.person_id order by p.email, d.id",
    "select id, kind, score from bulk where id <= 60 order by kind, score, id",
    "select id, note from events order by note",
)


@pytest.mark.asyncio
async def test_pages_over_masks_and_rules_hold_each_row_once(
    pair: tuple[World, World], postgres_server: PostgresServer, make_site: MakeSite
):
    """A masked column is no key, whatever the table says of it, and a hidden row is no place to go on from."""
    async with doors(pair, postgres_server, make_site, roles=("six",)) as opened:
        for world in pair:
            for sql in PAGED:
                whole = read(await opened.reply(world, Probe(Attack("whole", {"sql": sql}), "six")))
                pages = await _pages(opened, world, sql)
                assert len(pages) > 1
                assert sorted(str(row) for page in pages for row in read(page).rows) == sorted(map(str, whole.rows)), sql
                found = fix_attacks.leaked("".join(pages), (w.canaries for w in pair), Attack("pages", {"sql": sql}))
                assert found == "", sql


async def _pages(opened: Doors, world: World, sql: str) -> list[str]:
    pages = [await opened.reply(world, Probe(Attack("a page", {"sql": sql, "max_rows": 5}), "six"))]
    while handle := cursor_of(pages[-1]):
        pages.append(await opened.reply(world, Probe(Attack("a page", {"cursor": handle}), "six")))
    return pages


@pytest.mark.slow
@pytest.mark.asyncio
async def test_every_statement_would_leak_without_masks_and_rules(pair: tuple[World, World], postgres_server: PostgresServer):
    """Otherwise the suite proves nothing: each is run bare, and must be seen to tell something.

    But for terms of cost and the key of hashes, which a bare session does not have.
    """
    told: dict[str, bool] = {}
    async with AsyncExitStack() as stack:
        bare = [await stack.enter_async_context(connected(postgres_server.dsn(database=world.database))) for world in pair]
        for probe in probes(pair[0], VARIANTS[:1], len(fix_leaks.COLUMNS)):
            attack = probe.attack
            if attack.sql is None or attack.toothless or attack.title.startswith(("costs: ", "hashes: the key")):
                continue
            form, _, _ = attack.title.partition(": {")
            replies = (await _bare(bare[0], attack.sql), await _bare(bare[1], attack.sql))
            told[form] = told.get(form, False) or bool(fix_leaks.leaks(pair, attack, replies))
    assert [form for form, tells in told.items() if not tells] == []
    assert len(told) >= 300


_REFUSALS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError, OSError)


async def _bare(connection: asyncpg.Connection, sql: str) -> str:
    try:
        return repr([tuple(row) for row in await connection.fetch(sql)])
    except _REFUSALS as error:
        return f"{error} {getattr(error, 'detail', '')}"
