"""`ostiary classify` on real databases: what it proposes, that no value leaves it, and what it leaves alone."""

import asyncio
import json
import subprocess
import tomllib
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_server import SAMPLE_OWNER, MakeSite, Site

from ostiary.config import load
from ostiary.exits import Exit
from ostiary_tools.datasources.catalog import parse_tags

_SAMPLE = resources.files("ostiary_tools.embedded")
SHOP, COMMENTS = (
    "\n".join(_SAMPLE.joinpath(name).read_text("utf-8") for name in names)
    for names in (("shop/schema.sql", "shop/data.sql"), ("shop/comments.sql",))
)
NOT_TOLD = {"public.products.purchase_price"}
"""A secret of this house alone: no name, type or value of it is another's."""
CANARY = "Canaryqxz"


def classify(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return site.command("classify", *arguments)


def proposed(text: str, datasource: str = "shop") -> dict[str, list[str]]:
    found: dict[str, list[str]] = tomllib.loads(text)["datasources"][datasource].get("tags", {})
    return found


@pytest.mark.slow
@pytest.mark.asyncio
async def test_without_its_comments_the_shop_is_tagged_as_its_comments_say(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer, tmp_path: Path
):
    """Every column that its owner tagged but one, with each of its kinds, and no other column."""
    database = await make_database(f"{SAMPLE_OWNER} BEGIN; {SHOP} COMMIT;")
    dsn = postgres_server.dsn(database=database)
    site = await make_site({"shop": dsn})
    done = await asyncio.to_thread(classify, site, "shop")
    assert done.returncode == Exit.OK, done.stderr
    await asyncio.to_thread(postgres_server.sql, COMMENTS, database)
    connection = await asyncpg.connect(dsn)
    try:
        told = await connection.fetch(
            "select attrelid::regclass::text as relation, attname, col_description(attrelid, attnum) as comment "
            "from pg_attribute where attnum > 0 and col_description(attrelid, attnum) is not null"
        )
    finally:
        await connection.close()
    tags = {f"public.{row['relation']}.{row['attname']}": parse_tags(row["comment"]) for row in told}
    found = proposed(done.stdout)
    assert found.keys() == {column for column, words in tags.items() if words} - NOT_TOLD
    assert [column for column, words in found.items() if not tags[column].issuperset(words)] == []
    assert "# email: 1000 of 1000 values, name" in done.stdout
    assert "0 tagged so already" in done.stderr
    again = await asyncio.to_thread(classify, site, "--out", str(tmp_path / "tags.toml"))
    assert again.returncode == Exit.OK, again.stderr
    assert proposed((tmp_path / "tags.toml").read_text()) == {}
    assert "0 columns to tag, 15 tagged so already" in again.stderr


TRAPS = f"""
CREATE TABLE people (contact text, note text, born date, "full
name" text, "a.b" text, doc jsonb, mails text[]);
INSERT INTO people SELECT '{CANARY}' || i || '@example.com', 'wrote to {CANARY}' || i || '@example.org', '1980-01-01',
    '{CANARY}', '{CANARY}' || i || '@example.com', jsonb_build_object('to', '{CANARY}' || i || '@example.com'),
    ARRAY['{CANARY}' || i || '@example.net']
    FROM generate_series(1, 50) i;
CREATE TABLE "x""]
[policy]
bundles = [" (email text);
CREATE TABLE "\x1b[2Jscreen" (email text);
CREATE TABLE secretive (email text);
INSERT INTO secretive VALUES ('{CANARY}@example.com');
CREATE FUNCTION told(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION '%', $1; END$$;
CREATE VIEW traps AS SELECT told(contact) AS email, contact FROM people;
CREATE VIEW broken AS SELECT 1 / (length(contact) - length(contact)) AS quotient, contact::int AS cast_of FROM people;
CREATE VIEW plain AS SELECT contact AS c FROM people;
CREATE TABLE fenced (email text);
INSERT INTO fenced VALUES ('{CANARY}@example.com');
ALTER TABLE fenced ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON fenced USING (told(email) IS NOT NULL);
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '/nowhere');
CREATE TABLE parted (day date, email text) PARTITION BY RANGE (day);
CREATE FOREIGN TABLE far PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') SERVER elsewhere;
CREATE DOMAIN trap AS text CHECK (VALUE = '{CANARY}' OR told(VALUE) IS NULL);
CREATE TABLE typed (checked trap);
INSERT INTO typed VALUES ('{CANARY}');
CREATE TABLE empty (email text, size int);
CREATE TABLE nothing ();
CREATE TABLE many (id bigint, owner text);
INSERT INTO many SELECT i, CASE WHEN i > 30000 THEN '{CANARY}' || i || '@example.com' END FROM generate_series(1, 60000) i;
ANALYZE many;
CREATE ROLE looker LOGIN;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker;
REVOKE ALL ON secretive FROM looker;
"""


@pytest.mark.slow
@pytest.mark.asyncio
async def test_no_value_leaves_it_and_hostile_names_stay_names(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    """Values that errors quote, names that would be lines of the file, functions that wait to be run."""
    database = await make_database(TRAPS)
    try:
        site = await make_site({"shop": postgres_server.dsn("looker", database)})
        done, as_json = [await asyncio.to_thread(classify, site, *options) for options in ((), ("--json", "--sample", "40"))]
        assert (done.returncode, as_json.returncode) == (Exit.OK, Exit.OK), done.stderr + as_json.stderr
        assert not [text for text in (done.stdout, done.stderr, as_json.stdout, as_json.stderr) if CANARY in text or "\x1b" in text]
        assert tomllib.loads(done.stdout).keys() == {"datasources"}
        found = proposed(done.stdout)
        assert found == {
            "public.people.contact": ["pii:email"],
            "public.people.note": ["pii:email"],
            "public.people.doc": ["pii:email"],
            "public.people.mails": ["pii:email"],
            "public.people.born": ["pii:birth_date"],
            "public.people.full\nname": ["pii:name"],
            'public.x"]\n[policy]\nbundles = [.email': ["pii:email"],
            "public.\x1b[2Jscreen.email": ["pii:email"],
            "public.secretive.email": ["pii:email"],
            "public.traps.email": ["pii:email"],
            "public.plain.c": ["pii:email"],
            "public.fenced.email": ["pii:email"],
            "public.empty.email": ["pii:email"],
            "public.far.email": ["pii:email"],
            "public.parted.email": ["pii:email"],
            "public.many.owner": ["pii:email"],
        }
        assert '# "public.people.a.b" = ["pii:email"]' in done.stdout, "the configuration cannot name it"
        [shop] = json.loads(as_json.stdout)
        why = {table["table"]: table["why"] for table in shop["unread"] if not table["column"]}
        assert why.keys() == {"secretive", "traps", "fenced", "broken", "far", "parted"}
        assert [(one["table"], one["column"]) for one in shop["unread"] if one["column"]] == [("typed", "checked")]
        assert why["secretive"] == "the database refused it (SQLSTATE 42501)"
        assert why["traps"] == why["fenced"] == "reading it runs functions"
        [people] = [column for column in shop["columns"] if column["column"] == "contact" and column["table"] == "people"]
        assert people["evidence"] == [{"kind": "email", "scheme": "", "name": False, "values": 40, "sampled": 40, "within": False}]
        [many] = [column["evidence"][0] for column in shop["columns"] if column["table"] == "many"]
        assert 0 < many["sampled"] <= 40, "drawn from all over it, where the first rows are null"
    finally:
        await asyncio.to_thread(postgres_server.sql, "DROP OWNED BY looker; DROP ROLE looker", database)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_what_it_writes_is_read_as_configuration(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer, tmp_path: Path
):
    database = await make_database("CREATE TABLE people (email text, \"it's\" text); COMMENT ON TABLE people IS '@secret'")
    site = await make_site({"shop": postgres_server.dsn(database=database)})
    out = tmp_path / "tags.toml"
    done = await asyncio.to_thread(classify, site, "shop", "--out", str(out))
    assert (done.returncode, done.stdout) == (Exit.OK, ""), done.stderr
    file = tmp_path / "ostiary.toml"
    file.write_text('[datasources.shop]\ndsn = "env:SHOP_DSN"\n' + out.read_text())
    config = load(file, {"SHOP_DSN": "postgresql:///shop", "HOME": str(tmp_path)}, {})
    assert config.datasources["shop"].tags == {"public.people.email": ("pii:email",)}
    refused = await asyncio.to_thread(classify, site, "shop", "--out", str(out))
    assert (refused.returncode, "is there already" in refused.stderr) == (Exit.USAGE, True)
    assert (await asyncio.to_thread(classify, site, "shop", "--out", str(out), "--force")).returncode == Exit.OK
    unwritable = await asyncio.to_thread(classify, site, "shop", "--out", str(tmp_path / "no" / "tags.toml"))
    assert (unwritable.returncode, "cannot write" in unwritable.stderr) == (Exit.USAGE, True)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_exit_code_says_what_is_wrong(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer, tmp_path: Path
):
    """One that cannot be reached does not keep the others from being looked at."""
    database = await make_database("CREATE TABLE people (email text)")
    site = await make_site({"gone": postgres_server.dsn(database="not_there"), "shop": postgres_server.dsn(database=database)})
    both = await asyncio.to_thread(classify, site)
    assert both.returncode == Exit.UNAVAILABLE
    assert "error: datasource `gone` cannot be reached" in both.stderr
    assert proposed(both.stdout) == {"public.people.email": ["pii:email"]}
    unknown = await asyncio.to_thread(classify, site, "shoes")
    assert (unknown.returncode, unknown.stdout) == (Exit.USAGE, "")
    assert "there is no datasource `shoes`" in unknown.stderr
    assert "choose among `gone`, `shop`" in unknown.stderr
    over = await make_site({"shop": postgres_server.dsn(database=database)}, accepted_powers=())
    out = tmp_path / "tags.toml"
    refused = await asyncio.to_thread(classify, over, "--out", str(out))
    assert not out.exists()
    assert (refused.returncode, refused.stdout) == (Exit.UNAVAILABLE, "")
    assert "`ostiary doctor`" in refused.stderr
