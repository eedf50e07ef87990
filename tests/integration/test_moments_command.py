"""`ostiary restore --moment` and the tool behind it: a person comes back from a mistake, and what is hidden stays so."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest
from fix_answers import text_of
from fix_custody import OpenStrongroom
from fix_moments import keep_log
from fix_person import Person
from fix_postgres import PostgresServer

from ostiary.app import open_house
from ostiary.remembering import Remembering
from ostiary.vault import open_vault
from ostiary_tools.backup.moment import Time, written
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.segment import Segment

LIMITED = """
@id("limited-calls") permit (principal in Role::"limited", action == Action::"call", resource);
@id("limited-verifies") permit (principal in Role::"limited", action == Action::"verify", resource)
when { resource.kind == "logical" };
"""


@pytest.mark.slow
def test_a_person_comes_back_to_the_row_before_a_mistake(person: Person, postgres_server: PostgresServer):
    person.begins()
    person.does("backup", "create", "--kind", "full")
    before = asyncio.run(_mistaken(postgres_server.dsn(database=person.database)))
    keep_log(open_vault(person.site.config, None).repository(), postgres_server, "shop")
    asked = person.runs("restore", "shop", "yesterday", "--moment", before)
    assert (asked.code, "wants a human's approval" in asked.err) == (1, True)
    said = person.does("restore", "shop", "yesterday", "--moment", before, "--yes")
    assert "its last transaction ended" in said
    assert "audit log: " in said, "it is in the same cluster, and is held against its anchors up to then"
    assert (person.site.config.restore_folder / "yesterday" / "PG_VERSION").exists()
    assert "already" in person.runs("restore", "shop", "yesterday", "--moment", before, "--yes").err
    alone = ("--repository", str(person.site.config.backup_folder), "--identity", str(person.stick / "recovery.key"))
    made = json.loads(person.does("restore", "shop", "salvaged", "--moment", "latest", *alone, "--json", alone=True))
    assert Path("salvaged/PG_VERSION").exists()
    assert "salvaged" in made["made"]
    assert any(note.startswith("nobody here remembers how far the log was kept") for note in made["notes"])
    assert person.runs("restore", "shop", "other", "--moment", "latest", "--table", "a.b", *alone, alone=True).code == 2


@pytest.mark.slow
def test_a_copy_of_all_that_is_kept_says_what_somebody_has_cut_off(person: Person, postgres_server: PostgresServer):
    person.begins()
    person.does("backup", "create", "--kind", "full")
    postgres_server.sql("INSERT INTO customers VALUES (9001, 'the last'); SELECT pg_switch_wal()", person.database)
    archive = keep_log(open_vault(person.site.config, None).repository(), postgres_server, "shop")
    asyncio.run(_noted(person))
    whole = person.does("restore", "shop", "whole", "--moment", "latest", "--yes")
    assert f"the log is known to have been kept to {_newest(archive).end} on 20" in whole
    assert "and the copy has all of that" in whole
    archive.repository.storage.remove(_newest(archive).folder)
    cut = person.does("restore", "shop", "cut", "--moment", "latest", "--yes")
    assert "note: not all is there: the log is known to have been kept to " in cut
    assert "what came after is gone" in cut
    level = person.runs("backup", "verify", "shop", "--level", "wal")
    assert (level.code, "and is there only to " in level.err) == (1, True)


def _newest(archive: Archive) -> Segment:
    found = archive.newest(1)
    assert found is not None
    return found


async def _noted(person: Person) -> None:
    """By a worker."""
    async with open_house(person.site.config, lambda _: None) as house:
        await Remembering(house.vault, house.recorder).round()


async def _mistaken(dsn: str) -> str:
    """All customers are gone; right before that."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("INSERT INTO customers VALUES (9001, 'the last')")
        before = await connection.fetchval("SELECT clock_timestamp()")
        await connection.execute("TRUNCATE customers CASCADE")
        return written(Time(before))
    finally:
        await connection.close()


@pytest.mark.asyncio
async def test_what_a_moment_is_of_is_hidden_as_what_does_not_exist(strongroom: OpenStrongroom):
    async with strongroom(policy=LIMITED) as it, it.client("limited") as limited, it.client() as ada:
        asked = {"name": "copy", "moment": "latest"}
        hidden = text_of(await limited.call_tool("restore_backup", {"datasource": "control", **asked}))
        assert "unknown datasource" in hidden
        assert hidden.replace("control", "nowhere") == text_of(
            await limited.call_tool("restore_backup", {"datasource": "nowhere", **asked})
        )
        for wrong, words in (
            ({"moment": "yesterday", "datasource": "shop"}, "is no moment"),
            ({"moment": "2026-01-01T00:00:00", "datasource": "shop"}, "does not say its zone"),
            ({"moment": "latest", "datasource": "shop", "target": "schema"}, "a whole cluster is restored"),
            ({"moment": "latest", "backup": "20260101T000000Z-0123abcd"}, "not clear what"),
            ({"backup": "20260101T000000Z-0123abcd", "datasource": "shop"}, "not clear what"),
            ({}, "not clear what"),
        ):
            assert words in text_of(await ada.call_tool("restore_backup", {"name": "copy", **wrong}))


@pytest.mark.asyncio
async def test_whoever_agrees_to_a_moment_is_told_that_a_whole_cluster_is_restored(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada:
        it.answer = "decline"
        said = text_of(await ada.call_tool("restore_backup", {"datasource": "shop", "name": "copy", "moment": "lsn:0/3000060"}))
        assert "custodian-restores-backups" in said
    [question] = it.asked
    assert "The whole cluster of `shop` is restored as it was at that moment" in question
    assert '| moment = "lsn:0/3000060"' in question
