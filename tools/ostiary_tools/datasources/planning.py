"""Asks the server for a plan, and for what it takes to weigh it.

EXPLAIN without ANALYZE plans and does not run. It does evaluate what a planner
evaluates, immutable and stable functions of constants, so it is asked only for a
statement that is permitted.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ostiary_tools.plans.plan import Plan, Step, read_plan, unreadable, walk

Fetch = Callable[..., Awaitable[list[Any]]]
"""Runs one statement of ours with its values."""

_SIZES = """
SELECT settings.row_cost, sizes.schema, sizes.name, sizes.rows
FROM (
    SELECT pg_catalog.current_setting('cpu_tuple_cost')::pg_catalog.float8
        + pg_catalog.current_setting('cpu_operator_cost')::pg_catalog.float8 AS row_cost,
        pg_catalog.current_setting('block_size')::pg_catalog.float8 AS block_size
) AS settings
LEFT JOIN LATERAL (
    SELECT n.nspname::text AS schema, c.relname::text AS name,
        CASE
            WHEN c.relkind IN ('f', 'p') THEN greatest(c.reltuples, 0)::pg_catalog.float8
            WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples::pg_catalog.float8 / c.relpages * pages
            ELSE pages * 226
        END AS rows
    FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS wanted(schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
    CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.pg_relation_size(c.oid), 0) / settings.block_size AS pages) AS measured
) AS sizes ON true
"""
"""Rows by density at the last ANALYZE and pages now, as the planner reckons; never analysed, as many as fit in a page of 8 kB."""


async def plan_of(text: str, values: Sequence[str | None], fetch: Fetch) -> Plan:
    """The plan of a text with these values. Raises ToolError as `fetch`, Refused when it cannot be read."""
    # The text is the one that runs, judged and wrapped; FORMAT JSON gives it back in one value.
    rows = await fetch(f"EXPLAIN (FORMAT JSON, VERBOSE) {text}", *values)
    if len(rows) != 1 or not isinstance(rows[0][0], str):
        raise unreadable()
    top = read_plan(rows[0][0])
    scanned = sorted({step.relation for step in walk(top) if step.relation is not None})
    if not any(_needs_more(step) for step in walk(top)):
        return Plan(top, {})
    found = await fetch(_SIZES, [schema for schema, _ in scanned], [name for _, name in scanned])
    sizes = {(row["schema"], row["name"]): float(row["rows"]) for row in found if row["rows"] is not None}
    return Plan(top, sizes, found[0]["row_cost"])


def _needs_more(step: Step) -> bool:
    """Whether the step's own numbers do not say how many rows it touches."""
    return bool(step.conditions) or step.parallel or (step.relation is not None and step.kind != "Seq Scan")
