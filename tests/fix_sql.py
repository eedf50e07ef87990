"""The shop of tests/cases/sql as one agent sees it, and the cases as data."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from ostiary_policies.model import Resource
from ostiary_tools.datasources.catalog import build_snapshot, read_catalog
from ostiary_tools.details import Details
from ostiary_tools.snapshot import ColumnInfo, ForeignKey, FunctionInfo, OperatorInfo, Relation, RelationKind, Snapshot, TypeInfo
from ostiary_tools.view import SchemaView

CASES = Path(__file__).parent / "cases" / "sql"
HIDDEN_COLUMNS = {("employees", "salary"), ("employees", "notes"), ("customers", "password_hash")}
HIDDEN_TABLES = {"secrets"}
HIDDEN_FUNCTIONS = {"steal"}
_TABLES = {
    "customers": "id name email city password_hash mood created_at tags profile",
    "orders": "id customer_id status total placed_at note",
    "products": "id name category price attributes valid",
    "order_items": "order_id product_id quantity unit_price",
    "payments": "id order_id amount method paid_at",
    "employees": "id name salary manager_id department notes",
    "secrets": "id token",
    "order_totals": "customer_id spent",
}
_CATALOGS = {
    ("pg_catalog", "pg_class"): ("oid", "relname", "relnamespace", "relkind"),
    ("pg_catalog", "pg_namespace"): ("oid", "nspname", "nspowner", "nspacl"),
    ("pg_catalog", "pg_authid"): ("oid", "rolname", "rolpassword"),
    ("information_schema", "tables"): ("table_catalog", "table_schema", "table_name", "table_type"),
    ("information_schema", "columns"): ("table_schema", "table_name", "column_name", "ordinal_position"),
}
"""A few columns of a few catalogs."""
_REFERENCES = {
    "orders": {"customer_id": "customers"},
    "order_items": {"order_id": "orders", "product_id": "products"},
    "payments": {"order_id": "orders"},
    "employees": {"manager_id": "employees"},
}


@dataclass(frozen=True)
class Case:
    title: str
    sql: str
    rule: str = ""
    runs: frozenset[str] = frozenset()
    since: int = 0


def cases(folder: str) -> Iterator[Case]:
    """Each statement under its `-- title:` line.

    `-- rule:` names the rule that refuses it, `-- runs:` the functions it runs, `-- since:` the first version that knows it.
    """
    for path in sorted((CASES / folder).glob("*.sql")):
        for block in path.read_text("utf-8").split("-- title: ")[1:]:
            title, _, rest = block.partition("\n")
            facts = {}
            while found := _FACT.match(rest):
                facts[found[1]] = found[2].strip()
                rest = rest[found.end() :]
            runs = frozenset(facts.get("runs", "").split())
            sql = rest.strip().removesuffix(";")
            yield Case(f"{path.stem}: {title.strip()}", sql, facts.get("rule", ""), runs, int(facts.get("since", 0)))


_FACT = re.compile(r"-- (rule|runs|since): (.*)\n")


async def snapshot_of(dsn: str, datasource: str) -> Snapshot:
    """What the server at that address says of itself."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await read_catalog(connection, "")
    finally:
        await connection.close()
    assert rows is not None, "an empty stamp is never the known one, so the catalog is read"
    return build_snapshot(datasource, rows, search_path=("public",), tags={})


def sample_cases() -> list[Case]:
    """What people ask the sample shop."""
    found = []
    for path in sorted((CASES.parent / "honest").glob("*.sql")):
        for block in path.read_text("utf-8").split("-- title: ")[1:]:
            title, _, sql = block.partition("\n")
            found.append(Case(f"{path.stem}: {title}", sql.strip().removesuffix(";")))
    return found


def blocks(text: str) -> Iterator[Case]:
    """The statements of one text, each under its `-- title:` line."""
    for block in text.split("-- title: ")[1:]:
        title, _, sql = block.partition("\n")
        yield Case(title.strip(), sql.strip().removesuffix(";"))


