"""Backups as agents keep them: who may, what they are told, and what stands in the audit log."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fix_answers import text_of
from fix_custody import ROWS, SHOP, OpenStrongroom, Strongroom, begun, ended, rows
from fix_queue import working
from fix_waiting import until
from mcp import MCPError

from ostiary.call import Call
from ostiary_policies.model import Principal

BOGUS = "20260101T000000Z-0123abcd"
LIMITED = """
@id("limited-calls") permit (principal in Role::"limited", action == Action::"call", resource);
@id("limited-verifies") permit (principal in Role::"limited", action == Action::"verify", resource)
when { resource.kind == "full" };
@id("no-full") forbid (principal in Role::"custodian", action == Action::"back_up", resource == Backup::"shop.full");
"""
ADA = Principal("ada", ("custodian",))


def left_over(it: Strongroom) -> list[Path]:
    """What is there of backups that are none."""
    staged = [one for one in (it.house.vault.folder / "staging").glob("*") if one.suffix != ".lock"]
    return [*staged, *(one for one in it.house.vault.spools.glob("*") if one.is_dir())]


@pytest.mark.asyncio
async def test_a_custodian_backs_up_and_finds_the_backup_unproven(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada, it.working():
        said = await it.done(ada, "create_backup", kind="logical")
        listed = text_of(await ada.call_tool("list_backups", {}))
        records = await it.site.records()
        counted = await it.house.queue.table.counted()
        assert not left_over(it)
    assert [(one.tool, one.state, one.count, one.takeovers) for one in counted] == [("create_backup", "completed", 1, 0)]
    assert f"(logical): {ROWS:,} rows" in said
    assert "unproven" in said
    [line] = rows(listed)
    assert ",shop,logical," in line
    assert f",{ROWS}," in line
    assert line.endswith(",unproven")
    assert "canary" not in said + listed
    calls = [record for record in records if record["kind"] == "i" and record["tool"] == "create_backup"]
    assert [one["origin"].partition(" ")[0] for one in calls] == ["tool", "job"]
    assert {tuple(one["backups"]) for one in calls} == {("back_up shop.logical",)}
    ended = [record["status"] for record in records if record["kind"] == "o" and record["call"] in {one["call"] for one in calls}]
    assert ended == ["ok", "ok"]


@pytest.mark.asyncio
async def test_for_an_analyst_there_are_no_backups_at_all(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client("analyst") as ada:
        offered = {tool.name for tool in (await ada.list_tools()).tools}
        for tool in ("create_backup", "list_backups", "verify_backup", "restore_backup"):
            assert tool not in offered
            with pytest.raises(MCPError) as told:
                await ada.call_tool(tool, {})
            with pytest.raises(MCPError) as other:
                await ada.call_tool("create_nothing", {})
            assert str(told.value).replace(tool, "create_nothing") == str(other.value)


@pytest.mark.asyncio
async def test_a_hidden_backup_is_answered_as_one_that_does_not_exist(strongroom: OpenStrongroom):
    async with strongroom(policy=LIMITED) as it, it.client("limited") as limited:
        made = await it.kept()
        assert rows(text_of(await limited.call_tool("list_backups", {}))) == []
        for tool, more in (("verify_backup", {}), ("restore_backup", {"name": "copy"})):
            hidden = text_of(await limited.call_tool(tool, {"backup": made, **more}))
            unknown = text_of(await limited.call_tool(tool, {"backup": BOGUS, **more}))
            assert hidden.replace(made, BOGUS) == unknown
            assert "unknown backup" in unknown
        hidden = text_of(await limited.call_tool("create_backup", {"datasource": "control"}))
        unknown = text_of(await limited.call_tool("create_backup", {"datasource": "nowhere"}))
    assert hidden.replace("control", "nowhere") == unknown


@pytest.mark.asyncio
async def test_what_policy_refuses_is_refused_with_its_rule_and_recorded(strongroom: OpenStrongroom):
    async with strongroom(policy=LIMITED) as it, it.client() as ada:
        said = text_of(await ada.call_tool("create_backup", {"datasource": "shop", "kind": "full"}))
        records = await it.site.records()
    assert "you may not make full backups of `shop`" in said
    assert "rule: no-full" in said
    [denial] = [record for record in records if record["kind"] == "d"]
    assert (denial["tool"], denial["decision"], denial["rules"]) == ("create_backup", "deny", ["no-full"])
    assert denial["backups"] == ["back_up shop.full"]


@pytest.mark.asyncio
@pytest.mark.parametrize(("wishes", "command"), [({"ready": False}, "init"), ({"proven": False}, "prove")])
async def test_to_begin_a_repository_is_a_persons_act(strongroom: OpenStrongroom, wishes: dict[str, Any], command: str):
    async with strongroom(**wishes) as it, it.client() as ada:
        said = text_of(await ada.call_tool("create_backup", {}))
        listed = text_of(await ada.call_tool("list_backups", {}))
        assert not left_over(it)
    assert f"ostiary backup {command}`" in said
    assert "no agent can" in said
    assert f"ostiary backup {command}`" in listed


@pytest.mark.asyncio
async def test_a_restore_waits_for_a_human_who_is_told_of_what_it_is(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada:
        made = await it.kept()
        it.answer = "decline"
        said = text_of(await ada.call_tool("restore_backup", {"backup": made, "name": "copy"}))
        records = await it.site.records()
    assert "custodian-restores-backups" in said
    [question] = it.asked
    assert "The backup is a logical one of `shop`" in question
    assert "unproven" in question
    assert f'| backup = "{made}"' in question
    denied = [record for record in records if record["kind"] == "d" and record["tool"] == "restore_backup"]
    assert denied[-1]["decision"] == "deny"
    assert denied[-1]["backups"] == ["restore shop.logical"]


NOT_RESTORED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"name": "../copy"}, "invalid_arguments"),
    ({"name": "/srv/copy"}, "invalid_arguments"),
    ({"name": "Copy"}, "invalid_arguments"),
    ({"name": "copy", "target": "/srv/copy"}, "invalid_arguments"),
    ({"name": "copy", "target": "file"}, "rule: tables"),
    ({"name": "copy", "target": "database", "tables": ["public.orders"]}, "rule: target"),
)


@pytest.mark.asyncio
async def test_a_backup_is_verified_and_restored_to_a_new_database_after_a_humans_yes(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada, it.working():
        made = await it.backed_up(ada)
        async with it.admin() as admin:
            await admin.execute("DELETE FROM orders")
        verified = await it.done(ada, "verify_backup", backup=made)
        name = f"copy_of_{it.database}"
        try:
            restored = await it.done(ada, "restore_backup", backup=made, name=name)
            again = await it.done(ada, "restore_backup", backup=made, name=name)
            async with it.admin(name) as copy, it.admin() as admin:
                rows_restored = await copy.fetchval("SELECT count(*) FROM orders")
                rows_alive = await admin.fetchval("SELECT count(*) FROM orders")
        finally:
            it.site.server.drop([name])
        records = await it.site.records()
        assert not left_over(it)
    assert f"backup `{made}`: all " in verified
    assert "are as they were kept; unproven" in verified
    assert f"restored to database `{name}` on the server of `shop`: {ROWS:,} rows are as they were backed up" in restored
    assert f"there is a database `{name}` already" in again
    assert (rows_restored, rows_alive) == (2000, 0)
    assert len(it.asked) == 2
    restores = [record for record in records if record["kind"] == "i" and record["tool"] == "restore_backup"]
    assert [record["backups"] for record in restores] == [["restore shop.logical"]] * 4
    assert "canary" not in verified + restored + str(records)


RISING = """
CREATE FUNCTION rise() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    ALTER ROLE climber SUPERUSER;
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN true;
END $$;
CREATE TABLE ladder (id integer CHECK (rise()));
"""
MIGHTY = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mighty_keeper') THEN CREATE ROLE mighty_keeper SUPERUSER LOGIN; END IF;
END $$;
"""


