"""Policies as PostgreSQL's own grants and row security: a login has natively what its agent gets, and whatever differs is found."""

import asyncio
import json
import re
import tomllib
import uuid
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import pytest
from fix_answers import agrees, answered, connected, read, text_of
from fix_attacks import CASES
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from fix_sql import CASES as JUDGE_CASES
from fix_sql import cases, snapshot_of
from mcp import Client

from ostiary.app import open_house
from ostiary.exits import CommandFailed, Exit
from ostiary.mcp_app import McpApp
from ostiary.native import Installed, installed, natively
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.model import Principal
from ostiary_tools.datasources.native import as_plain, looking
from ostiary_tools.datasources.opening import PostgresSettings
from ostiary_tools.identifiers import quoted
from ostiary_tools.native.agreement import Rows, of_rows
from ostiary_tools.native.installation import Wanted

WHO = Principal("honest", ("reader",))
SHOP = (JUDGE_CASES / "shop.sql").read_text("utf-8")
RULES = re.sub(r'@id\("mask-[a-z]+"\) @mask.*?;\n', "", (CASES / "differential" / "shop.cedar").read_text("utf-8"), flags=re.DOTALL)
"""Row rules, and columns that nobody may read."""
MakeDatabase = Callable[[str], Awaitable[str]]


@pytest.fixture
def login(postgres_server: PostgresServer) -> Iterator[Callable[..., str]]:
    """Names of logins for a test alone; asked for before its databases, so that these are gone when the login is dropped."""
    made: list[str] = []

    def make(name: str = "native_") -> str:
        made.append(f"{name}{uuid.uuid4().hex[:6]}")
        return made[-1]

    yield make
    for name in made:
        for role in (name, f"{name}_group", f"{name}_giver"):
            postgres_server.sql(f"DROP ROLE IF EXISTS {quoted(role)}")


async def make_so(server: PostgresServer, site: Site, database: str, name: str, who: Principal = WHO) -> str:
    """Install twice, the second time as it is printed over the first."""
    script = ""
    for _ in range(2):
        script = (await natively(site.config, who, name, "shop")).sql
        await asyncio.to_thread(server.sql, script, database)
    return script


async def checked(site: Site, name: str, who: Principal = WHO, *, rows: bool = False) -> Installed:
    return await installed(site.config, who, name, "shop", rows=rows)


@pytest.mark.asyncio
async def test_the_login_gets_natively_what_the_gate_gives(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """Honest statements of every kind; only a star over a table with hidden columns is answered by the gate alone."""
    database, name = await make_database(SHOP + "ANALYZE;"), login()
    site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=RULES)
    await make_so(postgres_server, site, database, name)
    found = await checked(site, name)
    assert found.differences == ()
    wrong, alike, denied = [], 0, 0
    async with (
        open_house(site.config, lambda _: None) as house,
        connected(postgres_server.dsn(name, database)) as bare,
        Client(McpApp(house.gate, lambda _: WHO).server) as client,
    ):
        for case in list(cases("honest"))[::3]:
            if case.sql.lower().startswith("explain"):
                continue
            reply = await client.call_tool("query", {"sql": case.sql})
            said = text_of(reply)
            try:
                expected = await answered(bare, case.sql)
            except asyncpg.InsufficientPrivilegeError:
                denied += 1
                continue
            except asyncpg.PostgresError:
                expected = None
            if reply.is_error or expected is None:
                # The gate refuses to sample; natively a sample shows the login's own rows.
                if not (reply.is_error and expected is None) and "rule: sampling" not in said:
                    wrong.append(f"{case.title}: {said} and {expected}")
                continue
            alike += 1
            gate = read(said)
            if not agrees(gate, expected, cut="TRUNCATED" in said):
                wrong.append(f"{case.title}: {gate} and not {expected}")
    assert wrong == [], "\n".join(wrong)
    assert alike >= 100
    assert denied <= 30


