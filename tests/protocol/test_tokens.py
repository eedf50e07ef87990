"""Tokens made on the command line, shown to a real server over HTTP, and taken back."""

import json
from typing import Any

import pytest
from fix_agents import http_client
from fix_http import ostiary, serving
from fix_waiting import until
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from ostiary.config import Config
from ostiary.identity.caller import NotRecognised
from ostiary.identity.tokens import digest, new_token


def test_a_mistyped_token_is_told_without_asking_anybody():
    token = new_token()
    assert len(digest(token)) == 32
    other = "a" if token[20] != "a" else "b"
    for wrong in (token[:20] + other + token[21:], token[:-1], token + "a", token.upper(), "ostiary_", "ostiary_é"):
        with pytest.raises(NotRecognised):
            digest(wrong)


@pytest.mark.asyncio
async def test_a_token_works_until_it_is_revoked_and_all_of_it_is_on_record(ostiary_config: Config):
    token = await ostiary(ostiary_config, "tokens", "create", "nightly", "--role", "analyst")
    tokens = {"OSTIARY_HTTP__AUTHENTICATION": "tokens", "OSTIARY_TOKENS__CACHE_S": "0"}
    tokens |= {"OSTIARY_ATTRIBUTES__REGION__TYPE": "text", "OSTIARY_ATTRIBUTES__REGION__AGENTS__NIGHTLY": "canary-region"}
    async with (
        serving(ostiary_config, **tokens) as (url, _),
        http_client(headers={"Authorization": f"Bearer {token}"}) as http,
    ):
        async with Client(streamable_http_client(url, http_client=http)) as client:
            reply = await client.call_tool("whoami", {})
        wrong = await http.post(url, json={}, headers={"Authorization": f"Bearer {new_token()}"})
        without = await http.post(url, json={}, headers={"Authorization": ""})
        [listed] = await used(ostiary_config, "nightly")
        await ostiary(ostiary_config, "tokens", "revoke", listed["id"])
        revoked = await http.post(url, json={})
    events = json.loads(await ostiary(ostiary_config, "audit", "show", "--kind", "event", "--json"))
    calls = json.loads(await ostiary(ostiary_config, "audit", "show", "--agent", "nightly", "--json"))

    said = reply.content[0].text  # type: ignore[union-attr]  # our replies are text
    assert said.startswith("agent: nightly\nroles: analyst\nattributes: region\n")
    assert (wrong.status_code, without.status_code, revoked.status_code) == (401, 401, 401)
    assert (listed["roles"], listed["valid"], listed["used_on"] is not None) == (["analyst"], True, True)
    named = {event["event"] for event in events if event.get("token") == listed["id"]}
    assert named == {"token_created", "token_revoked"}
    assert calls
    denials = json.loads(await ostiary(ostiary_config, "audit", "show", "--kind", "denial", "--json"))
    refused = [row["arguments"] for row in denials if row["origin"] == "credential"]
    assert {"127.0.0.1"} == {arguments["address"] for arguments in refused}
    assert listed["id"] in {arguments.get("token") for arguments in refused}
    kept = everything(ostiary_config, events, calls)
    assert token.encode() not in kept
    assert b"canary-region" not in kept


async def used(config: Config, agent: str) -> list[Any]:
    """The tokens of an agent, once their use is written down."""
    listed: list[Any] = []

    async def written() -> bool:
        rows = json.loads(await ostiary(config, "tokens", "list", "--json"))
        listed[:] = [row for row in rows if row["agent"] == agent]
        return all(row["used_on"] for row in listed)

    await until(written, seconds=60)
    return listed


def everything(config: Config, *records: Any) -> bytes:
    """What is kept: records, anchors, keys, and every file of the database."""
    folders = (config.home.data, config.home.state)
    files = [path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()]
    return b"".join([json.dumps(records).encode(), *files])


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_token_of_a_role_nobody_configured_is_not_made(ostiary_config: Config):
    await ostiary(ostiary_config, "tokens", "create", "nightly", "--role", "root", expected=2)
    await ostiary(ostiary_config, "tokens", "create", "Night ly", "--role", "analyst", expected=2)
    await ostiary(ostiary_config, "tokens", "revoke", "nobody22", expected=1)
