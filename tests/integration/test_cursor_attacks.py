"""Cursors as an attacker would use them: stolen, forged, replayed, read in the database, moved to another row."""

import secrets
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from fix_audit import AuditLog
from fix_pages import READERS, Library, OpenLibrary, asked, cursor_of, lines
from fix_server import HIDES, READS_ALL

from ostiary.app import House, open_house
from ostiary.call import Call
from ostiary.errors import CallFailed
from ostiary_policies.model import Principal

UNKNOWN = "refused: unknown cursor, or one that has ended\nrule: cursor\nhint: run the statement again"
SQL = "select id, name from people where name <> 'hush-7Q' order by id"


async def _stolen(opened: Library, house: House | None = None, **arguments: Any) -> str:
    """A handle of agent `ada`, in role `reader`."""
    async with opened.client(house=house) as client:
        handle = cursor_of(await asked(client, sql=SQL, **arguments))
    assert handle
    return handle


@pytest.mark.asyncio
async def test_a_handle_of_another_agent_is_answered_as_one_that_does_not_exist(library: OpenLibrary):
    async with library() as opened:
        handle = await _stolen(opened)
        for role in ("reader", "other"):
            async with opened.client(role, "eve") as thief:
                assert await asked(thief, cursor=handle) == UNKNOWN
        async with opened.client() as owner:
            assert lines(await asked(owner, cursor=handle))[0].startswith("201,")


FORGED: dict[str, Callable[[str], str]] = {
    "well formed": lambda _: "A" * 24,
    "guessed": lambda _: secrets.token_urlsafe(18),
    "one letter off": lambda h: h[:-1] + ("A" if h[-1] != "A" else "B"),
    "other case": str.swapcase,
    "too long": lambda h: h + "A",
    "a line end behind": lambda h: h + "\n",
    "a blank before": lambda h: " " + h,
    "too short": lambda h: h[:23],
    "endless": lambda h: h * 1000,
    "a tautology": lambda _: "' OR '1'='1",
    "a statement": lambda _: "select token from vault; --",
    "a statement behind": lambda h: f"{h}'; DROP TABLE cursors.cursor; --",
    "NUL": lambda _: "\x00" * 24,
    "no ASCII": lambda _: "é" * 24,
    "a path": lambda _: "../../../../etc/passwd/./",
}


@pytest.mark.asyncio
async def test_what_is_no_handle_is_unknown_in_the_same_words(library: OpenLibrary):
    told = {}
    async with library() as opened:
        handle = await _stolen(opened)
        for title, forge in FORGED.items():
            # Not through the client, whose transport would not carry all of these.
            with pytest.raises(CallFailed) as refused:
                await opened.house.gate.call(Principal("ada", ("reader",)), Call("query", {"cursor": forge(handle)}))
            told[title] = refused.value.text()
        assert len(await opened.site.fetch("SELECT 1 FROM cursors.cursor", role="ostiary_writer")) == 1
    assert told == dict.fromkeys(FORGED, UNKNOWN)


@pytest.mark.asyncio
async def test_a_cursor_ends_with_the_roles_it_was_given_to(library: OpenLibrary):
    async with library() as opened:
        handle = await _stolen(opened)
        async with opened.client("other") as client:
            assert "this cursor has ended: your roles have changed since" in await asked(client, cursor=handle)


@pytest.mark.asyncio
async def test_a_cursor_ends_with_the_policy_and_does_not_return_with_another(library: OpenLibrary):
    """Replay after a change: the new policy forbids what the page would read; the one of before is no excuse."""
    async with library() as opened:
        handle = await _stolen(opened)
        own = opened.site.folder / "policies" / "own.cedar"
        before = own.read_text()
        own.write_text(
            before + '@id("no-names") forbid (principal, action == Action::"read", resource is Column)'
            ' when { resource == Column::"shop.public.people.name" };'
        )
        async with open_house(opened.site.config, lambda _: None) as changed, opened.client(house=changed) as client:
            answer = await asked(client, cursor=handle)
            assert "this cursor has ended: the policy has changed since" in answer
            assert "unknown column `name`" in await asked(client, sql=SQL)


@pytest.mark.asyncio
async def test_a_cursor_ends_with_the_schema(library: OpenLibrary):
    changes = ("ALTER TABLE people DROP CONSTRAINT people_pkey", "ALTER TABLE people DROP COLUMN born", "DROP TABLE orders")
    async with library() as opened, opened.client() as client, opened.admin() as admin:
        for ddl in changes:
            handle = await _stolen(opened)
            await admin.execute(ddl)
            await opened.house.datasources["shop"].refresh()
            assert "this cursor has ended: the schema has changed since" in await asked(client, cursor=handle)


