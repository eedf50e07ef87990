"""What a new cluster is furnished with: roles, the two databases, the sample.

Every step looks first whether it is done, so that a furnishing that was killed is
finished by the next start.
"""

from collections.abc import Callable
from pathlib import Path

import asyncpg

from ostiary_tools.embedded.names import ADMIN, CHANGER, CONTROL, SHOP
from ostiary_tools.embedded.place import PORT

_HERE = Path(__file__).parent
_SHOP_FILES = ("schema.sql", "data.sql", "comments.sql", "grants.sql")
"""In `shop/`, in the order they are loaded."""

_IS_DONE = """
select exists (select from pg_database where datname = $1 and shobj_description(oid, 'pg_database') is not null)
    and exists (select from pg_roles where rolname = $2 and shobj_description(oid, 'pg_authid') is not null)
"""


async def furnish(socket_dir: Path, progress: Callable[[str], None]) -> None:
    """Make what is missing. Only in our turn. Raises asyncpg.PostgresError and OSError as the server answers."""
    server = await _connect(socket_dir, "postgres")
    try:
        if await server.fetchval(_IS_DONE, SHOP, CHANGER):
            return
        progress("making roles and databases")
        await server.execute(_sql("roles.sql"))
        present = {row["datname"] for row in await server.fetch("select datname from pg_database")}
        if CONTROL not in present:
            await server.execute("create database control")
        if SHOP not in present:
            await server.execute("create database shop owner ostiary_shop")
        await server.execute(_sql("doors.sql"))
        progress("loading the sample shop")
        await _load_shop(socket_dir)
        await _open_to_changes(socket_dir)
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


async def _open_to_changes(socket_dir: Path) -> None:
    """Also where an earlier version of ours made the shop."""
    shop = await _connect(socket_dir, SHOP)
    try:
        await shop.execute(_sql("shop/changes.sql"))
    finally:
        await shop.close()


async def _connect(socket_dir: Path, database: str) -> asyncpg.Connection:
    return await asyncpg.connect(host=str(socket_dir), port=PORT, user=ADMIN, database=database, timeout=30)


def _sql(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
