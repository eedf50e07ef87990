"""Rows are followed on behalf of who the owner is today, and not of who he was when he made the collection."""

from dataclasses import replace

import pytest
from fix_indexing import OWNER, SOURCE, OpenDesk
from fix_postgres import ADMIN

from ostiary.app import House
from ostiary.following import Following
from ostiary.identity.tokens import new_id
from ostiary.owners import NotEntitled
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.model import Principal
from ostiary_tools.control.tokens import TokenTable

FOLLOWS = replace(SOURCE, follows="every 10 s")
NOBODY = "the collection's owner is not configured any more"
LOST = "the collection's owner does not have the roles any more that it was made in"
LACKS = "the collection's owner does not have the attributes any more that it was made with"
EU, US = ((attribute("region", AttributeType.TEXT, word),) for word in ("eu", "us"))
SOMEBODY = '[agent]\nname = "bob"\nrole = "reader"\nroles = ["reader", "keeper"]\n'


async def today(house: House, owner: Principal = OWNER) -> Principal | str:
    try:
        return await house.owners.today(owner)
    except NotEntitled as error:
        return str(error)


@pytest.mark.asyncio
async def test_a_collection_of_who_lost_its_role_follows_nothing_and_that_is_on_record(desk: OpenDesk):
    async with desk(agent='[agent]\nname = "ada"\nrole = "keeper"\nroles = ["keeper"]\n') as it:
        await it.collection(source=FOLLOWS)
        following = Following(it.house.shelves, it.house.queue, it.house.datasources, it.house.gate, it.house.owners)
        for _ in range(2):
            assert await following.round() == 1
        jobs = await it.site.fetch("SELECT id FROM jobs.job", role="ostiary_writer")
        records = [one for one in await it.site.records() if one.get("origin") == "follow"]
    assert jobs == []
    assert [(one["decision"], one["agent"], one["reason"]) for one in records] == [("refused", "ada", LOST)]


@pytest.mark.asyncio
async def test_the_configured_agent_owns_in_each_role_it_may_choose_with_todays_attributes(desk: OpenDesk):
    more = '[attributes.region]\ntype = "text"\nagents = { ada = "us" }\n'
    async with desk(more=more) as it:
        assert await today(it.house) == replace(OWNER, attributes=US)
        assert await today(it.house, replace(OWNER, attributes=EU)) == replace(OWNER, attributes=US)
        other = (attribute("team", AttributeType.TEXT, "red"),)
        assert await today(it.house, replace(OWNER, attributes=other)) == LACKS
        assert await today(it.house, Principal("ada", ("keeper",))) == LOST
        assert await today(it.house, Principal("ada", ("keeper", "reader"))) == LOST
        assert await today(it.house, Principal("eve", ("reader",))) == NOBODY


@pytest.mark.asyncio
async def test_a_token_makes_an_owner_as_long_as_it_is_valid_and_its_roles_are_configured(desk: OpenDesk):
    async with desk(agent=SOMEBODY, more='[http]\nauthentication = ["tokens"]\n') as it:
        assert await today(it.house) == NOBODY
        table = TokenTable(it.site.server.dsn(ADMIN, it.site.control))
        one, two = new_id(), new_id()
        await table.add(one, b"1" * 32, "ada", ("keeper", "old", "reader"), 1)
        assert await today(it.house) == Principal("ada", ("keeper", "reader"))
        assert await today(it.house, Principal("ada", ("old",))) == LOST
        await table.add(two, b"2" * 32, "ada", ("reader",), 1)
        assert await today(it.house) == OWNER
        for id_ in (one, two):
            await table.revoke(id_)
        assert await today(it.house) == NOBODY
        await table.close()


@pytest.mark.asyncio
async def test_a_certificate_makes_an_owner_where_a_proxy_is_asked(desk: OpenDesk):
    held = '[certificates.ada]\nsubject = "CN=ada"\nroles = ["keeper", "reader"]\n'
    proxy = '[http]\nauthentication = ["proxy"]\n[proxy]\naddresses = ["127.0.0.1"]\n'
    async with desk(agent=SOMEBODY, more=proxy + held) as it:
        assert await today(it.house) == Principal("ada", ("keeper", "reader"))
        assert await today(it.house, Principal("ada", ("admin",))) == LOST


@pytest.mark.asyncio
async def test_who_comes_by_a_provider_owns_in_the_roles_that_are_written_down(desk: OpenDesk):
    oauth = (
        '[http]\nauthentication = ["oauth"]\n[oauth]\nissuer = "https://login.example.com"\n'
        'resource = "https://db.example.com"\nroles = { data = ["reader"] }\n'
    )
    async with desk(agent=SOMEBODY, more=f'{oauth}[jobs]\nowners = {{ ada = ["reader"] }}\n') as it:
        assert await today(it.house) == OWNER
        assert await today(it.house, Principal("ada", ("keeper",))) == LOST
        assert await today(it.house, Principal("eve", ("reader",))) == NOBODY
