"""Policy files that change, break and vanish under running servers: real processes, real files, real signals."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fix_agents import agent, answer_of, http_client
from fix_http import serving
from fix_postgres import PostgresServer
from fix_server import READS_ALL, MakeSite, Site
from fix_waiting import until
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from ostiary.config import Config

AS_READER = {"OSTIARY_AGENT__ROLE": "reader", "OSTIARY_AGENT__ROLES": "reader"}
CLOSED = '\n@id("closed") forbid (principal, action == Action::"read", resource == Table::"shop.public.t");\n'
BROKEN = '\n@id("broken") forbid (principal, action == Action::"reed", resource);\n'
SELECT = "select count(*) from t"


@pytest.fixture
def make_shop(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
) -> Callable[[], Awaitable[Site]]:
    """A site with one small table, that reads all, and two policy files."""

    async def make() -> Site:
        dsn = postgres_server.dsn(database=await make_database("CREATE TABLE t (id int)"))
        site = await make_site({"shop": dsn})
        (folder(site) / "more.cedar").write_text('@id("not-u") forbid (principal, action, resource == Table::"shop.public.u");')
        return site

    return make


def folder(site: Site) -> Path:
    return site.config.home.data.parent / "policies"


def given(site: Site) -> tuple[str, ...]:
    return ("--config", str(site.config.home.data.parent / "ostiary.toml"))


async def events(site: Site, name: str) -> list[dict[str, Any]]:
    return [record for record in await site.records() if record.get("event") == name]


async def ready(url: str) -> tuple[int, str]:
    async with http_client(base_url=url.removesuffix("/mcp")) as http:
        answer = await http.get("/readyz")
        return answer.status_code, answer.text


async def gauge(url: str) -> str:
    async with http_client(base_url=url.removesuffix("/mcp")) as http:
        page = (await http.get("/metrics")).text
        told = re.findall(r"^ostiary_policy_files_refused (\S+)$", page, re.MULTILINE)
        assert len(told) == 1, page
        return str(told[0])


async def reads(url: str) -> bool:
    async with agent(url) as one:
        return not answer_of(await one.query(SELECT))["result"].get("isError", False)


def until_told(url: str, words: str) -> Awaitable[None]:
    async def told() -> bool:
        return words in (await ready(url))[1]

    return until(told)


def until_well(url: str) -> Awaitable[None]:
    async def well() -> bool:
        return await ready(url) == (200, "ready\n")

    return until(well)


@pytest.mark.asyncio
async def test_an_edit_is_in_force_without_a_restart_and_on_record(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    async with serving(site.config, *given(site), **AS_READER) as (url, _):
        assert await reads(url)
        (folder(site) / "own.cedar").write_text(READS_ALL + CLOSED)
        await until(lambda: _closed(url))
        (folder(site) / "own.cedar").write_text(READS_ALL)
        await until(lambda: reads(url))
        await until_well(url)
    (closed, opened), calls = await events(site, "policy_changed"), [r for r in await site.records() if r["kind"] in "id"]
    assert (closed["before"], closed["policy"], closed["cause"]) == (opened["policy"], opened["before"], "files")
    assert next(call["policy"] for call in calls if call["kind"] == "d") == closed["policy"]
    assert {calls[0]["policy"], calls[-1]["policy"]} == {closed["before"]}


async def _closed(url: str) -> bool:
    return not await reads(url)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_broken_truncated_or_deleted_set_leaves_the_old_one_in_force_and_is_told(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    own, more = folder(site) / "own.cedar", folder(site) / "more.cedar"
    kept = more.read_text()
    async with serving(site.config, *given(site), **AS_READER) as (url, _):
        await until_well(url)
        own.write_text(READS_ALL + BROKEN)
        await until_told(url, "the policy files are not what is in force: own.cedar:2: ")
        assert (await ready(url))[0] == 200
        assert await gauge(url) == "1.0"
        assert await reads(url)

        own.write_text(READS_ALL)
        await until_well(url)
        assert await gauge(url) == "0.0"

        for mishap in (lambda: more.write_text(""), more.unlink):
            mishap()
            await until_told(url, "more.cedar: it is gone or empty, and `not-u` with it")
            more.write_text(kept)
            await until_well(url)

        more.write_text(kept[: len(kept) // 2])
        await until_told(url, "more.cedar:1: ")

        own.unlink()
        more.unlink()
        await until_told(url, "there is no `*.cedar` file in it")
        folder(site).rmdir()
        await until_told(url, "the policy directory cannot be read: no such file or directory")
        assert await reads(url)
    refused = await events(site, "policy_refused")
    started = (await events(site, "started"))[0]
    assert {record["policy"] for record in refused} == {started["policy"]}
    assert any(problem.startswith("own.cedar:2: ") for problem in refused[0]["problems"])
    assert await events(site, "policy_changed") == []


@pytest.mark.asyncio
async def test_a_hangup_has_the_files_read_at_once_and_takes_a_file_that_is_gone_as_meant(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    async with serving(site.config, *given(site), **AS_READER) as (url, server):
        (folder(site) / "more.cedar").unlink()
        await until_told(url, "more.cedar: it is gone or empty")
        server.send_signal(signal.SIGHUP)
        await until_well(url)
        assert await reads(url)
    (changed,) = await events(site, "policy_changed")
    assert changed["cause"] == "signal"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_policies_that_move_to_another_file_are_not_missed(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    async with serving(site.config, *given(site), **AS_READER) as (url, _):
        await until_well(url)
        (folder(site) / "more.cedar").rename(folder(site) / "other.cedar")

        async def changed() -> bool:
            return bool(await events(site, "policy_changed"))

        await until(changed)
        assert await ready(url) == (200, "ready\n")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_folder_that_is_switched_by_a_link_is_seen(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    place = folder(site)
    place.rename(place.with_name("first"))
    place.symlink_to("first")
    second = place.with_name("second")
    shutil.copytree(place.with_name("first"), second)
    (second / "own.cedar").write_text(READS_ALL + CLOSED)
    async with serving(site.config, *given(site), **AS_READER) as (url, _):
        assert await reads(url)
        place.with_name("next").symlink_to("second")
        place.with_name("next").rename(place)
        await until(lambda: _closed(url))


@pytest.mark.slow
@pytest.mark.asyncio
async def test_each_worker_takes_the_new_set_and_records_it(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    async with serving(site.config, *given(site), "--workers", "2", **AS_READER) as (_, server):
        (folder(site) / "more.cedar").unlink()
        server.send_signal(signal.SIGHUP)

        async def both() -> bool:
            return len(await events(site, "policy_changed")) == 2

        await until(both)
    assert len({record["policy"] for record in await events(site, "policy_changed")}) == 1


@pytest.mark.asyncio
async def test_a_terminal_that_is_closed_ends_the_server(ostiary_config: Config):
    ours, theirs = os.openpty()
    homes = {f"OSTIARY_HOME__{part.upper()}": str(getattr(ostiary_config.home, part)) for part in ("data", "state")}
    # The first terminal that a leader of a session opens becomes its own.
    start = "import os, sys; os.open(sys.argv[1], os.O_RDWR); os.execv(sys.executable, [sys.executable, '-m', *sys.argv[2:]])"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", start, os.ttyname(theirs), "ostiary", "serve", "--http", "--port", "0"),
        env={"PATH": os.environ["PATH"], **homes},
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None  # a pipe was asked for; only its type does not say so
    async with asyncio.timeout(60):
        while b"listening on" not in (line := await process.stderr.readline()):
            assert line, "the server ended before it listened"
        process.send_signal(signal.SIGHUP)  # the terminal is there: this is no end
        os.close(theirs)
        os.close(ours)
        await process.stderr.read()
        assert await process.wait() == 0


@pytest.mark.slow
@pytest.mark.asyncio
async def test_over_stdio_an_edit_is_in_force_for_the_next_call(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    server = StdioServerParameters(command=sys.executable, args=["-m", "ostiary", "serve", "--role", "reader", *given(site)])
    server.env = {"OSTIARY_AGENT__ROLES": "reader"}
    async with Client(stdio_client(server)) as client:

        async def refused() -> bool:
            return bool((await client.call_tool("query", {"sql": SELECT})).is_error)

        assert not await refused()
        (folder(site) / "own.cedar").write_text(READS_ALL + CLOSED)
        await until(refused)
        (folder(site) / "own.cedar").write_text(READS_ALL + BROKEN)

        async def noted() -> bool:
            return bool(await events(site, "policy_refused"))

        await until(noted)
        assert await refused()
