"""`ostiary backup`, `restore` and `drill` as a person runs them, on a real server; and what of it is on record."""

import asyncio
import json
import re
import shutil
import signal
import sys
from datetime import UTC, datetime

import asyncpg
from fix_backup import flip
from fix_custody import ROWS
from fix_person import Person
from fix_postgres import PostgresServer
from fix_retention import DAY, dated, logged, marked_at
from fix_server import Site
from fix_waiting import until

from ostiary.app import open_house
from ostiary.vault import open_vault
from ostiary_tools import cron
from ostiary_tools.control.schedules import ScheduleTable

BOGUS = "20260101T000000Z-0123abcd"
_WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'ostiary backup' AND wait_event_type = 'Lock'
"""


def test_a_newcomer_begins_backs_up_looks_and_restores_and_all_is_on_record(person: Person, postgres_server: PostgresServer):
    refused = person.runs("backup", "create")
    assert (refused.code, "`ostiary backup init`" in refused.err) == (1, True)
    begun = person.runs("backup", "init", "--recovery-key", str(person.stick / "recovery.key"))
    assert begun.code == 0
    assert "take it away from this machine now" in begun.err
    id_ = person.backs_up()
    [listed] = json.loads(person.does("backup", "list", "--json"))
    assert (listed["backup"], listed["datasource"], listed["rows"], listed["state"]) == (id_, "shop", str(ROWS), "unproven")
    assert person.does("backup", "list").startswith(f"{id_}  shop  logical  ")
    shown = json.loads(person.does("backup", "show", "shop", "--json"))
    assert (shown["backup"], shown["tables"], shown["rows"], shown["drills"]) == (id_, 2, ROWS, [])
    assert [member["name"] for member in shown["members"]] == ["database.dump.zst.age", "globals.sql.zst.age"]
    assert json.loads(person.does("backup", "verify", "shop", "--json"))["backup"] == id_
    asked = person.runs("restore", "shop", "shop_copy")
    assert (asked.code, "wants a human's approval" in asked.err) == (1, True)
    copy = f"copy_{person.database}"
    try:
        assert f"{ROWS:,} rows are as they were backed up" in person.does("restore", "shop", copy, "--yes")
        assert asyncio.run(rows_of(postgres_server, copy)) == ROWS
    finally:
        postgres_server.drop([copy])
    assert [event for event, _ in person.events()] == ["backups_beginning", "backups_begun"]
    tools = {"create_backup", "list_backups", "verify_backup", "restore_backup"}
    assert {call[:3] for call in person.calls()} == {(tool, "local", ("custodian",)) for tool in tools}
    recovery = re.search(r"AGE-SECRET-KEY-\S+", (person.stick / "recovery.key").read_text())
    assert recovery
    assert recovery[0] not in json.dumps(asyncio.run(person.site.records()))


async def rows_of(server: PostgresServer, database: str) -> int:
    connection = await asyncpg.connect(server.dsn(database=database))
    try:
        return int(await connection.fetchval("SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM orders)"))
    finally:
        await connection.close()


def test_a_backup_is_deleted_by_who_types_its_id_and_the_last_one_only_twice(person: Person):
    person.begins()
    first, second = person.backs_up(), person.backs_up()
    wrong = person.runs("backup", "delete", first, types="yes\n")
    assert (wrong.code, "error: that is not it: nothing was deleted" in wrong.err) == (2, True)
    assert person.events()[2:] == []
    assert person.runs("backup", "delete", first, types=f"{first}\n").code == 0
    last = person.runs("backup", "delete", second, types=f"{second}\n")
    assert (last.code, "it is the only backup of `shop`" in last.err) == (1, True)
    once = person.runs("backup", "delete", second, "--last", types=f"{second}\n")
    assert once.code == 1
    assert [path.name for path in person.backups.iterdir()] == [second]
    assert person.runs("backup", "delete", second, "--last", types=f"{second}\nshop\n").code == 0
    assert list(person.backups.iterdir()) == []
    told = [event for event in person.events() if event[0].startswith("backup_")]
    assert told == [(name, id_) for id_ in (first, second) for name in ("backup_deleting", "backup_deleted")]
    assert person.runs("backup", "delete", "../../x", types="../../x\n").code == 1
    assert person.runs("backup", "delete", BOGUS, types=f"{BOGUS}\n").err.startswith("error: there is no such backup\n")


def test_the_status_says_how_backups_stand(person: Person):
    assert "backups: none\n  there is no repository of backups yet" in person.runs("status").out
    person.begins()
    id_ = person.backs_up()
    told = json.loads(person.runs("status", "--json").out)["backups"]
    assert (told["count"], told["newest"]) == (1, [f"shop: {id_} (logical), unproven"])
    assert told["wrong"] == [
        "the newest one of `shop` is unproven; see `ostiary drill shop`",
        "there is no backup of the control database yet; make one with `ostiary backup create control`",
    ]
    person.does("drill")
    assert f"  shop: {id_} (logical), proven 20" in person.runs("status").out
    held = json.loads(person.does("backup", "show", "shop", "--json"))["drills"]
    assert [(one["passed"], one["damage"], one["checks"][0]["name"]) for one in held] == [(True, None, "bytes")]
    flip(person.backups / id_ / "database.dump.zst.age", 0.5)
    failed = person.runs("drill")
    assert (failed.code, "DAMAGED database.dump.zst.age" in failed.out) == (1, True)
    assert f"  shop: {id_} (logical), failed its drill 20" in person.runs("status").out


def test_damage_is_named_listed_and_deleted(person: Person):
    person.begins()
    id_ = person.backs_up()
    flip(person.backups / id_ / "database.dump.zst.age", 0.5)
    damaged = person.runs("backup", "verify", id_)
    assert (damaged.code, "`database.dump.zst.age` is damaged" in damaged.err) == (1, True)
    flip(person.backups / id_ / "manifest.json", 0.5)
    listed = person.runs("backup", "list")
    assert (listed.code, listed.out) == (0, "")
    assert f"damaged: `{id_}`: the signature does not hold" in listed.err
    for words in (("show", id_), ("verify", id_)):
        said = person.runs("backup", *words)
        assert (said.code, "damaged" in said.err) == (1, True)
    assert person.runs("backup", "delete", id_, types=f"{id_}\n").code == 0


def test_where_the_installation_is_lost_its_files_and_a_key_are_enough(person: Person):
    person.begins()
    id_ = person.backs_up()
    saved = person.site.folder / "saved"
    shutil.copytree(person.site.config.backup_folder, saved)
    for lost in (person.site.config.home.data, person.site.config.home.state):
        shutil.rmtree(lost)
    from_files = ("--repository", str(saved), "--identity", str(person.stick / "recovery.key"))

    unknown = person.runs("restore", "nothing", "copy", *from_files, alone=True)
    assert (unknown.code, f"`{id_}` of `shop`" in unknown.err) == (1, True)
    nowhere = person.runs("restore", "shop", "copy", "--to", "database", *from_files, alone=True)
    assert (nowhere.code, "there is no server" in nowhere.err) == (1, True)
    empty = person.runs("restore", "shop", "copy", "--repository", str(person.stick), "--identity", from_files[3], alone=True)
    assert (empty.code, "there is no repository of backups in" in empty.err) == (3, True)
    assert "the key of signatures was taken from the repository itself" in nowhere.err
    there = person.runs("restore", "shop", str(saved), "--table", "public.orders", *from_files, alone=True)
    assert (there.code, "already" in there.err) == (1, True)
    astray = person.runs("restore", "shop", "none/copy", "--table", "public.orders", *from_files, alone=True)
    assert (astray.code, "there is no folder that" in astray.err) == (1, True)
    before = set(person.site.folder.iterdir())
    made = person.runs("restore", "shop", "orders.sql", "--table", "public.orders", *from_files, "--json", alone=True)
    assert made.code == 0, made.err
    assert json.loads(made.out)["rows"] == 2000
    assert set(person.site.folder.iterdir()) - before == {person.site.folder / "orders.sql"}, "nothing is left beside it"
    assert b"COPY" in (person.site.folder / "orders.sql").read_bytes()
    assert not person.site.config.home.state.exists()
    assert not person.site.config.home.data.exists()


def test_an_altered_backup_is_not_restored_from_files_alone(person: Person):
    person.begins()
    id_ = person.backs_up()
    flip(person.backups / id_ / "manifest.json", 0.5)
    key = str(person.stick / "recovery.key")
    said = person.runs("restore", id_, "copy", "--repository", str(person.site.config.backup_folder), "--identity", key, alone=True)
    assert (said.code, "the signature does not hold" in said.err) == (1, True)
    assert not (person.site.folder / "copy").exists()


def test_a_role_that_may_not_is_told_so_and_others_do_not_exist(person: Person):
    person.begins()
    id_ = person.backs_up()
    analyst = person.runs("backup", "create", "--role", "analyst")
    assert (analyst.code, "may not call `create_backup`" in analyst.err) == (1, True)
    unknown = person.runs("backup", "show", BOGUS, "--role", "analyst")
    hidden = person.runs("backup", "show", id_, "--role", "analyst")
    assert hidden.err.replace(id_, BOGUS) == unknown.err
    assert person.runs("backup", "list", "--role", "nobody").code == 2
    by_datasource = person.runs("backup", "verify", "shop", "--role", "analyst")
    assert (by_datasource.code, "may not call" in by_datasource.err) == (1, True)


def test_a_backup_that_is_called_off_at_the_keyboard_leaves_nothing(person: Person):
    person.begins()
    words = ("backup", "create", "--config", str(person.site.folder / "ostiary.toml"))

    async def called_off() -> int:
        dsn = person.site.server.dsn(database=person.database)
        connection, onlooker = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
                # Where the tests run in the background the signal is ignored, and what they start would ignore it, too.
                before = signal.signal(signal.SIGINT, signal.default_int_handler)
                command = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "ostiary", *words, stderr=asyncio.subprocess.DEVNULL
                )
                signal.signal(signal.SIGINT, before)

                async def waits() -> bool:
                    return bool(await onlooker.fetchval(_WAITS))

                await until(waits, 60)
                command.send_signal(signal.SIGINT)
                return await command.wait()
        finally:
            await connection.close()
            await onlooker.close()

    assert asyncio.run(called_off()) == 130
    assert list(person.backups.glob("*")) == []
    assert [path.name for path in (person.site.config.backup_folder / "staging").glob("*") if path.suffix != ".lock"] == []
    assert person.backs_up()


def test_what_no_plan_keeps_is_deleted_by_who_types_it_after_its_grace_and_an_agent_cannot(person: Person):
    person.begins()
    with (person.site.folder / "ostiary.toml").open("a") as file:
        file.write("\n[plans.shop]\nkeep_last = 1\nkeep_days = 7\n")
    repository = open_vault(person.site.config, None).repository()
    old, older, new = (dated(repository, days) for days in (20, 30, 1))
    logged(repository, [1])
    nothing = person.runs("backup", "expire")
    assert (nothing.code, nothing.out) == (0, "")
    assert "nothing is to be deleted now" in nothing.err
    for one, days in ((older, 8), (old, 1)):
        asyncio.run(marked_at(person.site, repository, one, datetime.now(UTC) - days * DAY, 7 * DAY))
    assert [line.rpartition("unproven")[2][:13] for line in person.does("backup", "list").splitlines()] == [
        "",
        *[", goes after "] * 2,
    ]
    assert json.loads(person.does("backup", "show", old.id, "--json"))["goes_after"]
    assert person.does("backup", "expire", "--dry-run").startswith(f"{older.id}  shop  logical  ")
    assert json.loads(person.does("backup", "expire", "--dry-run", "--json"))["backups"] == [older.id]
    wrong = person.runs("backup", "expire", types="yes\n")
    assert (wrong.code, "that is not it: nothing was deleted" in wrong.err) == (2, True)
    done = person.runs("backup", "expire", types="delete 1\n")
    assert (done.code, "deleted 1 backup and 0 segments of the log" in done.err) == (0, True)
    assert [one.id for one in repository.listed()] == [old.id, new.id]
    told = [event for event in person.events() if event[0].startswith("backup_")]
    assert told == [("backup_expiring", older.id), ("backup_expired", older.id)]


def test_how_plans_stand_is_told_with_an_exit_code_for_machines(person: Person):
    assert "no plan asks for anything" in person.runs("backup", "plans").err
    with (person.site.folder / "ostiary.toml").open("a") as file:
        file.write('\n[jobs]\nworker = "own"\n[plans.shop]\nlogical = "0 2 * * *"\n')
    unseen = person.runs("backup", "plans")
    assert (unseen.code, unseen.out.startswith("shop  logical  0 2 * * *  next 20")) == (1, True)
    assert "not asked for yet, 0 s late: does `ostiary worker` run?" in unseen.out
    asyncio.run(failing(person.site))
    said = person.runs("backup", "plans")
    assert (said.code, said.err) == (1, "")
    assert "Z failed: unavailable: the server is away" in said.out
    assert "late" not in said.out
    [one] = json.loads(person.runs("backup", "plans", "--json").out)
    assert (one["state"], one["is_late"]) == ("failed", False)


async def failing(site: Site) -> None:
    """As a worker leaves it."""
    async with open_house(site.config, lambda _: None) as house:
        table = ScheduleTable(house.queue.table.link, house.queue.table.key)
        due = cron.latest("0 2 * * *", await table.now())
        await table.begin("shop", "logical", "0 2 * * *", due)
        await table.failed("shop", "logical", due, "unavailable: the server is away")
