"""Verified examples: who is shown which, what the files may become while a server runs, and what the commands say."""

import asyncio
import os
import subprocess
import sys
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path

import mcp.types as t
import pytest
from fix_postgres import PostgresServer
from fix_server import HIDES, READS_ALL, MakeSite, Site
from fix_waiting import until
from mcp import Client

from ostiary.app import House, open_house
from ostiary.example_edit import written
from ostiary.exits import Exit
from ostiary.mcp_app import McpApp
from ostiary.pytest_plugin import ERAS
from ostiary_policies.model import Principal
from ostiary_tools.examples import Example

SHOP = """
CREATE TABLE orders (id integer PRIMARY KEY, status text, total numeric, margin numeric, ghost text);
CREATE TABLE vault_entries (id integer PRIMARY KEY, order_id integer REFERENCES orders, token text);
INSERT INTO orders SELECT n, 'open', n, n, 'g' FROM generate_series(1, 9) n;
CREATE FUNCTION doubled(n numeric) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN 2 * n;
"""
POLICY = """
@id("guest-calls") permit (principal in Role::"guest", action == Action::"call", resource)
when { resource in [Tool::"query", Tool::"question_to_sql", Tool::"search_schema"] };
@id("guest-looks") permit (principal in Role::"guest", action in [Action::"see", Action::"read"], resource);
@id("guest-no-money") forbid (principal in Role::"guest", action == Action::"read", resource is Column)
when { resource.tags.contains("pii") };
@id("window-calls") permit (principal in Role::"window", action == Action::"call", resource == Tool::"question_to_sql");
@id("window-looks") permit (principal in Role::"window", action in [Action::"see", Action::"read"], resource);
"""
TAGGED = {"public.vault_entries": ["hidden"], "public.orders.ghost": ["hidden"], "public.orders.margin": ["pii"]}
QUESTION = "How many orders are there of each status?"
"""Every example below is about it, so that each would be shown if it could be."""
PLAIN = "select status, count(*) from orders group by status"
EVERYBODY = {"Count orders by status": PLAIN}
NOBODY = {
    "Count orders with an entry in the vault entries": PLAIN,
    "Count orders and their ghosts": PLAIN,
    "Count orders of vaultEntries": PLAIN,
    "How many orders are hidden": "select count(*) from orders join vault_entries v on v.order_id = orders.id",
    "How many orders have one": "select count(ghost) from orders",
    "How many orders have an alias": "select count(*) as ghosts from orders",
    "How many orders have a constant": "select count(*) from orders where status = 'vault entries'",
    "How many orders have a name of a query": "with ghost as (select id from orders) select count(*) from ghost",
    "Count orders that no longer fit": "select count(*) from purchases",
    "Count orders for a parameter": "select count(*) from orders where id = $1",
    "Count orders by writing": "delete from orders",
    "Count orders of the plan": "explain select count(*) from orders",
}
NOTED = {"Count orders with care": "the vault_entries of an order do not count"}
READERS = {
    "Sum the margin of orders": "select sum(margin) from orders",
    "Count orders doubled": "select doubled(count(*)) from orders",
}
"""Those that `reader` may run and `guest` may not."""
COMMENTED = {"Count orders open or not": f"/* not the vault_entries */ {PLAIN} -- nor the ghosts"}


def files() -> str:
    every = {**EVERYBODY, **NOBODY, **READERS, **COMMENTED, **dict.fromkeys(NOTED, PLAIN)}
    return "\n".join(an_example(question, sql, NOTED.get(question, "")) for question, sql in every.items())


def an_example(question: str, sql: str = PLAIN, note: str = "", datasource: str = "shop") -> str:
    return written(Example(datasource, question, sql, note, "", 0))


MakeShop = Callable[[str], Awaitable[Site]]


@pytest.fixture
def shop(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
) -> Callable[..., Awaitable[Site]]:
    async def made(text: str) -> Site:
        dsn = postgres_server.dsn(database=await make_database(SHOP))
        more = '[examples]\ndirectory = "examples"\n[agent]\nroles = ["reader", "guest", "window"]\nrole = "reader"'
        site = await make_site({"shop": dsn}, policy=READS_ALL + HIDES + POLICY, tags=("hidden",), tagged=TAGGED, more=more)
        folder(site).mkdir()
        (folder(site) / "shop.toml").write_text(text)
        return site

    return made


