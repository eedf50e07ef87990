"""Backups whose worker or server is killed: what ends in the end is one backup that is whole, and nothing else is left."""

import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from fix_answers import text_of
from fix_custody import ROWS, OpenStrongroom, Strongroom, begun, ended
from fix_queue import program
from fix_waiting import going_on, until
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from ostiary_tools.backup.scratch import Ground, serving
from ostiary_tools.backup.soundness import sound
from ostiary_tools.errors import Unavailable

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]


@asynccontextmanager
async def held_up(it: Strongroom) -> AsyncIterator[None]:
    """While the block lasts no dump gets further than to a table of ours."""
    async with it.admin() as admin, admin.transaction():
        await admin.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        yield


async def waits(it: Strongroom) -> bool:
    """Whether a backup's session waits for that table."""
    async with it.admin() as admin:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = $2 AND wait_event_type = 'Lock'"
        return int(await admin.fetchval(waiting, it.database, "ostiary backup")) > 0


async def expired(it: Strongroom, id_: str) -> None:
    """As if the lease had run out, which takes half a minute otherwise."""
    let_go = "UPDATE jobs.job SET leased_until = now() - interval '1 s' WHERE id = $1"
    await it.site.fetch(let_go, UUID(id_), role="ostiary_writer")


def left_behind(it: Strongroom) -> list[str]:
    """Programs of PostgreSQL that still work on our database."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            environ = (process / "environ").read_bytes().decode(errors="replace")
            if "pg_dump" in words and f"PGDATABASE={it.database}" in environ:
                found.append(words)
    return found


async def one_whole_backup(it: Strongroom, ada: Client, said: str) -> None:
    """What is to be there in the end."""
    made = re.search(r"backup `([0-9TZa-f-]+)` of `shop` \(logical\): ([0-9,]+) rows", said)
    assert made, said
    assert made[2] == f"{ROWS:,}"
    listed = text_of(await ada.call_tool("list_backups", {}))
    assert re.findall(r"^\d{8}T\d{6}Z-[0-9a-f]{8}", listed, re.MULTILINE) == [made[1]]
    checked = await ended(ada, await begun(ada, "verify_backup", backup=made[1]))
    assert "are as they were kept" in checked
    assert not [one for one in (it.house.vault.folder / "staging").glob("*") if one.suffix != ".lock"]
    assert not [one for one in it.house.vault.spools.glob("*") if one.is_dir()]


async def test_a_worker_killed_in_the_middle_is_taken_over_and_there_is_one_backup(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada:
        id_ = await begun(ada, "create_backup", kind="logical")
        async with held_up(it), program(it.site) as worker:
            await until(lambda: waits(it), 60)
            worker.send_signal(signal.SIGKILL)
            await worker.wait()

            async def is_alone() -> bool:
                return not left_behind(it)

            await until(is_alone, 30)
        await expired(it, id_)
        async with program(it.site):
            await one_whole_backup(it, ada, await ended(ada, id_))
        counted = await it.house.queue.table.counted()
    assert [(one.state, one.takeovers) for one in counted if one.tool == "create_backup"] == [("completed", 1)]


async def test_a_backup_outlives_the_server_that_was_asked_for_it(strongroom: OpenStrongroom):
    async with strongroom(more='[agent]\nrole = "custodian"\n[jobs]\nidle_s = 5.0\n') as it, it.client(agent="local") as ada:
        serve = (sys.executable, "-m", "ostiary", "serve", "--config", str(it.site.folder / "ostiary.toml"))
        server = StdioServerParameters(
            command="/bin/sh",
            args=["-c", 'echo $$ > "$0"; exec "$@"', str(it.site.folder / "pid"), *serve],
            env={"PATH": os.environ["PATH"], "HOME": str(it.site.folder)},
        )
        async with held_up(it):
            with suppress(Exception):  # its end is not one that a client likes
                async with Client(stdio_client(server)) as client:
                    id_ = await begun(client, "create_backup", kind="logical")
                    await until(lambda: waits(it), 90)
                    os.kill(int((it.site.folder / "pid").read_text()), signal.SIGKILL)
        said = await ended(ada, id_)
        async with program(it.site):
            await one_whole_backup(it, ada, said)


@pytest.mark.parametrize("whole", [True, False], ids=["server", "session"])
async def test_of_a_copy_whose_server_is_killed_it_is_not_said_that_it_is_damaged(new_data: Path, ground: Ground, whole: bool):
    """Machines without memory do that, and a drill would keep it as evidence against the backup."""
    async with serving(new_data, ground, "owner") as server:
        connection = await server.connect()
        session = int(await connection.fetchval("SELECT pg_backend_pid()"))
        os.kill(parent_of(session) if whole else session, signal.SIGKILL)
        await until(lambda: server.over)
        connection.terminate()
        with pytest.raises(Unavailable, match="was killed"):
            await server.connect()


async def test_of_an_index_whose_reader_is_killed_it_is_not_said_that_it_is_not_sound(new_data: Path, ground: Ground):
    async with serving(new_data, ground, "owner") as server:
        holder = await server.connect()
        await holder.execute("CREATE TABLE public.held (id integer PRIMARY KEY)")
        async with going_on(killed_while_it_waits(holder)):
            with pytest.raises(Unavailable, match="was killed"):
                await sound(server)
        holder.terminate()


async def killed_while_it_waits(holder: asyncpg.Connection) -> None:
    """The first session that waits for our lock on the index."""
    await holder.execute("BEGIN; ALTER INDEX public.held_pkey SET (fillfactor = 80)")
    waiting = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'public.held_pkey'::regclass"
    await until(lambda: holder.fetchval(f"SELECT EXISTS ({waiting})"))
    os.kill(await holder.fetchval(waiting), signal.SIGKILL)


def parent_of(process: int) -> int:
    """Who started it."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