@pytest.mark.asyncio
async def test_what_owners_of_tables_wrote_does_not_make_them_superusers_of_the_living_server(strongroom: OpenStrongroom):
    """A restore runs the checks of tables."""
    async with strongroom(rows=SHOP + RISING) as it, it.client() as ada, it.working():
        name = f"ladder_of_{it.database}"
        async with it.admin() as admin:
            await admin.execute("CREATE ROLE climber")
        try:
            async with it.admin() as admin:
                await admin.execute("INSERT INTO ladder VALUES (1); ALTER ROLE climber NOSUPERUSER")
            restored = await it.done(ada, "restore_backup", backup=await it.backed_up(ada), name=name)
            async with it.admin() as admin:
                risen = await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = 'climber'")
        finally:
            it.site.server.drop([name])
            async with it.admin() as admin:
                await admin.execute("DROP ROLE climber")
    assert f"restored to database `{name}`" in restored
    assert risen is False


@pytest.mark.asyncio
@pytest.mark.parametrize("more", [{}, {"target": "schema", "tables": ["public.orders"]}], ids=["database", "schema"])
async def test_a_superusers_login_restores_nothing_to_a_living_server(strongroom: OpenStrongroom, more: dict[str, Any]):
    async with strongroom(rows=SHOP + MIGHTY, login="mighty_keeper") as it, it.client() as ada, it.working():
        made = await it.backed_up(ada)
        said = await it.done(ada, "restore_backup", backup=made, name="copy_by_superuser", **more)
        async with it.admin() as admin:
            there = await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = 'copy_by_superuser'")
    assert "what is in a backup is not run by a superuser of a living server" in said
    assert "has CREATEDB" in said
    assert there == 0


