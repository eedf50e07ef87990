"""Writes the inventory of built-in functions from live servers: `python tests/list_functions.py DSN…`, one a version.

Each names a database as `initdb` makes it.
Facts (in which versions a name was seen, how volatile it is, of which kinds) are made anew for
the versions asked and kept for the others; decisions are kept as they stand. A name that no
earlier list held gets the decision `undecided`, which refuses it until somebody has reviewed it.
"""

import asyncio
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import asyncpg

from ostiary_tools.sql.inventory import INVENTORY, BuiltIn

FACTS = """
SELECT p.proname::text AS name, max(CASE p.provolatile WHEN 'i' THEN 0 WHEN 's' THEN 1 ELSE 2 END) AS volatility,
    array_agg(DISTINCT CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'w' THEN 'window' ELSE 'function' END) AS kinds
FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace
GROUP BY p.proname
"""
_VOLATILITIES = ("immutable", "stable", "volatile")


@dataclass(frozen=True)
class Fact:
    """What one server says of a name; all overloads are one."""

    volatility: str
    kinds: tuple[str, ...]


async def facts(dsn: str) -> tuple[int, Mapping[str, Fact]]:
    """Major version of the server, and its built-in functions by name."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(FACTS)
        found = {row["name"]: Fact(_VOLATILITIES[row["volatility"]], tuple(sorted(row["kinds"]))) for row in rows}
        return connection.get_server_version().major, found
    finally:
        await connection.close()


def merged(known: Mapping[str, BuiltIn], major: int, seen: Mapping[str, Fact]) -> dict[str, BuiltIn]:
    """The inventory with what one more server says. The most volatile of all versions counts."""
    kept = {name: replace(one, versions=one.versions - {major}) for name, one in known.items()}
    for name, fact in seen.items():
        one = kept.get(name, BuiltIn("undecided", frozenset(), "immutable", ()))
        volatility = max(one.volatility, fact.volatility, key=_VOLATILITIES.index)
        kept[name] = BuiltIn(one.decision, one.versions | {major}, volatility, tuple(sorted({*one.kinds, *fact.kinds})))
    return kept


def written(inventory: Mapping[str, BuiltIn]) -> str:
    """The file's text."""
    lines = ["name\tdecision\tversions\tvolatility\tkinds"]
    lines += [f"{name}\t{_cells(one)}" for name, one in sorted(inventory.items()) if one.versions]
    return "\n".join(lines) + "\n"


def _cells(one: BuiltIn) -> str:
    return "\t".join((one.decision, " ".join(map(str, sorted(one.versions))), one.volatility, " ".join(one.kinds)))


def main(dsns: Iterable[str]) -> None:
    """Write the file anew."""
    inventory = dict(INVENTORY)
    for dsn in dsns:
        inventory = merged(inventory, *asyncio.run(facts(dsn)))
    Path(str(files("ostiary_tools.sql").joinpath("functions.tsv"))).write_text(written(inventory), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
