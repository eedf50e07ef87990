"""The SQL of the how-tos for one's own database, on a real server."""

import asyncpg
import pytest
from acceptance.pages import ROOT, blocks
from fix_postgres import PostgresServer
from fix_vectors import documents, new_collection

from ostiary_policies.model import Statement
from ostiary_tools.datasources.port import ChangeLimits
from ostiary_tools.datasources.postgres import PostgresSettings, open_postgres
from ostiary_tools.errors import DatabaseError
from ostiary_tools.powers import Power
from ostiary_tools.vectors.pgvector.store import PgvectorStore
from ostiary_tools.vectors.settings import PgvectorSettings

PAGE = ROOT / "docs/how-to/use-your-own-database.md"
STORES = ROOT / "docs/how-to/keep-collections-in-your-own-store.md"
CHANGES = ROOT / "docs/how-to/make-a-login-for-changes.md"


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


@pytest.mark.asyncio
async def test_the_login_for_changes_of_the_how_to_writes_rows_and_nothing_else(postgres_server: PostgresServer):
    [login] = (block.text for block in blocks(CHANGES) if block.language == "sql")
    owner = await asyncpg.connect(postgres_server.dsn())
    await owner.execute("drop database if exists shop")
    await owner.execute("create database shop")
    await owner.close()
    owner = await asyncpg.connect(postgres_server.dsn(database="shop"))
    superuser = frozenset({Power.SUPERUSER})
    dsn, writer_dsn = postgres_server.dsn(database="shop"), postgres_server.dsn("changer", "shop")
    datasource = await open_postgres(PostgresSettings("shop", dsn, accepted_powers=superuser, writer_dsn=writer_dsn))
    try:
        await owner.execute("create table customers (id serial primary key, email text); create table employees (salary numeric)")
        await owner.execute("revoke create on schema public from public")
        await owner.execute(login)
        async with datasource.change(ChangeLimits(timeout_s=10, lock_timeout_s=2, max_rows=10)) as changer:
            assert await changer.run(Statement("INSERT INTO public.customers (email) VALUES ('a@example.com')")) == 1
            assert (await changer.effects()).rows == 1
            with pytest.raises(DatabaseError) as refused:
                await changer.run(Statement("DELETE FROM public.employees"))
            assert refused.value.sqlstate == "42501"
    finally:
        await datasource.close()
        await owner.execute("drop owned by changer")
        await owner.close()
        owner = await asyncpg.connect(postgres_server.dsn())
        await owner.execute("drop database shop with (force)")
        await owner.execute("drop role changer")
        await owner.close()


@pytest.mark.asyncio
async def test_the_login_of_the_how_to_keeps_collections_and_does_nothing_else(postgres_server: PostgresServer):
    [script] = (block.text for block in blocks(STORES) if block.language == "sql")
    postgres_server.sql("create database vectors")
    try:
        postgres_server.sql(script, "vectors")
        dsn = postgres_server.dsn("collections", "vectors")
        store, made = PgvectorStore(PgvectorSettings("house", dsn)), new_collection()
        await store.create(made)
        await store.put(made, documents(3))
        assert await store.count(made) == 3
        await store.close()
        login = await asyncpg.connect(dsn)
        try:
            for forbidden in ("create schema mine", "create table public.mine ()", "create temporary table mine ()"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await login.execute(forbidden)
        finally:
            await login.close()
    finally:
        postgres_server.sql("drop database vectors with (force); drop role if exists collections")
