"""Migrations as data, and what a server says of a schema and of a transaction's locks."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CASES = Path(__file__).parent / "cases" / "migrations"

LOCKS = """
SELECT l.relation::int8 AS oid, l.mode FROM pg_catalog.pg_locks AS l
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.granted AND l.locktype = 'relation'
"""
"""Locks that this transaction holds."""
RELATIONS = """
SELECT c.oid::int8 AS oid, n.nspname || '.' || c.relname AS name, pg_catalog.pg_relation_filenode(c.oid)::int8 AS file
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'app' AND c.relkind IN ('r', 'p', 'v')
"""
SCHEMA = """
SELECT line FROM (
    SELECT format('column %I.%I.%I %s %s %s default %s identity %s generated %s collation %s comment %s', n.nspname, c.relname,
        a.attname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attcollation::regcollation,
        col_description(c.oid, a.attnum)) AS line
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE n.nspname = 'app' AND c.relkind IN ('r', 'p', 'v') AND NOT a.attisdropped
    UNION ALL SELECT format('relation %I.%I %s %s %s %s', n.nspname, c.relname, c.relkind, c.relpersistence, c.reloptions,
        obj_description(c.oid, 'pg_class')) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'app' AND c.relkind <> 'i'
    UNION ALL SELECT format('index %s', pg_get_indexdef(i.indexrelid)) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'app'
    UNION ALL SELECT format('constraint %s.%s %s %s', k.conrelid::regclass, k.conname, k.convalidated, pg_get_constraintdef(k.oid))
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE n.nspname = 'app'
    UNION ALL SELECT format('view %s %s', c.relname, pg_get_viewdef(c.oid)) FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'app' AND c.relkind = 'v'
    UNION ALL SELECT format('label %s %s %s', t.typname, e.enumlabel,
        row_number() OVER (PARTITION BY t.oid ORDER BY e.enumsortorder)) FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid
    UNION ALL SELECT format('schema %s', nspname) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
) AS lines ORDER BY line
"""
"""All that a dump of the schema would say, a line each."""


@dataclass(frozen=True)
class Migration:
    title: str
    sql: str
    locks: dict[str, str] = field(default_factory=dict)
    rewrites: frozenset[str] = frozenset()
    scans: bool = False
    findings: tuple[str, ...] = ()
    back: bool = True
    since: int = 0


def migrations() -> Iterator[Migration]:
    for path in sorted(CASES.glob("*.toml")):
        for one in tomllib.loads(path.read_text("utf-8"))["migration"]:
            one["rewrites"] = frozenset(one.get("rewrites", ()))
            one["findings"] = tuple(one.get("findings", ()))
            yield Migration(**one)
