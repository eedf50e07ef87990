"""What an honest statement answers, on a real server."""

from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_sql import CASES, Case, cases, snapshot_of, view_of

from ostiary_tools.errors import Refused
from ostiary_tools.sql import judge
from ostiary_tools.sql.restoring import restorations
from ostiary_tools.view import SchemaView

# Without what is hidden: what the agent must be unable to tell from the truth.
_WITHOUT_HIDDEN = """
ALTER TABLE employees DROP COLUMN salary, DROP COLUMN notes;
ALTER TABLE customers DROP COLUMN password_hash;
DROP FUNCTION steal(), lower(varchar);
DROP TABLE secrets;
"""
_PINNED = "pg_catalog, public"


@dataclass(frozen=True)
class Shops:
    whole: str
    without_hidden: str
    view: SchemaView


@pytest.fixture(scope="module")
def shops(postgres_server: PostgresServer) -> Iterator[Shops]:
    import asyncio

    names = ("sql_shop_whole", "sql_shop_without")
    for name in names:
        postgres_server.sql(f"CREATE DATABASE {name}")
        postgres_server.sql((CASES / "shop.sql").read_text("utf-8"), name)
    postgres_server.sql(_WITHOUT_HIDDEN, names[1])
    yield Shops(
        postgres_server.dsn(database=names[0]),
        postgres_server.dsn(database=names[1]),
        view_of(asyncio.run(snapshot_of(postgres_server.dsn(database=names[0]), "shop"))),
    )
    for name in names:
        postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


async def _answer(dsn: str, statement: str) -> tuple[list[str], list[str]]:
    connection = await asyncpg.connect(dsn, server_settings={"search_path": _PINNED, "timezone": "UTC", "lock_timeout": "5s"})
    try:
        async with connection.transaction(readonly=True):
            heads = [a.name for a in (await connection.prepare(statement)).get_attributes()]
            if statement.lower().startswith("explain"):
                return heads, []
            text = ", ".join(f"concat(c{n})" for n in range(len(heads)))
            names = ", ".join(f"c{n}" for n in range(len(heads)))
            rows = (
                await connection.fetch(f"SELECT array_to_string(ARRAY[{text}], '|') FROM ({statement}\n) AS q({names})")
                if heads
                else []
            )
            return heads, [row[0] for row in rows]
    finally:
        await connection.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("case", tuple(cases("honest")), ids=lambda c: c.title)
async def test_an_honest_statement_answers_as_if_what_is_hidden_were_not_there(case: Case, shops: Shops):
    judged = judge(case.sql, shops.view)
    try:
        expected = await _answer(shops.without_hidden, case.sql)
    except asyncpg.FeatureNotSupportedError:
        # A server built without libxml: then the printed text is not supported either.
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await _answer(shops.whole, judged.statement.text)
        return
    assert await _answer(shops.whole, judged.statement.text) == expected


def test_an_honest_statement_that_is_restored_from_its_record_touches_what_it_touched(shops: Shops):
    lost = []
    for case in cases("honest"):
        judged = judge(case.sql, shops.view)
        ways = [way.text for way in restorations(judged.redacted, judged.parameter_count, judged.fingerprint)]
        for way in ways:
            try:
                again = judge(way, shops.view)
            except Refused:
                continue
            assert again.accesses == judged.accesses, way
            break
        else:
            lost.append(case.title)
    assert lost == []