@pytest.mark.asyncio
async def test_a_column_dropped_within_the_life_of_a_snapshot_is_an_error_and_no_row(library: OpenLibrary):
    async with library() as opened:
        handle = await _stolen(opened)
        async with opened.admin() as admin:
            await admin.execute("ALTER TABLE people DROP COLUMN name")
        async with opened.client() as client:
            assert (await asked(client, cursor=handle)).startswith("database_error:")


@pytest.mark.asyncio
async def test_a_cursor_ends_in_time_and_goes_when_others_come(library: OpenLibrary):
    async with library(limits={"cursor_s": 900}) as opened:
        handle = await _stolen(opened)
        await _as_owner(opened, "UPDATE cursors.cursor SET expires_at = now() - interval '1 second'")
        async with opened.client() as client:
            assert "this cursor has ended: it was good for 900 s" in await asked(client, cursor=handle)
        async with opened.client("reader", "eve") as thief:
            assert await asked(thief, cursor=handle) == UNKNOWN
        await _as_owner(opened, "UPDATE cursors.cursor SET expires_at = now() - interval '2 hours'")
        async with open_house(opened.site.config, lambda _: None) as other:
            await _stolen(opened, other)
        assert len(await opened.site.fetch("SELECT 1 FROM cursors.cursor", role="ostiary_writer")) == 1
        async with opened.client() as client:
            assert await asked(client, cursor=handle) == UNKNOWN


@pytest.mark.asyncio
async def test_a_cursor_takes_no_other_statement_along(library: OpenLibrary):
    along: tuple[dict[str, Any], ...] = ({"sql": "select token from vault"}, {"params": [1]}, {"datasource": "shop"})
    async with library() as opened:
        handle = await _stolen(opened)
        async with opened.client() as client:
            for more in along:
                assert "a cursor knows its statement" in await asked(client, cursor=handle, **more)


@pytest.mark.asyncio
async def test_the_database_holds_no_value_no_text_and_no_handle(library: OpenLibrary):
    """Parameters, literals and the last row's key are values; whoever reads the table, or a dump of it, learns none."""
    async with library() as opened:
        async with opened.client() as client:
            reply = await asked(client, sql=SQL.replace("order", "and name <> $1 order"), params=["hush-9Z"])
            handle = cursor_of(reply)
        assert handle
        [row] = await opened.site.fetch("SELECT *, c::text AS text FROM cursors.cursor c", role="ostiary_writer")
        for hushed in (b"hush", b"people", handle.encode(), b'"200"'):
            assert hushed not in bytes(row["body"])
            assert hushed.decode() not in row["text"]


@pytest.mark.asyncio
async def test_a_body_moved_to_another_row_or_changed_does_not_open(library: OpenLibrary):
    async with library() as opened:
        mine, other = await _stolen(opened), await _stolen(opened, max_rows=7)
        await _as_owner(opened, "UPDATE cursors.cursor c SET body = o.body FROM cursors.cursor o WHERE o.id <> c.id")
        async with opened.client() as client:
            assert [await asked(client, cursor=handle) for handle in (mine, other)] == [UNKNOWN] * 2
        third = await _stolen(opened)
        await _as_owner(opened, "UPDATE cursors.cursor SET agent = 'eve'")
        async with opened.client("reader", "eve") as thief:
            assert await asked(thief, cursor=third) == UNKNOWN


BEYOND = (
    "SELECT body FROM cursors.cursor",
    "UPDATE cursors.cursor SET agent = 'eve'",
    "TRUNCATE cursors.cursor",
    "ALTER TABLE cursors.cursor ADD COLUMN x int",
    "CREATE TABLE cursors.other (x int)",
    "CREATE TRIGGER t BEFORE INSERT ON cursors.cursor EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "SET ROLE ostiary_cursors",
)


@pytest.mark.asyncio
async def test_the_roles_of_the_service_may_do_no_more_than_they_need(audit_log: AuditLog):
    for role in ("ostiary_reader", "ostiary_writer"):
        for statement in BEYOND[role == "ostiary_writer" :]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await audit_log.fetch(statement, role=role)


@pytest.mark.asyncio
async def test_a_page_is_decided_anew_and_hides_what_is_hidden(library: OpenLibrary):
    """The terms of the policy hold for each page."""
    policy = (
        READS_ALL
        + READERS
        + HIDES
        + '@id("few") @limit_rows("50") permit (principal in Role::"reader", action == Action::"call", resource);'
    )
    async with library(policy=policy) as opened, opened.client() as client:
        reply = await asked(client, sql="select * from people order by id")
        second = await asked(client, cursor=cursor_of(reply))
        assert len(lines(second)) == 50
        assert "canary" not in reply + second
        assert "refused" in await asked(client, sql="select secret from people")


async def _as_owner(opened: Library, statement: str) -> None:
    await opened.site.fetch(statement, role="ostiary_admin")
