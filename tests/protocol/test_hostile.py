"""Hostile and malformed requests, thousands of them, at a real server: nothing of its inside is told, and it goes on."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fix_hostile import GREETING, Findings, attacked, hostile_site, spoken, told, wrong_in
from fix_postgres import PostgresServer
from fix_server import MakeSite
from gen_requests import MARK, Offered, request

from ostiary.config import Config
from ostiary.pytest_plugin import ERAS

SEED = 20261121
LINES = 300
MOST_GROWTH_MIB = 150


@asynccontextmanager
async def on_stdio(config: Config, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server that must end by itself when its input ends, and writes its log to a file."""
    places = {f"OSTIARY_HOME__{part.upper()}": str(getattr(config.home, part)) for part in ("data", "state")}
    pipe = asyncio.subprocess.PIPE
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ostiary", "serve"),
            env={"PATH": os.environ["PATH"], **places},
            stdin=pipe,
            stdout=pipe,
            stderr=stderr,
            limit=1 << 24,
        )
    try:
        yield process
        assert process.stdin
        process.stdin.close()
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def attack(
    make_site: MakeSite,
    make_database: Callable[[str], Awaitable[str]],
    server: PostgresServer,
    log: Path,
    *,
    tokens: bool,
    count: int,
) -> Findings:
    async with hostile_site(make_site, make_database, server, log, tokens=tokens) as served:
        found = await attacked(served, SEED, count, max(150, count // 40))
        read = await told(served)
    print(f"seed {SEED}: {dict(found.statuses.most_common())}, memory in MiB {found.memory_mib}")  # noqa: T201  to make a case again
    for where, text in read.items():
        # A datasource that fails names itself to its operator; paths are his own.
        found.wrong += [f"{where}: {each}" for each in wrong_in(text, served.secrets[:-2], internal=False)]
    found.wrong += [f"log: {each}" for each in wrong_in(read["log"], (MARK,), internal=False)]
    found.wrong += [
        f"log: {each.decode()}" for each in read["log"].splitlines() if b"with 500" in each or b"request failed" in each
    ]
    assert b"ostiary_calls_total" in read["/metrics"]
    return found


@pytest.mark.asyncio
async def test_hundreds_of_hostile_requests_learn_nothing_and_stop_nothing(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer, tmp_path: Path
):
    found = await attack(make_site, make_database, postgres_server, tmp_path / "log", tokens=True, count=300)

    assert found.wrong == []
    assert {"200", "400", "401", "404"} <= set(found.statuses)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.asyncio
async def test_hundreds_of_hostile_lines_learn_nothing_and_stop_nothing(ostiary_config: Config, era: str, tmp_path: Path):
    what = Offered(
        {"query": ("sql", "params", "datasource", "cursor"), "describe": ("tables",), "whoami": ()},
        {"question_to_sql": ("question",)},
    )
    secrets = (str(ostiary_config.home.data), str(ostiary_config.home.state))
    wrong = []
    async with on_stdio(ostiary_config, tmp_path / "log") as process:
        if era == "legacy":
            await spoken(process, [json.dumps(GREETING).encode(), b'{"jsonrpc":"2.0","method":"notifications/initialized"}'], -1)
        for first in range(0, LINES, 50):
            lines = [asked.line for asked in (request(SEED, number, what) for number in range(first, first + 50)) if asked.line]
            wrong += wrong_in(await spoken(process, lines, first), secrets)
    log = (tmp_path / "log").read_bytes()

    assert wrong == []
    assert wrong_in(log, (MARK,), internal=False) == []
    assert b"Traceback" not in log


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.asyncio
async def test_ten_thousand_hostile_requests_learn_nothing_and_stop_nothing(
    make_site: MakeSite,
    make_database: Callable[[str], Awaitable[str]],
    postgres_server: PostgresServer,
    tmp_path: Path,
    tokens: bool,
):
    found = await attack(make_site, make_database, postgres_server, tmp_path / "log", tokens=tokens, count=10_000)

    assert found.wrong == []
    assert found.memory_mib[-1] - found.memory_mib[len(found.memory_mib) // 5] < MOST_GROWTH_MIB
