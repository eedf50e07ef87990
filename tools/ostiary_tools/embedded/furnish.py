"""What a new cluster is furnished with: roles, the three databases, the sample.

Every step looks first whether it is done, so that a furnishing that was killed is
finished by the next start.
"""

from collections.abc import Callable
from pathlib import Path

import asyncpg

from ostiary_tools.embedded.names import ADMIN, CHANGER, CONTROL, RESTORER, SHOP, VECTORS
from ostiary_tools.embedded.place import PORT

_HERE = Path(__file__).parent
_SHOP_FILES = ("schema.sql", "data.sql", "comments.sql", "grants.sql")
"""In `shop/`, in the order they are loaded."""

_IS_DONE = """
select (select count(*) from pg_database where datname in ($1, $2) and shobj_description(oid, 'pg_database') is not null) = 2
    and (select count(*) from pg_roles where rolname in ($3, $4) and shobj_description(oid, 'pg_authid') is not null) = 2
"""


async def furnish(socket_dir: Path, progress: Callable[[str], None]) -> None:
    """Make what is missing. Only in our turn. Raises asyncpg.PostgresError and OSError as the server answers."""
    server = await _connect(socket_dir, "postgres")
    try:
        if await server.fetchval(_IS_DONE, SHOP, VECTORS, CHANGER, RESTORER):
            return
        progress("making roles and databases")
        await server.execute(_sql("roles.sql"))
        present = {row["datname"] for row in await server.fetch("select datname from pg_database")}
        if CONTROL not in present:
            await server.execute("create database control")
        if SHOP not in present:
            await server.execute("create database shop owner ostiary_shop")
        if VECTORS not in present:
            await server.execute("create database vectors")
        await server.execute(_sql("doors.sql"))
        progress("loading the sample shop")
        await _load_shop(socket_dir)
        await _run(socket_dir, SHOP, "shop/changes.sql")
        await _run(socket_dir, VECTORS, "vectors.sql")
        await server.execute(_sql("done.sql"))
    finally:
        await server.close()


async def _load_shop(socket_dir: Path) -> None:
    """One transaction: the shop is there whole, or the next start begins again."""
    shop = await _connect(socket_dir, SHOP)
    try:
        if await shop.fetchval("select to_regclass('public.customers') is not null"):
            return
        async with shop.transaction():
            for name in _SHOP_FILES:
                await shop.execute(_sql(f"shop/{name}"))
    finally:
        await shop.close()


async def _run(socket_dir: Path, database: str, name: str) -> None:
    """Also where an earlier version of ours made the cluster."""
    connection = await _connect(socket_dir, database)
    try:
        await connection.execute(_sql(name))
    finally:
        await connection.close()


async def _connect(socket_dir: Path, database: str) -> asyncpg.Connection:
    return await asyncpg.connect(host=str(socket_dir), port=PORT, user=ADMIN, database=database, timeout=30)


def _sql(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
