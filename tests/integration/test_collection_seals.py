"""Rows of collections that somebody else has written to: whoever may write to the control database makes nobody believe them."""

from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest
from fix_indexing import OWNER, SOURCE, Desk, OpenDesk, asked
from fix_waiting import until
from mcp import Client

from ostiary.app import open_house
from ostiary.following import Following
from ostiary.mcp_app import McpApp
from ostiary_tools.errors import Refused

FOLLOWS = replace(SOURCE, follows="every 10 s")
POLICY = """
@id("reads") permit (principal in Role::"reader", action, resource);
@id("guest-calls") permit (principal in Role::"guest", action == Action::"call", resource);
@id("guest-searches") permit (principal in Role::"guest", action == Action::"search", resource)
when { !resource.tags.contains("secret") };
"""
FORGERIES = {
    "owner": """body = jsonb_set(body, '{owner,agent}', '"root"')""",
    "roles": """body = jsonb_set(body, '{owner,roles}', '["reader", "admin"]')""",
    "statement": """body = jsonb_set(body, '{source,statement}', '"SELECT id, secret AS title, body FROM public.notes"')""",
    "template": """body = jsonb_set(body, '{source,template}', '"{year}"')""",
    "follows": """body = jsonb_set(body, '{source,follows}', '"every 11 s"')""",
    "store": """body = jsonb_set(body, '{store}', '"elsewhere"')""",
    "model": """body = jsonb_set(body, '{embedding,model}', '"another"')""",
    "tuning": """body = jsonb_set(body, '{tuning}', '{"target": 0.5, "recall": 1.0}')""",
    "tags": """body = jsonb_set(body, '{tags}', '["public"]')""",
    "more": """body = body || '{"unheard_of": 1}'""",
    "less": """body = body - 'created_at'""",
    "cut": """seal = substr(seal, 1, 31)""",
    "none": """seal = NULL, key = ''""",
    "empty": """seal = ''""",
    "swapped": """seal = (SELECT o.seal FROM collections.collection o WHERE o.name = 'whole')""",
    "alike": """(body, seal) = (SELECT o.body || jsonb_build_object('name', 'alike', 'id', t.id), o.seal
        FROM collections.collection o WHERE o.name = 'whole')""",
}
WORDS = "refused: collection `{}` was changed outside; nothing that its row says is believed\n"


async def forge(it: Desk, name: str, assignment: str) -> None:
    """As somebody may who writes to the control database."""
    statement = f"UPDATE collections.collection t SET {assignment} WHERE name = $1"
    await it.site.fetch(statement, name, role="ostiary_writer")


async def described(it: Desk, name: str, role: str = "reader") -> str:
    async with it.client(role) as client:
        return await asked(client, "manage_collection", action="describe", name=name)


async def _says(answer: Awaitable[str], beginning: str) -> bool:
    return (await answer).startswith(beginning)


@pytest.mark.asyncio
async def test_a_row_that_was_changed_outside_is_refused_recorded_and_never_used(desk: OpenDesk):
    async with desk(policy=POLICY) as it:
        whole = await it.collection("whole", FOLLOWS)
        forged = {name: await it.collection(name, FOLLOWS, created_at=None) for name in FORGERIES}
        for name, assignment in FORGERIES.items():
            await forge(it, name, assignment)
        async with open_house(it.site.config, lambda _: None) as house:
            following = Following(house.shelves, house.queue, house.datasources, house.gate, house.owners)
            assert await following.round() == 1
            assert [one.id for one, _ in await house.shelves.followed()] == [whole.id]
            async with Client(McpApp(house.gate, lambda _: OWNER).server) as ada:
                told = [await asked(ada, "manage_collection", action="describe", name=name) for name in FORGERIES]
                found = await asked(ada, "search", collection="statement", text="note")
                refreshed = await asked(ada, refresh=True, collection="roles")
                dropped = await asked(ada, "manage_collection", action="drop", name="owner")
                listed = await asked(ada, "manage_collection", action="list")
        assert [(name, text.startswith(WORDS.format(name))) for name, text in zip(FORGERIES, told, strict=True)] == [
            (name, True) for name in FORGERIES
        ]
        assert (found, refreshed, dropped) == (told[2], told[1], told[0])
        assert listed.count("nothing that is used: describe it") == len(FORGERIES)
        assert await it.store.count(forged["owner"]) == 0
        records = await it.site.records()
        jobs = await it.site.fetch("SELECT about FROM jobs.job", role="ostiary_writer")
    noted = {one["name"] for one in records if one.get("event") == "collection_refused"}
    assert noted == set(FORGERIES)
    assert [row["about"] for row in jobs] == [f"index {whole.id}"]


