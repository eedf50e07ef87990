"""Time that a search takes in its store and its embedder: within the permit's limit, and counted."""

import asyncpg
import pytest
from fix_embedding_server import Request, embedding
from fix_indexing import Desk, OpenDesk, asked
from fix_postgres import ADMIN
from fix_waiting import until

POLICY = """
@id("all") permit (principal in Role::"reader", action, resource) unless { resource == Tool::"search" };
@id("soon") @timeout("0.4s") @budget_seconds("60/hour")
permit (principal in Role::"reader", action == Action::"call", resource == Tool::"search");
@id("scant") @budget_seconds("1/hour")
permit (principal in Role::"scant", action in [Action::"call", Action::"search"], resource);
"""
LATE = "timeout: the search took longer than 0.4 s\n"
_BUSY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ostiary vectors' AND state = 'active' AND datname = $1"


async def used(it: Desk) -> float:
    """Seconds that are used, once no call holds anything."""

    async def settled() -> bool:
        rows = await it.site.fetch("SELECT held FROM budgets.spent", role=ADMIN)
        return bool(rows) and not any(":" in row["held"] for row in rows)

    await until(settled)
    [row] = await it.site.fetch("SELECT used FROM budgets.spent WHERE measure = 'seconds' AND agent = 'ada'", role=ADMIN)
    return float(row["used"])


@pytest.mark.asyncio
async def test_a_search_of_a_slow_store_ends_with_the_permits_time_there_too_and_its_time_counts(desk: OpenDesk):
    async with desk(policy=POLICY) as it, it.client() as ada, it.client("scant", "sam") as sam:
        await it.collection("notes", None)
        await asked(ada, collection="notes", documents=[{"key": "a", "text": "one text"}])
        dsn = it.site.config.vectors["local"].dsn
        assert dsn is not None
        keeper = await asyncpg.connect(dsn.get_secret_value())
        database = await keeper.fetchval("SELECT current_database()")
        tables = await keeper.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'ostiary_vectors'::regnamespace"
        )
        async with keeper.transaction():
            for row in tables:
                await keeper.execute(f'LOCK TABLE ostiary_vectors."{row[0]}"')
            late = [await asked(ada, "search", collection="notes", text="text", mode=mode) for mode in ("vector", "text", "hybrid")]
            scant = await asked(sam, "search", collection="notes", text="text", mode="vector")
            again = await asked(sam, "search", collection="notes", text="text", mode="vector")

            async def idle() -> bool:
                return not await keeper.fetchval(_BUSY, database)

            await until(idle)
        found = await asked(ada, "search", collection="notes", text="text")
        await keeper.close()
        seconds = await used(it)
        records = await it.site.records()
    assert [text.startswith(LATE) for text in late] == [True] * 3
    assert scant.startswith("timeout: the search took longer than 1 s\n")
    assert again.startswith("over_budget: ")
    assert "one text" in found
    assert seconds >= 1.2
    assert [one["error"] for one in records if one.get("status") == "error"] == ["timeout"] * 4


@pytest.mark.asyncio
async def test_an_embedder_that_stalls_ends_a_search_with_the_permits_time(desk: OpenDesk):
    def silent(_: Request) -> bytes:
        return b""

    async with embedding(silent) as server:
        more = f'[embedders.far]\nkind = "openai"\nurl = "{server.url}"\nmodel = "m"\ndimensions = 4\n'
        async with desk(policy=POLICY, more=more) as it, it.client() as ada:
            await it.collection("notes", None)
            late = await asked(ada, "search", collection="notes", text="text")
            seconds = await used(it)
    assert late.startswith(LATE)
    assert len(server.requests) == 1
    assert seconds >= 0.4
