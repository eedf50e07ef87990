"""`ostiary worker` keeps the log that a plan says, and one worker of several does."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_custody import KEEPER, SHOP, begin
from fix_objects import ObjectServer, in_bucket
from fix_postgres import PostgresServer
from fix_queue import program
from fix_server import MakeSite
from fix_waiting import until

from ostiary.log_keeping import cluster_folder, known_cluster
from ostiary.vault import open_vault
from ostiary_tools.backup.wal_archive import standing

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

PLAN = '[plans.shop]\nwal = "kept"\n'
RECEIVERS = "SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE 'ostiary log %'"


async def test_one_worker_of_two_keeps_the_log_of_a_plan_and_the_other_goes_on_when_it_ends(
    make_site: MakeSite, own_server: Callable[..., PostgresServer]
):
    server = await asyncio.to_thread(own_server, max_slot_wal_keep_size="1GB")
    await asyncio.to_thread(server.sql, SHOP)
    site = await make_site({"shop": server.dsn()}, backups={"shop": server.dsn(KEEPER)}, more=PLAN)
    vault = open_vault(site.config, None)
    begin(vault)
    connection = await asyncpg.connect(server.dsn())

    async def received_by_one() -> bool:
        return int(await connection.fetchval(RECEIVERS)) == 1

    async def kept_now() -> None:
        at = await connection.fetchval("SELECT clock_timestamp()")

        def there() -> bool:
            system = known_cluster(vault, "shop")
            found = standing.read(cluster_folder(vault, system or "")) if system else None
            return found is not None and found.kept_until is not None and found.kept_until >= at

        await until(there, 90)
        await until(received_by_one, 60)

    async with program(site) as first:
        await until(received_by_one, 60)
        async with program(site):
            await kept_now()
            first.kill()
            await first.wait()
            await kept_now()
    told = json.loads(site.command("backup", "status", "--json").stdout)
    assert [(one["plan"], one["kept"]) for one in told] == [("shop", True)]
    assert "log of shop: it can be kept" in site.command("doctor").stdout
    # Once no plan wants it, the server keeps no log for us.
    (file := site.folder / "ostiary.toml").write_text(file.read_text().replace(PLAN, ""))
    async with program(site):
        await until(lambda: _count(connection, "SELECT count(*) FROM pg_replication_slots", 0), 60)
    await connection.close()


async def test_a_full_backup_is_asked_for_once_where_the_log_goes_on_from_none(
    make_site: MakeSite, own_server: Callable[..., PostgresServer]
):
    server = await asyncio.to_thread(own_server, max_slot_wal_keep_size="-1")
    await asyncio.to_thread(server.sql, SHOP)
    site = await make_site({"shop": server.dsn()}, backups={"shop": server.dsn(KEEPER)}, more=PLAN)
    begin(open_vault(site.config, None))
    async with program(site):

        def alarms() -> list[str]:
            told = json.loads(site.command("backup", "status", "--json").stdout)
            return [alarm["code"] for alarm in told[0]["alarms"]]

        await until(lambda: asyncio.to_thread(lambda: alarms() == ["no_base", "unbounded"]), 90)
        await until(lambda: asyncio.to_thread(lambda: alarms() == ["unbounded"]), 120)
    jobs = await site.fetch("SELECT tool, state FROM jobs.job", role="ostiary_writer")
    assert [tuple(row) for row in jobs] == [("create_backup", "completed")]
    assert "without a bound" in site.command("doctor").stdout


async def _count(connection: asyncpg.Connection, statement: str, wanted: int) -> bool:
    return int(await connection.fetchval(statement)) == wanted


async def test_a_worker_keeps_the_log_of_a_plan_in_a_bucket_and_it_leads_on_from_the_backup_that_it_asked_for(
    make_site: MakeSite, own_server: Callable[..., PostgresServer], object_server: ObjectServer, tmp_path: Path
):
    server = await asyncio.to_thread(own_server, max_slot_wal_keep_size="1GB")
    await asyncio.to_thread(server.sql, SHOP)
    where = in_bucket(await asyncio.to_thread(object_server.bucket), tmp_path)
    site = await make_site({"shop": server.dsn()}, backups={"shop": server.dsn(KEEPER)}, more=where + PLAN)
    await asyncio.to_thread(begin, open_vault(site.config, None))

    def stands() -> dict[str, Any]:
        [told] = json.loads(site.command("backup", "status", "--json").stdout)
        return dict(told)

    async with program(site):
        await until(lambda: asyncio.to_thread(lambda: stands()["alarms"] == []), 150)
        [made] = json.loads(site.command("backup", "list", "--json").stdout)
        verified = site.command("backup", "verify", made["backup"], "--level", "wal")
    assert (made["kind"], verified.returncode) == ("full", 0), verified.stderr
    assert "is as it was kept and has no gap" in verified.stdout
