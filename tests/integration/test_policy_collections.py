"""`ostiary policy explain` and `simulate` know the collections there are, and leave everything as it is."""

import json

import pytest
from fix_indexing import SOURCE, OpenDesk, asked

POLICY = """
@id("reads") permit (principal in Role::"reader", action, resource);
@id("guest-calls") permit (principal in Role::"guest", action == Action::"call", resource);
@id("guest-searches") permit (principal in Role::"guest", action == Action::"search", resource)
when { !resource.tags.contains("secret") };
"""
NO_DROPS = '@id("reads") permit (principal in Role::"reader", action, resource) unless { action == Action::"manage" };'
AGENT = '[agent]\nname = "ada"\nrole = "reader"\nroles = ["reader", "guest"]\n'


@pytest.mark.slow
@pytest.mark.asyncio
async def test_explain_says_why_a_collection_may_be_searched_and_hides_one_that_is_hidden(desk: OpenDesk):
    async with desk(policy=POLICY, agent=AGENT) as it:
        await it.collection("notes", None)
        await it.collection("rows", SOURCE)
        await it.collection("hidden", None, tags=("secret",))
        before = await it.site.records()

        def explained(name: str, role: str) -> tuple[bool, str]:
            arguments = json.dumps({"collection": name, "text": "a canary"})
            found = it.site.command("policy", "explain", "--role", role, "--tool", "search", "--arguments", arguments, "--json")
            told = json.loads(found.stdout)
            return told["allowed"], " ".join((*told["sentences"], *told["statements"]))

        open_, rows = explained("notes", "guest"), explained("rows", "reader")
        hidden, none = explained("hidden", "guest"), explained("hiddem", "guest")
        assert await it.site.records() == before
    assert open_[0]
    assert "rule `guest-searches`" in open_[1] or "`guest-searches`" in open_[1]
    assert rows[0]
    assert "public.notes WHERE id = ANY($1)" in rows[1]
    assert not hidden[0]
    assert hidden[1] == none[1].replace("hiddem", "hidden")


@pytest.mark.asyncio
async def test_simulate_puts_calls_about_collections_to_other_policies(desk: OpenDesk):
    async with desk(policy=POLICY, agent=AGENT) as it:
        await it.collection("notes", None)
        async with it.client() as ada:
            await asked(ada, "manage_collection", action="tune", name="notes")
        other = it.site.folder / "other"
        other.mkdir()
        (other / "own.cedar").write_text(NO_DROPS)
        found = json.loads(it.site.command("policy", "simulate", str(other), "--json").stdout)
        assert (await it.house.shelves.tuned(), found["not_replayed"]) == ([], {})
    assert [(one["tool"], one["change"], one["before"]["outcome"]) for one in found["changes"]] == [
        ("manage_collection", "loses", "permit")
    ]