@pytest.mark.asyncio
async def test_a_row_that_somebody_else_says_is_being_dropped_keeps_what_it_has(desk: OpenDesk):
    async with desk() as it:
        kept = await it.collection("kept", None)
        async with it.client() as ada:
            await asked(ada, collection="kept", documents=[{"key": "a", "text": "one text"}])
        await forge(it, "kept", "state = 'dropping'")
        async with open_house(it.site.config, lambda _: None) as house:
            await house.shelves.finish()
        assert await it.store.count(kept) == 1
        records = await it.site.records()
    assert [one["name"] for one in records if one.get("event") == "collection_refused"] == ["kept"]


@pytest.mark.asyncio
async def test_the_name_of_a_row_that_is_not_sealed_is_free_for_a_new_collection(desk: OpenDesk):
    async with desk() as it:
        old = await it.collection("old", None)
        await forge(it, "old", "seal = NULL, key = ''")  # as it was before rows were sealed
        await until(lambda: _says(described(it, "old"), WORDS.format("old")))
        async with it.client() as ada:
            made = await asked(ada, "manage_collection", action="create", name="old")
            filled = await asked(ada, collection="old", documents=[{"key": "a", "text": "one text"}])
        rows = await it.site.fetch("SELECT id FROM collections.collection", role="ostiary_writer")
        assert await it.store.count(old) == 0
    assert made.startswith("created `old`")
    assert "1 added" in filled
    assert [row["id"] == old.id for row in rows] == [False]


@pytest.mark.asyncio
async def test_a_collection_of_another_key_is_not_used_and_keeps_its_name(desk: OpenDesk, tmp_path: Path):
    async with desk() as it:
        made = await it.collection("notes", FOLLOWS)
        key = it.site.config.home.state / "changes.key"
        key.rename(tmp_path / "first.key")
        async with open_house(it.site.config, lambda _: None) as other:
            async with Client(McpApp(other.gate, lambda _: OWNER).server) as ada:
                told = await asked(ada, "manage_collection", action="describe", name="notes")
                again = await asked(ada, "manage_collection", action="create", name="notes")
            assert await other.shelves.followed() == []
        (tmp_path / "first.key").rename(key)
        async with open_house(it.site.config, lambda _: None) as first:
            assert [one.id for one, _ in await first.shelves.followed()] == [made.id]
    assert told.startswith("refused: collection `notes` is sealed with another key than this server's, and is not used")
    assert again.startswith("refused: a collection cannot be created as `notes`: the name is taken")


@pytest.mark.asyncio
async def test_who_could_not_know_a_collection_is_not_told_that_its_row_was_changed(desk: OpenDesk):
    async with desk(policy=POLICY) as it:
        for name, tags in (("open", ()), ("hidden", ("secret",))):
            await it.collection(name, None, tags=tags)
            await forge(it, name, """body = jsonb_set(body, '{owner,agent}', '"root"')""")
        await until(lambda: _says(described(it, "open", "guest"), WORDS.format("open")))
        hidden, none = [await described(it, name, "guest") for name in ("hidden", "hiddem")]
    assert hidden == none.replace("hiddem", "hidden")


@pytest.mark.asyncio
async def test_a_collection_that_was_changed_meanwhile_is_not_dropped_where_it_was(desk: OpenDesk):
    async with desk() as it:
        one = await it.collection("notes", None)
        shelves = it.house.shelves
        await shelves.change(replace(one, tags=("a",)), one)
        with pytest.raises(Refused, match="changed by somebody else"):
            await shelves.drop(one)
        assert await it.store.count(one) == 0
        await shelves.drop(replace(one, tags=("a",)))
