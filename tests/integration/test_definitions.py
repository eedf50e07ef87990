"""Definitions by agents: what they need, and what no definition gives."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import asyncpg
import pytest
import pytest_asyncio
from fix_migrations import CASES
from fix_postgres import PostgresServer

from ostiary.worlds import Worlds
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Column, Principal, Schema, Table
from ostiary_tools.datasources.postgres import PostgresSettings, open_postgres
from ostiary_tools.errors import Refused
from ostiary_tools.powers import Power
from ostiary_tools.sql.defining import judge_definition
from ostiary_tools.view import SchemaView

DEFINER, READER = Principal("ada", ("agent", "definer")), Principal("bob", ("agent",))


class Text(NamedTuple):
    title: str
    fact: str
    """The rule that refuses it, or the accesses it needs."""
    sql: str


def texts(name: str) -> Iterator[Text]:
    for block in (CASES / name).read_text("utf-8").split("-- title: ")[1:]:
        title, fact, sql = block.split("\n", 2)
        yield Text(title, fact.partition(": ")[2], sql.strip())


HONEST, ATTACKS = tuple(texts("honest.sql")), tuple(texts("attacks.sql"))


class House(NamedTuple):
    engine: Engine
    definer: SchemaView
    reader: SchemaView
    server: PostgresServer
    database: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(postgres_server: PostgresServer) -> AsyncIterator[House]:
    name = f"definitions_{os.getpid()}"
    postgres_server.sql(f'CREATE DATABASE "{name}"')
    postgres_server.sql((CASES / "house.sql").read_text("utf-8"), name)
    settings = PostgresSettings("data", postgres_server.dsn(database=name), accepted_powers=frozenset(Power), search_path=("app",))
    datasource = await open_postgres(settings)
    engine = Engine(PolicySet.parse({"house": (CASES / "house.cedar").read_text("utf-8")}))
    worlds = Worlds({"data": datasource}, {})
    definer, reader = [(await worlds.world(engine, who)).view("data") for who in (DEFINER, READER)]
    try:
        yield House(engine, definer, reader, postgres_server, name)
    finally:
        await datasource.close()
        postgres_server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


def spelled(access: Access) -> str:
    match access.resource:
        case Schema(name=name):
            return f"{access.action} {name}"
        case Table(schema=schema, name=name):
            return f"{access.action} {schema}.{name}"
        case Column(schema=schema, table=table, name=name):
            return f"{access.action} {schema}.{table}.{name}"
        case other:
            raise AssertionError(other)


def denied(engine: Engine, who: Principal, accesses: tuple[Access, ...]) -> bool:
    return any(not engine.allows(who, access).allowed for access in accesses)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("text", HONEST, ids=lambda t: t.title)
async def test_a_definition_needs_what_it_does(text: Text, house: House):
    judged = judge_definition(text.sql, house.definer)
    assert "; ".join(sorted(map(spelled, judged.accesses))) == text.fact
    assert not denied(house.engine, DEFINER, judged.accesses)
    assert judge_definition(judged.statement.text, house.definer).statement == judged.statement
    # The server takes it, and nothing stays.
    connection = await asyncpg.connect(house.server.dsn(database=house.database))
    try:
        await connection.execute(f"BEGIN; {judged.statement.text}; ROLLBACK")
    finally:
        await connection.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("text", ATTACKS, ids=lambda t: t.title)
async def test_no_definition_reaches_past_its_agent(text: Text, house: House):
    with pytest.raises(Refused) as raised:
        judge_definition(text.sql, house.definer)
    assert raised.value.rule == text.fact, raised.value.message
    assert not re.search("hidden|salary|token|vault|gold", _unquoted(raised.value, text.sql)), "nothing hidden is named"


def _unquoted(refusal: Refused, sql: str) -> str:
    """What the refusal says beyond words of the statement."""
    words = set(re.findall(r"\w+", f"{refusal.message} {refusal.hint}")) - set(re.findall(r"\w+", sql))
    return " ".join(sorted(words))


@pytest.mark.asyncio(loop_scope="module")
async def test_without_define_nothing_is_defined(house: House):
    judged = {text.title: judge_definition(text.sql, house.reader).accesses for text in HONEST}
    assert [title for title, accesses in judged.items() if not denied(house.engine, READER, accesses)] == []
    for text in ATTACKS:
        with pytest.raises(Refused):
            judge_definition(text.sql, house.reader)


def test_there_are_attacks_enough():
    assert len(ATTACKS) > 150
    assert len({text.title for text in ATTACKS}) == len(ATTACKS)
