"""The control database at an earlier moment, end to end by commands: restored, put in the place of the old one, gone on with."""

import asyncio
import json
import os
import pwd
import shutil
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from fix_moments import keep_log
from fix_person import Person
from fix_postgres import PostgresServer, short_directory

from ostiary.vault import open_vault
from ostiary_tools.backup.moment import Time, written


def in_its_place(data: Path, lost: PostgresServer) -> PostgresServer:
    """A server over the restored data directory."""
    root = short_directory()
    shutil.move(data, root / "data")
    if lost.user is not None:
        account = pwd.getpwnam(lost.user)
        for path in (root, *root.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    server = replace(lost, root=root, settings={"fsync": "off"})
    server.start()
    return server


async def now(dsn: str) -> str:
    """The present moment, by the cluster's clock, and a commit after it."""
    connection = await asyncpg.connect(dsn)
    try:
        moment = await connection.fetchval("SELECT clock_timestamp()")
        await connection.execute("INSERT INTO customers VALUES (9001, 'the last')")
        return written(Time(moment))
    finally:
        await connection.close()


@pytest.mark.slow
def test_a_restored_control_database_is_gone_on_with_once_a_person_has_opened_an_epoch(
    person: Person, postgres_server: PostgresServer
):
    config = person.site.folder / "ostiary.toml"
    text = config.read_text().replace("[control]", f'[control]\nadmin_dsn = "{postgres_server.dsn(database=person.site.control)}"')
    config.write_text(text)
    person.begins()
    person.does("backup", "create", "--kind", "full")
    before = asyncio.run(now(postgres_server.dsn(database=person.database)))
    person.does("backup", "list")
    lost = len(asyncio.run(person.site.records()))
    keep_log(open_vault(person.site.config, None).repository(), postgres_server, "shop")
    assert "its last transaction ended" in person.does("restore", "shop", "yesterday", "--moment", before, "--yes")
    restored = in_its_place(person.site.config.restore_folder / "yesterday", postgres_server)
    try:
        config.write_text(text.replace(str(postgres_server.root), str(restored.root)))
        refused = person.runs("backup", "create")
        assert (refused.code, "rule audit_put_back" in refused.err, "`ostiary audit open-epoch`" in refused.err) == (3, True, True)
        assert person.runs("audit", "verify").code == 1
        opened = json.loads(person.does("audit", "open-epoch", "--reason", "a mistake at noon", "--yes", "--json"))
        stretches = opened["lost"].values()
        assert sum(one["up_to"] - one["after"] for one in stretches) > 0
        assert lost <= sum(one["up_to"] for one in stretches)
        person.does("backup", "create")
        verified = person.runs("audit", "verify")
        assert (verified.code, "the log was put back once" in verified.out, "a mistake at noon" in verified.out) == (4, True, True)
    finally:
        restored.stop("immediate")
        shutil.rmtree(restored.root, ignore_errors=True)