HOUSE = """
CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, region text, email text, salary int);
INSERT INTO people VALUES (1, 'Ann', 'north', 'ann@example.org', 10),
    (2, 'Bo', 'south', 'bo@example.org', 20), (3, 'Cy', NULL, NULL, 30);
CREATE TABLE events (id int, day date NOT NULL, region text) PARTITION BY RANGE (day);
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO events VALUES (1, '2024-05-01', 'north'), (2, '2024-06-01', 'south'),
    (3, '2025-05-01', 'north'), (4, '2025-06-01', NULL);
CREATE TABLE places (id int, region text);
CREATE TABLE towns (mayor text) INHERITS (places);
INSERT INTO places VALUES (1, 'north'), (2, 'south');
INSERT INTO towns VALUES (3, 'north', 'Di'), (4, 'south', 'Ed');
CREATE TABLE open (id int, note text);
INSERT INTO open VALUES (1, 'a'), (2, 'b');
CREATE TABLE vault (token text);
CREATE TABLE asked (id int);
CREATE TABLE half (id int, secret text);
CREATE FUNCTION handed() RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
CREATE VIEW northerners WITH (security_barrier) AS SELECT id, name FROM people WHERE region = 'north';
CREATE VIEW leaky AS SELECT id FROM people WHERE region = 'north';
CREATE VIEW over_leaky AS SELECT id FROM leaky;
CREATE VIEW rows_of AS SELECT id, to_jsonb(h) AS row FROM half h WHERE id > 0;
CREATE VIEW fetched AS SELECT a FROM handed() AS f (a) WHERE a > 1;
CREATE VIEW token AS SELECT length(token) FROM vault;
CREATE VIEW everybody AS SELECT id FROM people;
CREATE VIEW noted AS SELECT note FROM open;
CREATE MATERIALIZED VIEW counted AS SELECT region, count(*) FROM people GROUP BY region;
CREATE SEQUENCE numbers;
"""
HOUSE_RULES = """
@id("does") permit (principal in Role::"reader", action in [Action::"call", Action::"see"], resource);
@id("reads-tables") permit (principal in Role::"reader", action == Action::"read", resource is Table)
unless { resource == Table::"shop.public.vault" };
@id("asks-tables") @approval("human")
permit (principal in Role::"reader", action == Action::"read", resource == Table::"shop.public.asked");
@id("asks-columns") @approval("human")
permit (principal in Role::"reader", action == Action::"read", resource == Column::"shop.public.half.secret");
@id("reads-columns") permit (principal in Role::"reader", action == Action::"read", resource is Column)
unless {
  [Column::"shop.public.people.salary", Column::"shop.public.people.email", Column::"shop.public.vault.token"].contains(resource)
};
@id("mask-email") @mask("email")
permit (principal in Role::"reader", action == Action::"read_masked", resource == Column::"shop.public.people.email");
@id("people") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::people)
when { resource has region && resource.region == "north" };
@id("events") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::events)
when { resource has region && resource.region == "north" };
@id("places") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::places)
when { resource has region && resource.region == "north" };
@id("northerners") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::northerners);
@id("leaky") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::leaky);
@id("over") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::over_leaky);
@id("counted") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::counted)
when { resource has region && resource.region == "north" };
"""
NATIVELY = {
    "SELECT id, name, region FROM people": [(1, "Ann", "north")],
    "SELECT count(*) FROM people": [(1,)],
    "SELECT id FROM events ORDER BY id": [(1,), (3,)],
    "SELECT id FROM events_2024": [(1,)],
    "SELECT id FROM places ORDER BY id": [(1,), (3,)],
    "SELECT id FROM ONLY places": [(1,)],
    "SELECT mayor FROM towns": [("Di",)],
    "SELECT * FROM open ORDER BY id": [(1, "a"), (2, "b")],
    "SELECT * FROM northerners": [(1, "Ann")],
    "SELECT * FROM noted": [("a",), ("b",)],
}
"""What the login has by itself → the rows."""
DENIED = [
    "SELECT * FROM people", "SELECT email FROM people", "SELECT salary FROM people", "SELECT people FROM people", "TABLE vault",
    "SELECT * FROM everybody", "SELECT * FROM leaky",
    "SELECT * FROM over_leaky", "SELECT * FROM token", "SELECT id FROM rows_of", "SELECT a FROM fetched",
    "SELECT * FROM counted", "SELECT last_value FROM numbers",
    "INSERT INTO open VALUES (3, 'c')", "SELECT id FROM asked", "SELECT secret FROM half",
    "SELECT ctid FROM open", "SELECT id FROM people FOR UPDATE",
]  # fmt: skip