def view_of(snapshot: Snapshot) -> SchemaView:
    """The snapshot without what is hidden from the agent of the cases."""
    seen: set[Resource] = set()
    for relation in snapshot.relations.values():
        if relation.name in HIDDEN_TABLES:
            continue
        seen.add(relation.resource(snapshot.datasource))
        seen.update(
            relation.column_resource(snapshot.datasource, c)
            for c in relation.columns
            if (relation.name, c.name) not in HIDDEN_COLUMNS
        )
    seen.update(
        snapshot.function_resource(schema, name)
        for schema, name in snapshot.functions
        if schema != "pg_catalog" and name not in HIDDEN_FUNCTIONS
    )
    return SchemaView(snapshot, frozenset(seen), frozenset(seen))


def sees_everything(snapshot: Snapshot) -> SchemaView:
    """The snapshot as a caller sees it from whom nothing is hidden."""
    seen: set[Resource] = {r.resource(snapshot.datasource) for r in snapshot.relations.values()}
    seen.update(r.column_resource(snapshot.datasource, c) for r in snapshot.relations.values() for c in r.columns)
    seen.update(snapshot.function_resource(*name) for name in snapshot.functions if name[0] != "pg_catalog")
    return SchemaView(snapshot, frozenset(seen), frozenset(seen))


def shop_snapshot() -> Snapshot:
    """What a catalog reader finds in shop.sql, written by hand, with a few built-ins."""
    relations = {("public", name): _relation(name, columns.split()) for name, columns in _TABLES.items()}
    relations["public", "Weird Name"] = _relation("Weird Name", ["Select", 'a"b'])
    functions = {
        ("public", "discount"): (_function("public", "discount", "price numeric", "numeric"),),
        ("public", "series"): (_function("public", "series", "n integer", "TABLE(a integer, b text)", columns=("a", "b")),),
        ("public", "label"): (_function("public", "label", "o orders", "text"),),
        ("public", "steal"): (_function("public", "steal", "", "text", volatility="volatile"),),
        ("public", "lower"): (_function("public", "lower", "value character varying", "text", volatility="volatile"),),
        ("pg_catalog", "lower"): (_function("pg_catalog", "lower", "text", "text"),),
        ("pg_catalog", "generate_series"): (_function("pg_catalog", "generate_series", "integer, integer", "SETOF integer"),),
        ("pg_catalog", "unnest"): (_function("pg_catalog", "unnest", "anyarray", "SETOF anyelement"),),
        ("pg_catalog", "pg_read_file"): (_function("pg_catalog", "pg_read_file", "text", "text", volatility="volatile"),),
    }
    return Snapshot(
        datasource="shop",
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        server_version=180006,
        search_path=("public",),
        schemas={"public": ""},
        relations=relations,
        functions=functions,
        types={
            ("public", "mood"): TypeInfo("public", "mood", "enum", ("sad", "ok", "happy")),
            ("public", "positive"): TypeInfo("public", "positive", "domain"),
            ("public", "pair"): TypeInfo("public", "pair", "composite"),
        },
        details=Details(catalogs=_CATALOGS),
        operators={"<->>": (OperatorInfo("public", "<->>", "public", "discount"),)},
    )


def _relation(name: str, columns: list[str]) -> Relation:
    kind = RelationKind.VIEW if name == "order_totals" else RelationKind.TABLE
    keys = tuple(ForeignKey(f"{name}_{c}_fkey", (c,), "public", to, ("id",)) for c, to in _REFERENCES.get(name, {}).items())
    return Relation("public", name, kind, tuple(ColumnInfo(c, "text", not_null=False) for c in columns), foreign_keys=keys)


def _function(
    schema: str, name: str, arguments: str, result: str, *, volatility: str = "immutable", columns: tuple[str, ...] = ()
) -> FunctionInfo:
    return FunctionInfo(schema, name, arguments, result, "function", volatility, "sql", output_columns=columns)
