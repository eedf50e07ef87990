"""Pages of a long result: together they are the whole result, whatever happens between them, and each is a call of its own."""

import asyncio

import pytest
from fix_pages import SHIFTS, OpenLibrary, all_pages, asked, cursor_of, lines

from ostiary.app import open_house

BY_KEY = {
    "one key": "select * from orders order by id",
    "descending": "select id, name from people order by id desc",
    "by another column first": "select id, name from people order by name, id",
    "mixed directions": "select name, id from people order by name desc, id",
    "mixed directions of three": "select born, grp, id from people order by grp desc nulls last, born, id desc",
    "nulls first": "select grp, id from people order by grp nulls first, id",
    "nulls last, descending": "select grp, id from people order by grp desc nulls last, id desc",
    "by place": "select name, id from people order by 1, 2 desc",
    "by output name": "select id as n, name from people order by n",
    "an output named like a place of ours": "select name as c2, id as c1, grp as page from people order by c1",
    "a table named like ours": "select page.id, page.page from people page order by page.id",
    "composite key": "select sku, line, order_id from items order by order_id desc, line",
    "part of the key is fixed": "select line, sku, order_id from items where line = 2 order by order_id",
    "filter and parameter": "select id, name from people where id % 3 = 0 order by name, id",
    "window function": "select id, row_number() over (order by name, id) from people order by id",
    "scalar subquery": "select id, (select count(*) from orders o where o.person_id = p.id) as n from people p order by id",
    "key-preserving join": "select o.id, p.name from orders o join people p on p.id = o.person_id order by o.id",
    "outer join": "select o.id, p.name from orders o left join people p on p.id = o.person_id order by o.id",
    "outer join, sorted by the optional": (
        "select p.id, o.id as order_id from people p left join orders o on o.person_id = p.id"
        " where p.id < 400 order by p.id, o.id desc"
    ),
    "join, both keys sorted by": "select i.line, o.id from orders o join items i on i.order_id = o.id order by o.id, i.line",
    "join by using": "select o.id, p.name from orders o join people p using (id) order by o.id",
    "with": "with t as (select 1) select id from people order by id",
    "partitioned": "select area, id from parts order by id, area desc",
    "times": "select * from odd order by a",
    "duplicate names": "select id, id, name as id from people order by people.id",
}
BY_POSITION = {
    "no order": "select id from people",
    "an order without a key": "select name from people order by name",
    "the key is not shown": "select name from people order by id",
    "the key may be null": "select person_id, note from orders order by person_id, note",
    "grouped": "select id, count(*) from people group by id order by id",
    "distinct": "select distinct id, name from people order by id",
    "limit": "select id from people order by id limit 700",
    "offset": "select id from people order by id offset 400",
    "a function of many rows": "select id, generate_series(1, 2) from orders order by id",
    "a join that multiplies": "select o.id from orders o join items i on i.order_id = o.id where o.id < 150 order by o.id",
    "a cross join": "select o.id from orders o, items i where o.id < 2 order by o.id",
    "union": "select id from people union all select id from people order by id",
    "values": "values " + ", ".join(f"({n})" for n in range(500)),
    "a subselect": "select id from (select id from people) p order by id",
    "a with query": "with people as (select id from people union all select id from people) select id from people order by id",
    "inheritance": "select id from parent order by id",
    "an expression": "select id from people order by id + 0",
    "a function in FROM": "select n from generate_series(1, 400) n order by n",
    "duplicate names": "select id, id from people",
    "table": "table orders",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("by_key", [True, False])
async def test_the_pages_of_a_result_are_the_whole_result(library: OpenLibrary, *, by_key: bool):
    """Each line as PostgreSQL writes it for the same statement, none twice and none missing."""
    wrong = []
    async with library(limits={"rows": 150}) as opened, opened.client() as client:
        for title, sql in (BY_KEY if by_key else BY_POSITION).items():
            replies = await all_pages(client, sql=sql)
            if [line for reply in replies for line in lines(reply)] != await opened.csv(sql):
                wrong.append(f"{title}: other rows")
            if {SHIFTS in reply for reply in replies[:-1]} != {not by_key}:
                wrong.append(f"{title}: found otherwise")
    assert wrong == []


@pytest.mark.asyncio
@pytest.mark.parametrize("order", ["at desc, id", "at desc, id + 0"])
async def test_ten_thousand_rows_come_in_pages_of_the_default_size(library: OpenLibrary, order: str):
    """By key, and by position where the order is of expressions."""
    sql = f"select id, at, kind from events order by {order}"
    async with library() as opened, opened.client() as client:
        replies = await all_pages(client, sql=sql)
        assert [line for reply in replies for line in lines(reply)] == await opened.csv(sql)
        assert len(replies) == 50
        assert (SHIFTS in replies[0]) is ("+" in order)
        assert max(map(len, replies)) <= 16_000
        recorded = [r for r in await opened.site.records() if r["kind"] == "i"]
    assert [(r["tool"], r["decision"]) for r in recorded] == [("query", "permit")] * 50
    assert len({r["fingerprint"] for r in recorded}) == 2, "the first page, and all that follow"
    assert not any(str(cursor_of(reply)) in str(recorded) for reply in replies[:-1])


@pytest.mark.asyncio
async def test_rows_that_come_and_go_elsewhere_neither_repeat_nor_hide_one_by_key(library: OpenLibrary):
    sql = "select name, id from people order by name desc, id"
    async with library(limits={"rows": 90}) as opened, opened.client() as client, opened.admin() as admin:
        before = await opened.csv(sql)
        seen: list[str] = []
        reply = await asked(client, sql=sql)
        for n in range(100):
            seen += lines(reply)
            # Behind and ahead of every page: rows that were given, rows that were not, and new ones among both.
            await admin.execute(
                f"DELETE FROM people WHERE id IN ({n * 7 + 1}, {880 - n * 3}); INSERT INTO people(id, name) VALUES"
                f" ({2000 + n}, 'n{n % 50}'), ({3000 + n}, 'zz{n}'), ({4000 + n}, 'a{n}')"
            )
            if not (handle := cursor_of(reply)):
                break
            reply = await asked(client, cursor=handle)
        after = await opened.csv(sql)
    assert len(seen) == len(set(seen))
    stayed = [line for line in before if line in set(after)]
    assert [line for line in seen if line in set(stayed)] == stayed


@pytest.mark.asyncio
async def test_a_cursor_given_twice_gives_the_same_page_and_each_is_recorded(library: OpenLibrary):
    async with library() as opened, opened.client() as client:
        handle = cursor_of(await asked(client, sql="select id from people order by id", max_rows=100))
        first, second = await asyncio.gather(asked(client, cursor=handle), asked(client, cursor=handle))
        assert lines(first) == lines(second) == [str(n) for n in range(101, 201)]
        assert cursor_of(first) != cursor_of(second)
        third = await asked(client, cursor=cursor_of(first), max_rows=3)
        assert lines(third) == ["201", "202", "203"]
        assert lines(await asked(client, cursor=cursor_of(third))) == ["204", "205", "206"]
        kept = [r for r in await opened.site.records() if r["kind"] == "i"]
    assert [r["arguments"].get("cursor") for r in kept] == [None] + ["<24 chars>"] * 4


@pytest.mark.asyncio
async def test_a_result_that_is_whole_has_no_cursor_and_neither_has_a_plan(library: OpenLibrary):
    async with library() as opened, opened.client() as client:
        for sql in ("select id from people where id <= 200", "explain select 1", "select 1"):
            assert cursor_of(await asked(client, sql=sql)) is None
        assert cursor_of(await asked(client, sql="explain select id from people where id = 1 or id = 2", max_rows=1)) is None
        assert await opened.site.fetch("SELECT 1 FROM cursors.cursor", role="ostiary_writer") == []


@pytest.mark.asyncio
async def test_two_servers_of_one_control_database_serve_each_others_cursors(library: OpenLibrary):
    async with (
        library() as opened,
        open_house(opened.site.config, lambda _: None) as other,
        opened.client() as client,
        opened.client(house=other) as second,
    ):
        handle = cursor_of(await asked(client, sql="select id from people order by id"))
        assert lines(await asked(second, cursor=handle))[0] == "201"


@pytest.mark.asyncio
async def test_a_reply_cut_by_its_length_goes_on_behind_the_last_row_that_was_shown(library: OpenLibrary):
    sql = "select id, repeat('long', 40) as text, note from orders order by id"
    async with library(limits={"reply_chars": 4000}) as opened, opened.client() as client:
        replies = await all_pages(client, sql=sql)
        assert [line for reply in replies for line in lines(reply)] == await opened.csv(sql)
        assert max(map(len, replies)) <= 4000


@pytest.mark.asyncio
async def test_a_key_too_long_to_be_kept_whole_is_counted_off(library: OpenLibrary):
    async with library() as opened, opened.client() as client, opened.admin() as admin:
        await admin.execute(
            "CREATE TABLE long (k text PRIMARY KEY, n int);"
            "INSERT INTO long SELECT repeat('k', 9000) || n, n FROM generate_series(101, 105) n"
        )
        await opened.house.datasources["shop"].refresh()
        replies = await all_pages(client, sql="select k, n from long order by k", max_rows=1)
        assert [lines(reply)[0].rpartition(",")[2] for reply in replies] == ["101", "102", "103", "104", "105"]
        assert SHIFTS in replies[0]


@pytest.mark.asyncio
async def test_when_no_row_fits_there_is_no_cursor_that_would_never_move_on(library: OpenLibrary):
    wide = ", ".join(f"repeat('x', 60) as c{n}" for n in range(300))
    async with library() as opened, opened.client() as client:
        reply = await asked(client, sql=f"select {wide} from people")
    assert "not one row fits" in reply
    assert cursor_of(reply) is None


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["DROP SCHEMA cursors CASCADE", "REVOKE INSERT ON cursors.cursor FROM ostiary_writer"])
async def test_a_page_is_given_without_a_cursor_when_none_can_be_kept_and_says_so(library: OpenLibrary, fault: str):
    """The first is a control database of an earlier version."""
    async with library() as opened, opened.client() as client:
        await opened.site.fetch(fault, role="ostiary_admin")
        reply = await asked(client, sql="select id from people order by id")
        assert len(lines(reply)) == 200
        assert reply.endswith(
            "no cursor could be kept for the next page: run it again later or in a shorter form, or filter and aggregate"
        )
        site = opened.site
    assert [r["status"] for r in await site.records() if r["kind"] == "o"] == ["ok"]