async def native_house(
    make_site: MakeSite, make_database: MakeDatabase, server: PostgresServer, name: str, more: str = ""
) -> tuple[Site, str]:
    database = await make_database(HOUSE + more)
    site = await make_site({"shop": server.dsn(database=database)}, policy=HOUSE_RULES)
    await make_so(server, site, database, name)
    return site, database


@pytest.mark.asyncio
async def test_partitions_children_and_views_are_as_the_rules_say(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """Each also by its own name; what grants cannot say is closed, and told with its reason."""
    name = login()
    site, database = await native_house(make_site, make_database, postgres_server, name)
    found = await checked(site, name, rows=True)
    assert found.differences == ()
    leaks = "a condition of the login's own may be asked of rows that the view leaves out; make it a `security_barrier`"
    unsaid = "`everybody` shows rows of a table that has row rules, and no row rule speaks of `everybody`"
    assert sorted(found.notes) == sorted(
        (
            "`public.counted` is not granted: row security cannot filter a materialized view",
            f"`public.everybody` is not granted: {unsaid}",
            *(f"`public.{name}` is not granted: {leaks}" for name in ("fetched", "leaky", "over_leaky", "rows_of", "token")),
            "`public.asked` is not granted: a human is asked before any read of it",
            "a human is asked before any read of `secret` of `public.half`: not granted",
            "`email` of `public.people` can be read through a mask, and a grant would give the values: not granted",
        )
    )
    async with connected(postgres_server.dsn(name, database)) as bare:
        for sql, rows in NATIVELY.items():
            assert [tuple(row) for row in await bare.fetch(sql)] == rows, sql
        for sql in DENIED:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await bare.fetch(sql)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_whatever_is_changed_afterwards_is_found_and_can_be_made_good(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    name = login()
    site, database = await native_house(make_site, make_database, postgres_server, name)
    for changes in tomllib.loads((CASES / "native" / "tampered.toml").read_text("utf-8")).values():
        done, expected, good = (
            [change.get(key, "").format(name, database) for change in changes] for key in ("done", "difference", "good")
        )
        await asyncio.to_thread(postgres_server.sql, ";".join(done), database)
        told = {one.sentence for one in (await checked(site, name)).differences}
        assert set(expected) <= told, told
        await asyncio.to_thread(postgres_server.sql, ";".join(good), database)
        await asyncio.to_thread(postgres_server.sql, (await natively(site.config, WHO, name, "shop")).sql, database)
        assert (await checked(site, name)).differences == (), done


@pytest.mark.asyncio
async def test_who_had_rights_before_keeps_every_row(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """By a role of its own, by one of the server's own, and whatever everybody had is told; the agent's login has no more by it."""
    name, app = login(), login()
    more = f"CREATE ROLE {app} LOGIN; GRANT SELECT, UPDATE ON people TO {app}; GRANT pg_read_all_data TO {app};"
    more += "GRANT SELECT ON places TO PUBLIC;"
    site, database = await native_house(make_site, make_database, postgres_server, name, more)
    assert (await checked(site, name)).differences == ()
    async with connected(postgres_server.dsn(app, database)) as bare:
        assert await bare.fetchval("SELECT count(*) FROM people") == 3
        assert await bare.execute("UPDATE people SET name = name") == "UPDATE 3"
        assert await bare.fetchval("SELECT count(*) FROM events") == 4, "read by a right on every table"
        assert await bare.fetchval("SELECT count(*) FROM places") == 4
    async with connected(postgres_server.dsn(name, database)) as bare:
        assert await bare.fetchval("SELECT count(*) FROM places") == 2
        assert await bare.fetchval("SELECT count(*) FROM people") == 1


LEAK = """
CREATE FUNCTION pg_temp.leak(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
AS $$BEGIN RAISE NOTICE 'seen: %', $1; RETURN true; END$$;
"""


@pytest.mark.asyncio
async def test_conditions_of_the_logins_own_meet_its_own_rows_alone(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """However cheap: functions that tell, divisions and casts that fail, over tables, parts, children and a barrier."""
    name = login()
    _, database = await native_house(make_site, make_database, postgres_server, name, "ANALYZE;")
    bare = await asyncpg.connect(postgres_server.dsn(name, database))
    told: list[str] = []
    bare.add_log_listener(lambda _, message: told.append(str(message.message)))
    try:
        await bare.execute(LEAK)
        for sql, seen in (
            ("SELECT id FROM people WHERE pg_temp.leak(name)", {"Ann"}),
            ("SELECT p.id FROM people p JOIN open o ON pg_temp.leak(p.name || o.note)", {"Anna", "Annb"}),
            ("SELECT id FROM northerners WHERE pg_temp.leak(name)", {"Ann"}),
            ("SELECT id FROM events WHERE pg_temp.leak(id)", {"1", "3"}),
            ("SELECT id FROM events_2024 WHERE pg_temp.leak(id)", {"1"}),
            ("SELECT id FROM places WHERE pg_temp.leak(id)", {"1", "3"}),
            ("SELECT mayor FROM towns WHERE pg_temp.leak(mayor)", {"Di"}),
        ):
            told.clear()
            await bare.fetch(sql)
            assert set(told) == {f"seen: {one}" for one in seen}, sql
        for fails_for_others in (
            "SELECT id FROM people WHERE 1 / (id - 2) < 5",
            "SELECT id FROM people WHERE CASE name WHEN 'Ann' THEN true ELSE name::int > 0 END",
            "SELECT id FROM northerners WHERE CASE name WHEN 'Ann' THEN true ELSE name::int > 0 END",
            "SELECT id FROM events WHERE 1 / (id - 2) < 5",
        ):
            assert await bare.fetch(fails_for_others), fails_for_others
    finally:
        await bare.close()


@pytest.mark.asyncio
async def test_the_owner_of_the_tables_can_run_it(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """Without being a superuser, for a login that there is."""
    name, owner = login(), login()
    roles = f"CREATE ROLE {name} LOGIN; CREATE ROLE {owner} LOGIN; GRANT CREATE ON SCHEMA public TO {owner}; SET ROLE {owner};"
    database = await make_database(roles + HOUSE)
    postgres_server.sql(
        f"ALTER DATABASE {database} OWNER TO {owner}; GRANT USAGE ON SCHEMA public TO {owner} WITH GRANT OPTION", database
    )
    site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=HOUSE_RULES)
    script = (await natively(site.config, WHO, name, "shop")).sql
    await asyncio.to_thread(postgres_server.sql, script, database, owner)
    assert (await checked(site, name, rows=True)).differences == ()


@pytest.mark.asyncio
async def test_a_login_for_something_else_and_an_agent_that_asks_a_human_are_refused(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    name = login()
    database = await make_database(HOUSE + f"CREATE ROLE {name}; ALTER TABLE open OWNER TO {name};")
    site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=HOUSE_RULES)
    for other, why in (
        (name, "owns things"),
        ("ostiary_admin", "what the server itself is in the database"),
        ("x" * 64, "no login has the name"),
        ("", "no login has the name"),
    ):
        with pytest.raises(CommandFailed, match=why):
            await natively(site.config, WHO, other, "shop")
    asks = (
        '@id("asks") @approval("human") permit (principal in Role::"reader", action == Action::"call", resource == Tool::"query");'
    )
    asking = await make_site({"shop": postgres_server.dsn(database=database)}, policy=HOUSE_RULES + asks)
    with pytest.raises(CommandFailed, match="a human is asked before any call of `query`"):
        await natively(asking.config, WHO, f"{name}_2", "shop")
    found = await checked(site, "nobody_such")
    assert [one.sentence for one in found.differences] == ["there is no login `nobody_such`"]


@pytest.mark.asyncio
async def test_row_security_of_the_owners_own_is_left_alone(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """A table whose owner decides about rows already, or would once row security were enabled, is closed and not widened."""
    name = login()
    more = (
        "ALTER TABLE people ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON people USING (id = 2);"
        "CREATE POLICY asleep ON places USING (true); ALTER TABLE open ENABLE ROW LEVEL SECURITY;"
    )
    site, database = await native_house(make_site, make_database, postgres_server, name, more)
    found = await checked(site, name)
    assert found.differences == ()
    told = "is not granted: its owner's row security decides about it too"
    assert f"`public.people` {told} (`own`)" in found.notes
    assert f"`public.places` {told} (`asleep`)" in found.notes
    async with connected(postgres_server.dsn(name, database)) as bare:
        assert await bare.fetchval("SELECT count(*) FROM open") == 2
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await bare.fetch("SELECT id FROM people")


HOSTILE = """
CREATE SCHEMA "s""; DROP TABLE x; --";
CREATE TABLE "s""; DROP TABLE x; --"."T
DROP TABLE x; -- 'é" ("a""b
c" text, "$ostiary$ ; \" int, plain text);
INSERT INTO "s""; DROP TABLE x; --"."T
DROP TABLE x; -- 'é" VALUES ('seen', 1, 'x');
CREATE TABLE "{long}" ("{long}" text, region text);
INSERT INTO "{long}" VALUES ('one', 'it''s \\ "north"; --:x'), ('two', 'south');
CREATE TABLE x (id int);
"""


@pytest.mark.asyncio
async def test_names_and_values_that_would_be_statements_stay_names_and_values(
    login: Callable[..., str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """Of tables, columns, the login, and an attribute of the agent, which stands in a predicate."""
    name, long = login("o'b\"; DROP ROLE x; --\né$$ "), "t" * 63
    database = await make_database(HOSTILE.format(long=long))
    rules = (
        """@id("does") permit (principal in Role::"reader", action in [Action::"call", Action::"see", Action::"read"], resource);"""
        f"""@id("rows") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::{long})"""
        """when { resource has region && principal has region && resource.region == principal.region };"""
    )
    value = 'it\'s \\ "north"; --:x'
    site = await make_site(
        {"shop": postgres_server.dsn(database=database)},
        policy=rules,
        more=f"[attributes.region]\ntype = 'text'\nagents = {{ honest = {json.dumps(value)} }}",
    )
    who = Principal("honest", ("reader",), (attribute("region", AttributeType.TEXT, value),))
    await make_so(postgres_server, site, database, name, who)
    found = await checked(site, name, who)
    assert found.differences == ()
    bare = await asyncpg.connect(host=str(postgres_server.root), user=name, database=database)
    try:
        assert await bare.fetchval(f"SELECT {long} FROM {long}") == "one"
        [row] = await bare.fetch('SELECT * FROM "s""; DROP TABLE x; --"."T\nDROP TABLE x; -- \'é"')
        assert tuple(row) == ("seen", 1, "x")
        assert await bare.fetchval("SELECT count(*) FROM x") == 0
    finally:
        await bare.close()
    other = Principal("honest", ("reader",), (attribute("region", AttributeType.TEXT, "south"),))
    assert len((await checked(site, name, other)).differences) == 2, "the same policies for another value are not what stands there"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_command_line_prints_sql_and_ends_by_whether_they_agree(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    name = login()
    database = await make_database(HOUSE + "GRANT SELECT ON vault TO PUBLIC;")
    site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=HOUSE_RULES)
    options = ("--login", name, "--role", "reader", "--agent", "honest")
    before = await asyncio.to_thread(site.command, "policy", "check", *options)
    assert (before.returncode, before.stdout.splitlines()[0]) == (Exit.FAILED, f"there is no login `{name}`")
    printed = await asyncio.to_thread(site.command, "policy", "install", *options)
    assert printed.returncode == Exit.OK, printed.stderr
    assert "note: `email` of `public.people` can be read through a mask" in printed.stderr
    assert "note: the SQL takes rights from everybody (PUBLIC)" in printed.stderr
    await asyncio.to_thread(postgres_server.sql, printed.stdout, database)
    after = await asyncio.to_thread(site.command, "policy", "check", *options, "--rows", "--json")
    assert after.returncode == Exit.OK, after.stdout
    assert json.loads(after.stdout)["agree"] is True
    wrong = await asyncio.to_thread(site.command, "policy", "check", "--role", "reader")
    assert wrong.returncode == Exit.USAGE


@pytest.mark.slow
@pytest.mark.asyncio
async def test_postgresql_15_keeps_them_too(
    login: Callable[[], str], make_site: MakeSite, server_15: PostgresServer, control_database: Callable[[], Awaitable[str]]
):
    """A view that reads with the rights of whoever asks has what its reader may read beneath."""
    name, database = login(), f"native_{uuid.uuid4().hex[:6]}"
    server_15.sql(f"CREATE DATABASE {database}")
    server_15.sql(HOUSE + "CREATE VIEW asking WITH (security_invoker) AS SELECT id FROM places;", database)
    rules = HOUSE_RULES + (
        '@id("asking") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::asking);'
    )
    site = await make_site({"shop": server_15.dsn(database=database)}, policy=rules)
    try:
        await make_so(server_15, site, database, name)
        found = await checked(site, name, rows=True)
        assert found.differences == ()
        told = "`public.asking` reads with the rights of whoever asks, so the login has of it what it may read beneath"
        assert told in found.notes
        async with connected(server_15.dsn(name, database)) as bare:
            for sql, rows in {**NATIVELY, "SELECT id FROM asking ORDER BY id": [(1,), (3,)]}.items():
                assert [tuple(row) for row in await bare.fetch(sql)] == rows, sql
            for sql in DENIED:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await bare.fetch(sql)
    finally:
        server_15.sql(f"DROP DATABASE {database} WITH (FORCE)")
        server_15.sql(f"DROP ROLE IF EXISTS {name}")


@pytest.mark.asyncio
async def test_a_view_that_policies_hold_inside_of_is_closed(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """Its owner's rights would show all that is beneath; one over what the agent may read whole is granted."""
    name, database = login(), await make_database(HOUSE)
    site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=HOUSE_RULES, views="as_queries")
    await make_so(postgres_server, site, database, name)
    found = await checked(site, name)
    assert found.differences == ()
    for view in ("everybody", "northerners", "leaky", "token"):
        assert [note for note in found.notes if note.startswith(f"`public.{view}` is not granted: ")], view
    async with connected(postgres_server.dsn(name, database)) as bare:
        assert len(await bare.fetch("SELECT note FROM noted")) == 2
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await bare.fetch("SELECT id FROM northerners")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_two_logins_have_their_own_rows_of_the_same_tables(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """The second had rights before the first was installed; what keeps others' rows gives it no more than its own."""
    north, south = login(), login()
    rules = HOUSE_RULES.replace('resource.region == "north"', "principal has region && resource.region == principal.region")
    database = await make_database(HOUSE + f"CREATE ROLE {south} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {south};")
    more = "[attributes.region]\ntype = 'text'\nagents = { honest = 'north' }"
    site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=rules, more=more)
    agents = {
        name: Principal("honest", ("reader",), (attribute("region", AttributeType.TEXT, region),))
        for name, region in ((north, "north"), (south, "south"))
    }
    for name, who in agents.items():
        await make_so(postgres_server, site, database, name, who)
    for name, who in agents.items():
        assert (await checked(site, name, who, rows=True)).differences == ()
        assert (await checked(site, name, agents[north if name == south else south])).differences != ()
    async with connected(postgres_server.dsn(south, database)) as bare:
        assert [row["id"] for row in await bare.fetch("SELECT id FROM people")] == [2]


@pytest.mark.asyncio
async def test_rows_are_compared_where_the_connection_may_see_both(
    login: Callable[[], str], make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer
):
    """A login that reads others' rows, or as many others, is found; a connection that sees only its own says so."""
    name, weak = login(), login()
    more = f"CREATE ROLE {weak} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {weak};"
    site, database = await native_house(make_site, make_database, postgres_server, name, more)
    assert (await checked(site, name, rows=True)).differences == ()
    blind = await make_site({"shop": postgres_server.dsn(weak, database)}, policy=HOUSE_RULES)
    found = await checked(blind, name, rows=True)
    assert found.differences == ()
    assert "the rows of `public.people` are not compared: we may not see both ours and the login's" in found.notes
    people = ("public", "people")
    counted = {}
    async with looking(PostgresSettings("shop", postgres_server.dsn(database=database))) as look:
        await look.lock([people])
        for predicate in ("region = 'north'", "TRUE", "id = 2"):
            counted[predicate] = await look.rows(name, people, Wanted(("id", "name"), predicate))
    assert counted == {
        "region = 'north'": Rows(read=1, kept=1, alike=True),
        "TRUE": Rows(read=1, kept=3, alike=False),
        "id = 2": Rows(read=1, kept=1, alike=False),
    }
    told = [one.sentence for rows in counted.values() if rows for one in of_rows({people: rows}, name)]
    assert told == [
        f"`{name}` reads 1 rows of `public.people` and the row rules keep 3",
        f"`{name}` reads 1 rows of `public.people` and the row rules keep others",
    ]


NOT_PUT_TO_THE_SERVER = [
    "true), (pg_sleep(9)", "pg_sleep(9) IS NULL", "evil.isfinite(moment)", "(SELECT true)", "EXISTS (SELECT FROM pg_class)",
    "region OPERATOR(evil.=) 'north'", "region = 'x'::evil.text", "true) FROM people WHERE (true", "true) UNION SELECT (true",
    "'pg_authid'::regclass IS NOT NULL", "people.* IS NOT NULL", "people.region = 'north'", "elsewhere = 1", "$1 = 'x'",
    "CURRENT_USER = 'x'", "true) ORDER BY (1", "true) LIMIT (1", "row_number() OVER () = 1", "(true", "", "true; SELECT 1",
    "region COLLATE evil = 'north'", "ctid IS NOT NULL",
]  # fmt: skip
"""What somebody may have written into a policy, and the server is not asked about with the rights of whoever looks."""


@pytest.mark.asyncio
async def test_only_what_our_predicates_are_made_of_is_put_to_the_server(
    make_database: MakeDatabase, postgres_server: PostgresServer
):
    database = await make_database(HOUSE)
    settings = PostgresSettings("shop", postgres_server.dsn(database=database))
    snapshot = await snapshot_of(settings.dsn, "shop")
    people = snapshot.relations["public", "people"]
    async with looking(settings) as look:
        for expression in NOT_PUT_TO_THE_SERVER:
            assert as_plain(expression, {"region": "text", "moment": "timestamptz"}) is None, expression
            assert not await look.same(people, "TRUE", expression)
        for one, other, alike in (
            ("TRUE", "true", True),
            ("TRUE", "false", False),
            ("region OPERATOR(pg_catalog.=) 'north'::pg_catalog.text", "(region = 'north'::text)", True),
            ("region OPERATOR(pg_catalog.=) 'north'::pg_catalog.text", "(region = 'North'::text)", False),
            ("id OPERATOR(pg_catalog.=) '1'::pg_catalog.int8", "(id = 1)", False),
            ("TRUE", "('x'::date IS NOT NULL)", False),
            ("TRUE", "('2024-01-01'::date IS NOT NULL)", True),
        ):
            assert await look.same(people, one, other) is alike, other
