"""The SQL of the how-to for one's own database, on a real server."""

import asyncpg
import pytest
from acceptance.pages import ROOT, blocks
from fix_postgres import PostgresServer

PAGE = ROOT / "docs/how-to/use-your-own-database.md"


@pytest.mark.asyncio
async def test_the_login_of_the_how_to_reads_and_does_nothing_else(postgres_server: PostgresServer):
    login, comments = (block.text for block in blocks(PAGE) if block.language == "sql")
    owner = await asyncpg.connect(postgres_server.dsn())
    await owner.execute("drop database if exists shop")
    await owner.execute("create database shop")
    await owner.close()
    owner = await asyncpg.connect(postgres_server.dsn(database="shop"))
    try:
        await owner.execute("create table customers (email text); create table employees (salary numeric)")
        await owner.execute(login)
        await owner.execute(comments)
        await owner.execute("create table later (id int)")
        agent = await asyncpg.connect(postgres_server.dsn("agent", "shop"))
        try:
            assert await agent.fetch("select email from customers") == []
            assert await agent.fetch("select id from later") == []
            for forbidden in ("create table mine (id int)", "create temporary table mine (id int)", "delete from customers"):
                await agent.execute("set default_transaction_read_only = off")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await agent.execute(forbidden)
        finally:
            await agent.close()
    finally:
        await owner.execute("drop owned by agent")
        await owner.close()
        owner = await asyncpg.connect(postgres_server.dsn())
        await owner.execute("drop database shop")
        await owner.execute("drop role agent")
        await owner.close()