def folder(site: Site) -> Path:
    return site.config.home.data.parent / "examples"


def client_of(house: House, role: str, era: str = ERAS[0]) -> Client:
    return Client(McpApp(house.gate, lambda _: Principal("ada", (role,))).server, mode=era)


async def searched(client: Client, question: str = QUESTION) -> str:
    """The same by the tool, for agents whose clients know no prompts."""
    reply = await client.call_tool("search_schema", {"query": question, "detail": "sql"})
    assert not reply.is_error
    return "\n".join(block.text for block in reply.content if isinstance(block, t.TextContent))


async def asked(client: Client, question: str = QUESTION, **more: str) -> str:
    (message,) = (await client.get_prompt("question_to_sql", {"question": question, **more})).messages
    assert isinstance(message.content, t.TextContent)
    return message.content.text


def questions(prompt: str) -> set[str]:
    lines = [line.removeprefix("|   question: ") for line in prompt.splitlines() if line.startswith("|   question: ")]
    assert len(lines) == len(set(lines))
    return set(lines)


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_an_example_is_shown_to_those_who_may_run_it_and_tells_nothing_hidden(shop: MakeShop, era: str):
    site = await shop(files())
    async with open_house(site.config, lambda _: None) as house:
        async with client_of(house, "guest", era) as guest:
            told = await asked(guest, budget="50000")
            found = await searched(guest)
        async with client_of(house, "reader", era) as reader:
            more = await asked(reader, "Sum the margin of orders, or count them doubled", budget="50000")
        async with client_of(house, "window", era) as window:
            none = await asked(window, budget="50000")
    assert questions(told) == {*EVERYBODY, *COMMENTED} == questions(found.replace("\n  question", "\n|   question"))
    assert questions(more) >= set(READERS)
    assert questions(none) == set()
    assert "You may not call `query`" in none
    for prompt in (told, found, more, none):
        assert "ghost" not in prompt.lower()
        assert "vault" not in prompt.lower()
        assert len(prompt) <= 50_000
    assert f"|   sql: {PLAIN}\n" in told
    assert "|   sql: SELECT status, pg_catalog.count(*) AS count FROM public.orders GROUP BY status" in told


@pytest.mark.asyncio
async def test_what_is_hidden_leaves_no_trace_in_what_is_shown(shop: MakeShop):
    """Byte for byte the prompt of a caller whose files hold nothing that he may not see."""
    prompts = []
    for text in (files(), "\n".join(an_example(question, sql) for question, sql in {**EVERYBODY, **COMMENTED}.items())):
        site = await shop(text)
        async with open_house(site.config, lambda _: None) as house, client_of(house, "guest") as guest:
            prompts.append([await asked(guest, question) for question in (QUESTION, *NOBODY, *NOTED, *READERS)])
    assert prompts[0] == prompts[1]


@pytest.mark.asyncio
async def test_an_example_brings_its_tables_though_the_question_names_none(shop: MakeShop):
    site = await shop(an_example("Who is our keenest patron?"))
    async with open_house(site.config, lambda _: None) as house, client_of(house, "guest") as guest:
        prompt = await asked(guest, "keenest patron", budget="4000")
    assert questions(prompt) == {"Who is our keenest patron?"}
    assert prompt.index("| public.orders (table)") < prompt.index("|   status text")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_server_takes_changed_files_and_keeps_the_old_ones_where_the_new_are_broken(shop: MakeShop):
    site = await shop(an_example("Count orders at first"))
    path = folder(site) / "shop.toml"
    async with open_house(site.config, lambda _: None) as house, client_of(house, "guest") as guest:

        async def shown(*expected: str) -> bool:
            return questions(await asked(guest)) == set(expected)

        assert await shown("Count orders at first")
        path.write_text(an_example("Count orders later"))
        await until(lambda: shown("Count orders later"))
        path.write_text("[[example]]\nquestion = 7\n")
        await until(lambda: bool(house.examples.refused))
        assert house.examples.refused.startswith("shop.toml:1: `question` is not a text")
        assert await shown("Count orders later")
        path.unlink()
        await until(shown)
        assert house.examples.refused == ""
    events = [record for record in await site.records() if str(record.get("event", "")).startswith("examples_")]
    assert [(event["event"], event.get("count", 0)) for event in events] == [
        ("examples_changed", 1),
        ("examples_refused", 3),
        ("examples_changed", 0),
    ]
    assert events[0]["examples"] == events[1]["examples"] == events[2]["before"]


