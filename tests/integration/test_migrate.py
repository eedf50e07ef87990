"""`ostiary migrate`: people's changes of a schema, on record, and taken back."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site

from ostiary.cli import main

SHOP = """
CREATE TABLE orders (id integer PRIMARY KEY, note text);
INSERT INTO orders SELECT n, 'n' || n FROM generate_series(1, 250) n;
"""
FILES = {
    "0001_remark.sql": """
ALTER TABLE orders ADD COLUMN remark text;
COMMENT ON COLUMN orders.remark IS 'what we say';
-- in batches
UPDATE orders SET remark = note WHERE id IN (SELECT id FROM orders WHERE remark IS NULL LIMIT 100);
CREATE INDEX CONCURRENTLY orders_remark ON orders (remark);
""",
    "0002_sizes.sql": "CREATE TABLE sizes (id integer);\n-- reverse\nDROP TABLE sizes;\n",
}


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Desk(NamedTuple):
    """Where a person sits."""

    site: Site
    database: str
    run: Callable[..., Said]

    @property
    def folder(self) -> Path:
        """Where the migrations are."""
        return self.site.folder / "migrations"

    def write(self, files: Mapping[str, str]) -> None:
        """Write files of migrations."""
        self.folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def ask(self, query: str) -> Any:
        """Ask the database."""
        return asyncio.run(self._ask(query))

    async def _ask(self, query: str) -> Any:
        connection = await asyncpg.connect(self.site.server.dsn(database=self.database))
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    def events(self) -> list[str]:
        """What is on record."""
        return [r["event"] for r in asyncio.run(self.site.records()) if str(r.get("event", "")).startswith("migration")]

    def states(self) -> dict[str, str]:
        """What `list` says."""
        said = self.run("list", "--json")
        return {one["migration"]: one["state"] for one in json.loads(said.out)["migrations"]}


@pytest.fixture
def desk(
    make_site: MakeSite,
    make_database: Callable[[str], Awaitable[str]],
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    async def made() -> tuple[str, Site]:
        database = await make_database(SHOP)
        return database, await make_site({"shop": postgres_server.dsn(database=database)})

    database, site = asyncio.run(made())
    path = site.folder / "ostiary.toml"
    login = f'[datasources.shop]\nmigrations_dsn = "{postgres_server.dsn(database=database)}"'
    text = path.read_text().replace("[datasources.shop]", login, 1)
    path.write_text(text.replace("[control]", f'[control]\nadmin_dsn = "{postgres_server.dsn(database=site.control)}"'))
    monkeypatch.chdir(site.folder)

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["migrate", *arguments, "--config", str(path)])
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return Desk(site, database, run)


def test_what_is_applied_is_on_record_and_taken_back(desk: Desk):
    desk.write(FILES)
    assert desk.states() == {"0001_remark": "pending", "0002_sizes": "pending"}
    said = desk.run("apply", "--yes")
    assert said.code == 0, said.err
    assert "250 rows so far" in said.err
    assert desk.ask("SELECT count(*) FROM orders WHERE remark = note") == 250
    assert desk.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_remark'::regclass")
    assert desk.states() == {"0001_remark": "applied", "0002_sizes": "applied"}
    assert desk.events() == ["migration_begun", "migration_applied"] * 2
    assert "nothing is pending" in desk.run("apply", "--yes").err

    assert [desk.run("revert", "--yes").code for _ in range(3)] == [0, 0, 1], "the third finds none"
    assert (
        desk.ask("SELECT count(*) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0 AND NOT attisdropped") == 2
    )
    assert desk.ask("SELECT to_regclass('sizes')") is None
    assert desk.states() == {"0001_remark": "pending", "0002_sizes": "pending"}
    assert desk.events()[4:] == ["migration_reverting", "migration_reverted"] * 2


def test_a_migration_that_fails_leaves_nothing_where_it_is_one_transaction(desk: Desk):
    desk.write({"0001_two.sql": "CREATE TABLE a (id int); ALTER TABLE nowhere ADD COLUMN x int"})
    said = desk.run("apply", "--yes")
    assert said.code == 1
    assert "nothing of it holds" in said.err
    assert desk.ask("SELECT to_regclass('a')") is None
    assert desk.states() == {"0001_two": "pending"}
    assert desk.events() == ["migration_begun", "migration_failed"]


def test_one_that_broke_off_in_its_midst_is_settled_by_a_person(desk: Desk):
    desk.write({"0001_two.sql": "CREATE INDEX CONCURRENTLY i ON orders (note); ALTER TABLE nowhere ADD COLUMN x int"})
    said = desk.run("apply", "--yes")
    assert "statements 1 to 1 hold" in said.err
    assert desk.states() == {"0001_two": "begun"}
    assert "was broken off" in desk.run("apply", "--yes").err
    assert "was broken off" in desk.run("revert", "--yes").err
    assert desk.run("settle", "1", "--not-applied").code == 0
    assert desk.states() == {"0001_two": "pending"}
    assert desk.events()[-1] == "migration_settled"


def test_files_that_changed_or_come_late_are_refused(desk: Desk):
    desk.write({"0002_a.sql": "CREATE TABLE a (id int)"})
    assert desk.run("apply", "--yes").code == 0
    desk.write({"0001_late.sql": "CREATE TABLE b (id int)"})
    assert "comes before one that was applied" in desk.run("apply", "--yes").err
    (desk.folder / "0001_late.sql").unlink()
    desk.write({"0002_a.sql": "CREATE TABLE a (id bigint)"})
    assert "no longer what was applied" in desk.run("apply", "--yes").err
    assert desk.states() == {"0002_a": "changed"}
    (desk.folder / "0002_a.sql").unlink()
    assert desk.states() == {"0002_a": "missing"}


def test_a_lock_is_tried_for_so_often_and_then_nothing_holds(desk: Desk):
    desk.write({"0001_x.sql": "ALTER TABLE orders ADD COLUMN x int"})

    async def meanwhile() -> Said:
        connection = await asyncpg.connect(desk.site.server.dsn(database=desk.database))
        try:
            await connection.execute("BEGIN; LOCK TABLE orders IN ACCESS SHARE MODE")
            return await asyncio.to_thread(desk.run, "apply", "--yes", "--lock-timeout", "0.1", "--attempts", "2")
        finally:
            await connection.close()

    said = asyncio.run(meanwhile())
    assert said.code == 1
    assert "attempt 1 of 2" in said.err
    assert "a lock was not to be had (55P03); nothing of it holds" in said.err
    assert desk.states() == {"0001_x": "pending"}


def test_a_plan_says_what_is_dangerous_and_runs_nothing(desk: Desk):
    said = desk.run("plan", "ALTER TABLE orders ALTER COLUMN note SET NOT NULL", "--json")
    assert said.code == 1
    [plan] = json.loads(said.out)
    [step] = plan["steps"]
    assert step["locks"] == {"public.orders": "ACCESS EXCLUSIVE"}
    assert (step["rewrites"], step["scans"]) == (False, True)
    assert [one["stage"] for one in step["advice"]] == ["expand", "migrate", "contract"]
    assert plan["reverse"] == ["ALTER TABLE public.orders ALTER COLUMN note DROP NOT NULL"]
    assert desk.run("plan", "ALTER TABLE orders ADD COLUMN x int").code == 0
    assert desk.run("plan", "this is no SQL").code == 1
    assert desk.ask("SELECT attnotnull FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'note'") is False


def test_who_runs_it_is_named_by_reference_and_is_no_agent(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    desk.write({"0001_x.sql": "ALTER TABLE orders ADD COLUMN x int"})
    path = desk.site.folder / "ostiary.toml"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("migrations_dsn")))
    said = desk.run("apply", "--yes")
    assert (said.code, "no login for migrations" in said.err) == (2, True)
    assert desk.run("apply", "--yes", "--dsn", "postgresql://u:secret@h/d").code == 2
    monkeypatch.setenv("OWNER_DSN", desk.site.server.dsn(database=desk.database))
    assert desk.run("apply", "--yes", "--dsn", "env:OWNER_DSN").code == 0


def test_nothing_is_run_without_a_yes(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    desk.write({"0001_x.sql": "ALTER TABLE orders ADD COLUMN x int"})
    monkeypatch.setattr("typer.confirm", lambda _: False)
    assert "nothing was run" in desk.run("apply").err
    assert desk.states() == {"0001_x": "pending"}
    assert desk.events() == []


def test_an_alembic_environment_is_read_and_never_run(desk: Desk):
    versions = desk.site.folder / "alembic" / "versions"
    versions.mkdir(parents=True)
    trap = "import pathlib\npathlib.Path('ran').touch()\n"
    (versions / "a.py").write_text(f'"""first"""\n{trap}revision = "aa"\ndown_revision = None\n')
    (versions / "b.py").write_text(f'"""second"""\n{trap}revision: str = "bb"\ndown_revision: str = "aa"\n')
    (versions / "c.py").write_text('"""both"""\nrevision = "cc"\ndown_revision = ("aa", "xx")\n')
    (versions / "d.py").write_text("revision = print('no')\n")
    (versions / "e.py").write_text("this is no Python")
    said = desk.run("list", "--alembic", str(desk.site.folder), "--json")
    found = json.loads(said.out)["alembic"]
    assert [(one["revision"], one["down"], one["head"]) for one in found] == [
        ("aa", [], False),
        ("bb", ["aa"], True),
        ("cc", ["aa", "xx"], True),
    ]
    assert not (desk.site.folder / "ran").exists()
    assert desk.run("list", "--alembic", str(desk.site.folder / "nowhere")).code == 2