@pytest.mark.asyncio
async def test_a_sqlite_file_is_backed_up_and_restored_under_a_new_name(strongroom: OpenStrongroom, tmp_path: Path):
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as app, app:
        app.execute("CREATE TABLE notes (id integer PRIMARY KEY, body text)")
        app.executemany("INSERT INTO notes (body) VALUES (?)", [("canary",)] * 30)
    async with strongroom(more=f'[sqlite.app]\npath = "{path}"\n') as it, it.client() as ada, it.working():
        made = await it.backed_up(ada, datasource="app")
        restored = await it.done(ada, "restore_backup", backup=made, name="copy")
        with closing(sqlite3.connect(it.house.vault.restores / "copy")) as copy:
            assert copy.execute("SELECT count(*) FROM notes").fetchone() == (30,)
    assert f"restored to the file `{it.house.vault.restores / 'copy'}`: 30 rows are as they were backed up" in restored
    assert "canary" not in restored


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_single_table_comes_back_in_a_schema_that_no_agent_is_let_into(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada, it.working():
        made = await it.backed_up(ada)
        arguments = {"backup": made, "name": "rescued", "tables": ["public.customers"]}
        restored = await it.done(ada, "restore_backup", **arguments)
        file = await it.done(ada, "restore_backup", **arguments, target="file")
        assert "restored to schema `rescued` in the database of `shop`: 500 rows are as they were backed up" in restored
        async with it.admin() as admin:
            count = await admin.fetchval("SELECT count(*) FROM rescued.customers")
            privileges = await admin.fetchval("SELECT nspacl::text FROM pg_namespace WHERE nspname = 'rescued'")
            read = "SELECT relacl::text FROM pg_class WHERE oid = 'rescued.customers'::regclass"
            assert (privileges, await admin.fetchval(read)) == (None, None)
        text = (it.house.vault.restores / "rescued").read_text()
        assert not left_over(it)
    assert count == 500
    assert "the file" in file
    assert "CREATE SCHEMA rescued" in text


@pytest.mark.asyncio
async def test_a_flipped_byte_is_named_by_its_member(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada, it.working():
        made = await it.kept()
        member = it.house.vault.folder / "backups" / made / "database.dump.zst.age"
        data = bytearray(member.read_bytes())
        data[len(data) // 2] ^= 1
        member.chmod(0o600)
        member.write_bytes(data)
        said = await it.done(ada, "verify_backup", backup=made)
    assert "damaged: `database.dump.zst.age` is damaged" in said


@pytest.mark.asyncio
async def test_what_cannot_be_restored_is_refused_before_anybody_is_asked(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada:
        made = await it.kept()
        for arguments, words in NOT_RESTORED:
            assert words in text_of(await ada.call_tool("restore_backup", {"backup": made, **arguments}))
        assert it.asked == []


@pytest.mark.asyncio
async def test_the_same_work_asked_for_twice_is_one_job_and_of_another_agent_it_waits(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada, it.client(agent="bob") as bob:
        first = await begun(ada, "create_backup", kind="logical")
        assert await begun(ada, "create_backup", kind="logical") == first
        said = text_of(await bob.call_tool("create_backup", {"kind": "logical"}))
        async with it.working():
            assert "unproven" in await ended(ada, first)
        listed = text_of(await ada.call_tool("list_backups", {}))
    assert "other work on the same waits for a worker" in said
    assert len(rows(listed)) == 1


@pytest.mark.asyncio
async def test_work_that_is_done_again_finds_its_own_backup(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada:
        calls = [Call("create_backup", {"kind": "logical"}, transport="worker", by_worker=True, job="a job") for _ in range(2)]
        replies = [(await it.house.gate.call(ADA, call)).text for call in calls]
        listed = text_of(await ada.call_tool("list_backups", {}))
    assert replies[0] == replies[1]
    assert len(rows(listed)) == 1


@pytest.mark.asyncio
async def test_a_backup_that_is_cancelled_leaves_nothing(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada:
        async with it.admin() as admin, admin.transaction():
            await admin.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")  # the dump waits for it
            async with working(it.house):
                id_ = await begun(ada, "create_backup", kind="logical")

                async def works() -> bool:
                    return "is working" in text_of(await ada.call_tool("job", {"id": id_}))

                await until(works)
                await ada.call_tool("job", {"id": id_, "action": "cancel"})
                assert "cancelled" in await ended(ada, id_)
        listed = text_of(await ada.call_tool("list_backups", {}))
        assert not left_over(it)
    assert rows(listed) == []


@pytest.mark.asyncio
async def test_backups_come_in_pages_newest_first(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada:
        made = [await it.kept(f"job {n}") for n in range(3)]
        first = text_of(await ada.call_tool("list_backups", {"limit": 2}))
        rest = text_of(await ada.call_tool("list_backups", {"limit": 2, "offset": 2}))
        none = text_of(await ada.call_tool("list_backups", {"kind": "full"}))
    assert [line.partition(",")[0] for line in rows(first) + rows(rest)] == sorted(made, reverse=True)
    assert "next: offset 2" in first
    assert rows(none) == []


@pytest.mark.asyncio
async def test_a_damaged_backup_is_told_as_such_to_who_may_verify_everything(strongroom: OpenStrongroom):
    async with strongroom(policy=LIMITED) as it, it.client() as ada, it.client("limited") as limited:
        made = await it.kept()
        manifest = it.house.vault.folder / "backups" / made / "manifest.json"
        manifest.chmod(0o600)
        manifest.write_bytes(manifest.read_bytes().replace(b"2500", b"2501"))
        listed = text_of(await ada.call_tool("list_backups", {}))
        other = text_of(await limited.call_tool("list_backups", {}))
        said = text_of(await ada.call_tool("restore_backup", {"backup": made, "name": "copy"}))
    assert rows(listed) == []
    assert f"damaged: `{made}`: the signature does not hold" in listed
    assert said.startswith("damaged:")
    assert made not in other


@pytest.mark.asyncio
async def test_the_tools_of_a_custodian_are_few_and_short(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada:
        offered = (await ada.list_tools()).tools
    assert {tool.name for tool in offered} == {
        *("create_backup", "list_backups", "verify_backup", "restore_backup", "whoami", "job")
    }
    assert sum(len(tool.model_dump_json(exclude_none=True, by_alias=True)) for tool in offered) < 10_000
