"""What operators and their machines ask of a server over HTTP."""

from io import BytesIO
from pathlib import Path

import httpx2
import pytest
from fix_agents import http_client
from fix_custody import begin
from fix_http import samples, serving
from fix_identity import AUDIENCE, providing
from fix_waiting import until
from mcp import Client, MCPError

from ostiary.config import Config
from ostiary.config.backup import Backup
from ostiary.vault import open_vault
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Made


@pytest.mark.asyncio
async def test_the_metrics_count_calls_by_tool_and_how_they_ended(ostiary_config: Config):
    async with serving(ostiary_config) as (url, _), http_client(base_url=url.removesuffix("/mcp")) as http:
        async with Client(url, mode="2026-07-28") as client:
            await client.call_tool("query", {"sql": "select 1"})
            await client.call_tool("query", {"sql": "delete from orders"})
            await client.call_tool("query", {"sql": "select 1 / 0"})
            await client.call_tool("query", {"sequel": "select 1"})
            with pytest.raises(MCPError):
                await client.call_tool("drop_everything_hostile", {})
        answer = await http.get("/metrics")
        found = samples(answer.text)

    assert answer.status_code == 200
    assert {key[1:]: n for key, n in found.items() if key[0] == "ostiary_calls_total"} == {
        ("ok", "query"): 1,
        ("refused", "query"): 1,
        ("database_error", "query"): 1,
        ("invalid_arguments", "query"): 1,
        ("unknown", "unknown"): 1,
    }
    assert {key[1]: n for key, n in found.items() if key[0] == "ostiary_call_stage_seconds_count"} == {
        "admit": 5,
        "record": 2,
        "run": 2,
        "whole": 5,
    }
    assert found["ostiary_calls_in_flight",] == 0
    assert found["ostiary_audit_recording",] == 1
    assert found["ostiary_datasource_healthy", "shop"] == 1
    assert found["ostiary_audit_records_total",] >= 5
    assert not [key for key in found if key[0] == "ostiary_jobs"]


@pytest.mark.asyncio
async def test_who_asks_from_this_machine_is_told_how_the_server_does(ostiary_config: Config):
    async with serving(ostiary_config) as (url, _), http_client(base_url=url.removesuffix("/mcp")) as http:
        alive = await http.get("/healthz")
        await until(lambda: _is_ready(http))
        ready = await http.get("/readyz")
        forwarded = {name: await _asked_for_another(http, name) for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")}

    assert (alive.status_code, alive.text) == (200, "alive\n")
    assert (ready.status_code, ready.text) == (200, "ready\n")
    assert forwarded == dict.fromkeys(forwarded, (403, "ready\n"))


@pytest.mark.asyncio
async def test_backups_that_no_drill_has_passed_are_told_to_operators_alone(ostiary_config: Config, tmp_path: Path):
    config = ostiary_config.model_copy(update={"backup": Backup(repository=tmp_path / "backups")})
    vault = open_vault(config, None)
    begin(vault)
    async with making(vault.repository(), Kind.LOGICAL, "shop", "a job") as begun:
        member = await begun.put("database.dump", Content.DATABASE, BytesIO(b"a dump"), lambda _: None)
        await begun.commit(Made("18.6", (member,), None))
    where = {"OSTIARY_BACKUP__REPOSITORY": str(vault.folder)}
    async with serving(config, **where) as (url, _), http_client(base_url=url.removesuffix("/mcp")) as http:
        await until(lambda: _is_ready(http))
        told = (await http.get("/readyz")).text
        stranger = (await _asked_for_another(http, "Via"))[1]

    assert told.splitlines() == [
        "ready",
        "backups: the newest one of `shop` is unproven; see `ostiary drill shop`",
        "backups: there is no backup of the control database yet; make one with `ostiary backup create control`",
    ]
    assert stranger == "ready\n"


async def _is_ready(http: httpx2.AsyncClient) -> bool:
    return (await http.get("/readyz")).status_code == 200


async def _asked_for_another(http: httpx2.AsyncClient, header: str) -> tuple[int, str]:
    """A proxy on this machine asks for whoever asked it; the header's value is the asker's to forge."""
    given = {header: "127.0.0.1"}
    return (await http.get("/metrics", headers=given)).status_code, (await http.get("/readyz", headers=given)).text


_ASKING = """
[http]
authentication = ["oauth"]
[oauth]
issuer = "{issuer}"
resource = "{audience}"
[oauth.roles]
readers = ["analyst"]
watchers = ["operator"]
[datasources.away]
dsn = "postgresql://nobody@127.0.0.1:1/away"
"""


@pytest.mark.asyncio
async def test_only_callers_of_a_role_for_it_are_told_what_is_wrong(ostiary_config: Config, tmp_path: Path):
    async with providing() as provider:
        file = tmp_path / "ostiary.toml"
        file.write_text(_ASKING.format(issuer=provider.url, audience=AUDIENCE))
        tokens = {
            "stranger": "",
            "forger": "no.such.token",
            "reader": provider.token(),
            "watcher": provider.token(roles=["watchers"]),
        }
        async with serving(ostiary_config, "--config", str(file)) as (url, _):
            told = {name: await _told(url.removesuffix("/mcp"), token) for name, token in tokens.items()}

    bare = (503, "not ready\n")
    assert {name: found[0] for name, found in told.items()} == dict.fromkeys(tokens, (200, "alive\n"))
    assert {name: found[1] for name, found in told.items() if name != "watcher"} == {
        "stranger": bare,
        "forger": (401, "authentication is required\n"),
        "reader": bare,
    }
    assert "datasource `away`: " in told["watcher"][1][1]
    assert {name: found[2][0] for name, found in told.items()} == {"stranger": 403, "forger": 401, "reader": 403, "watcher": 200}


async def _told(base: str, token: str) -> list[tuple[int, str]]:
    """What the bearer gets of `/healthz`, `/readyz` and `/metrics`."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http_client(base_url=base, headers=headers) as http:
        answers = [await http.get(page) for page in ("/healthz", "/readyz", "/metrics")]
    return [(answer.status_code, answer.text) for answer in answers]