@pytest.mark.asyncio
async def test_a_server_starts_without_examples_whose_files_are_broken_and_says_so(shop: MakeShop):
    site = await shop("[[example]")
    async with open_house(site.config, lambda _: None) as house, client_of(house, "guest") as guest:
        assert "shop.toml:1: not valid TOML" in house.examples.refused
        assert questions(await asked(guest)) == set()
        (folder(site) / "shop.toml").write_text(an_example("Count orders"))
        await until(lambda: not house.examples.refused)
        assert questions(await asked(guest)) == {"Count orders"}


def examples(site: Site, *arguments: str, sent: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command, with the site's own file."""
    file = site.config.home.data.parent / "ostiary.toml"
    env = {"PATH": os.environ["PATH"], "HOME": str(file.parent)}
    command = [sys.executable, "-m", "ostiary", "examples", *arguments, "--config", str(file)]
    return subprocess.run(command, env=env, cwd="/", text=True, input=sent, capture_output=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_check_says_what_no_longer_fits_and_who_is_shown_the_rest(shop: MakeShop):
    texts = (
        an_example("Count orders"),
        an_example("Count purchases", "select count(*) from purchases"),
        an_example("Add texts", "select status + 1 from orders"),
        an_example("Count elsewhere", "select 1", datasource="depot"),
        an_example("Sum margins", "select sum(margin) from orders"),
        an_example("Count what the vault entries are of"),
    )
    site = await shop("\n".join(texts))
    done = await asyncio.to_thread(examples, site, "check")
    assert (done.returncode, done.stdout.splitlines()) == (
        Exit.FAILED,
        [
            "shop.toml:1: Count orders",
            "  shown to reader, guest",
            "  not to window: you may not call tool `query`",
            "shop.toml:6: Count purchases",
            "  does not fit: unknown table `purchases`",
            "shop.toml:11: Add texts",
            "  does not fit: operator does not exist: text + integer",
            "shop.toml:16: Count elsewhere",
            "  does not fit: there is no datasource `depot`; there are `shop`",
            "shop.toml:21: Sum margins",
            "  shown to reader",
            "  not to guest: unknown column `margin`",
            "  not to window: you may not call tool `query`",
            "shop.toml:26: Count what the vault entries are of",
            "  not to reader: its question names `vault entry`, which is hidden from it",
            "  not to guest: its question names `vault entry`, which is hidden from it",
            "  not to window: you may not call tool `query`",
            "3 examples fit, 3 do not",
        ],
    ), done.stderr
    one = await asyncio.to_thread(examples, site, "check", "--role", "window", "--json")
    assert '"window": "you may not call tool `query`"' in one.stdout
    assert "guest" not in one.stdout
    assert (await asyncio.to_thread(examples, site, "check", "--role", "king")).returncode == Exit.USAGE


@pytest.mark.slow
@pytest.mark.asyncio
async def test_an_example_is_added_when_it_fits_and_removed_by_its_place(shop: MakeShop):
    site = await shop("# ours\n")
    path = folder(site) / "shop.toml"

    async def run(*arguments: str, sent: str | None = None) -> tuple[int, str]:
        done = await asyncio.to_thread(lambda: examples(site, *arguments, sent=sent))
        return done.returncode, done.stderr or done.stdout

    assert await run("add", "How many?", "--sql", "select count(*) from nothing") == (
        Exit.FAILED,
        "error: its SQL does not fit: unknown table `nothing`\nhint: nothing was added\n",
    )
    assert path.read_text() == "# ours\n"
    assert await run("add", "How many?", "--sql", "-", "--note", "All.", sent=f"{PLAIN};\n") == (Exit.OK, f"added to {path}:3\n")
    assert tomllib.loads(path.read_text())["example"] == [
        {"question": "How many?", "datasource": "shop", "sql": PLAIN, "note": "All."}
    ]
    code, said = await run("add", "HOW  many?", "--sql", PLAIN, "--file", "more.toml")
    assert (code, said) == (Exit.USAGE, "error: more.toml:1: this question stands in shop.toml:3 already\n")
    assert (await run("add", "Where?", "--sql", PLAIN, "--file", "../more.toml"))[0] == Exit.USAGE
    assert (await run("remove", "shop.toml:3"))[0] == Exit.OK
    assert path.read_text().rstrip() == "# ours"