@pytest.mark.asyncio
async def test_values_too_long_to_be_kept_have_no_cursor(library: OpenLibrary):
    async with library() as opened, opened.client() as client:
        for length, kept in ((100_000, True), (600_000, False)):
            reply = await asked(client, sql="select id from people where name <> $1 order by id", params=["x" * length])
            assert bool(cursor_of(reply)) is kept
            assert len(lines(reply)) == 200


@pytest.mark.asyncio
async def test_a_key_that_compares_otherwise_than_its_column_is_none(library: OpenLibrary):
    """By a collation without regard to case, rows could be equal in the order and differ in the key."""
    async with library() as opened, opened.client() as client, opened.admin() as admin:
        await admin.execute(
            "CREATE TABLE words (w text NOT NULL, n int);"
            'CREATE UNIQUE INDEX ON words (w COLLATE "C") INCLUDE (n);'
            "INSERT INTO words SELECT 'w' || n, n FROM generate_series(100, 109) n"
        )
        await opened.house.datasources["shop"].refresh()
        assert SHIFTS in await asked(client, sql="select w, n from words order by w", max_rows=1)


@pytest.mark.asyncio
async def test_a_session_that_ended_while_idle_costs_no_cursor(library: OpenLibrary):
    async with library() as opened, opened.client() as client:
        handle = cursor_of(await asked(client, sql="select id from people order by id"))
        ended = await opened.site.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'ostiary cursors'"
            " AND datname = current_database()",
            role="ostiary_admin",
        )
        assert len(ended) == 1
        reply = await asked(client, cursor=handle)
    assert lines(reply)[0] == "201"
    assert cursor_of(reply)
