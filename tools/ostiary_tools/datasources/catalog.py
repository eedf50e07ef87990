"""Reads a PostgreSQL catalog into a `Snapshot`.

One consistent read, the queries of catalog.sql and implicit.sql in one transaction; building the
snapshot is plain work on plain rows and runs off the event loop. Knows nothing of
pools, callers or policy.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from asyncpg.pool import PoolConnectionProxy

from ostiary_tools.datasources.details import build_details
from ostiary_tools.datasources.implicit import SERVER, Name, Row, Running, with_children
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.snapshot import (
    Cast,
    ColumnInfo,
    ForeignKey,
    FunctionInfo,
    Index,
    Mark,
    MarkKey,
    OperatorInfo,
    Relation,
    RelationKind,
    Snapshot,
    Trigger,
    TypeInfo,
    least_trusted,
)

_SYSTEM = ("pg_catalog", "information_schema")
_OF_MARKS = ("stamp", "relation_oids", "relation_mark", "function_marks")
"""Read by their own names, and no part of the digest."""
_KINDS = {
    "r": RelationKind.TABLE,
    "p": RelationKind.PARTITIONED_TABLE,
    "v": RelationKind.VIEW,
    "m": RelationKind.MATERIALIZED_VIEW,
    "f": RelationKind.FOREIGN_TABLE,
}
_FUNCTION_KINDS = {"f": "function", "a": "aggregate", "w": "window", "p": "procedure"}
_VOLATILITIES = {"i": "immutable", "s": "stable", "v": "volatile"}
_TYPE_KINDS = {"b": "base", "e": "enum", "d": "domain", "c": "composite", "r": "range", "m": "multirange"}
_TAG = re.compile(r"(?<!\w)@(pii|secret)\b(?:[ \t]+([a-z][a-z0-9_]*))?")


@dataclass(frozen=True, slots=True)
class CatalogRows:
    """The raw rows of one read, by section of catalog.sql and implicit.sql, and the stamp they were read under."""

    stamp: str
    sections: Mapping[str, Sequence[Row]]
    marks: Mapping[MarkKey, Mark]


_FILES = ("catalog.sql", "details.sql", "implicit.sql")
_QUERIES = {name: section.query for file in _FILES for name, section in load_sections(file).items()}
_MARK = _QUERIES["relation_mark"]
RELATION_MARKS = f"""
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name, {_MARK} AS mark
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1::pg_catalog.oid[])
"""  # noqa: S608  the mark is ours


async def read_catalog(connection: PoolConnectionProxy, known_stamp: str) -> CatalogRows | None:
    """Read everything in the transaction the connection is in; `None` when the stamp is still the known one."""
    stamp = str(await connection.fetchval(_QUERIES["stamp"]))
    if stamp == known_stamp:
        return None
    sections = {name: await connection.fetch(query) for name, query in _QUERIES.items() if name not in _OF_MARKS}
    oids = [row["oid"] for row in await connection.fetch(_QUERIES["relation_oids"])]
    names = {(row["schema"], row["name"]) for row in sections["functions"] if row["schema"] not in _SYSTEM}
    marks = [marks_of("relation", await connection.fetch(RELATION_MARKS, oids))]
    marks += [marks_of("function", await connection.fetch(_QUERIES["function_marks"], *_unzipped(names)))]
    return CatalogRows(stamp, sections, marks[0] | marks[1])


def unchanged_relations(marks: Iterable[Mark]) -> str:
    """A statement with one row for each of these relations that still is what it was; it holds numbers and digests alone."""
    oids, words = zip(*((str(mark.oid), mark.word) for mark in marks), strict=True)
    these = f"c.oid = ANY ('{{{','.join(oids)}}}'::pg_catalog.oid[])"
    return f"SELECT FROM pg_catalog.pg_class c WHERE {these} AND {_MARK} = ANY ('{{{','.join(words)}}}')"


def function_marks(names: Iterable[Name]) -> tuple[str, list[Any]]:
    """The query for the marks of functions as they are now, and its parameters."""
    return _QUERIES["function_marks"], _unzipped(names)


def marks_of(kind: str, rows: Iterable[Row]) -> dict[MarkKey, Mark]:
    """The marks that such a query gave; what no longer exists has none."""
    return {(kind, row["schema"], row["name"]): Mark(row["oid"], row["mark"]) for row in rows}


def _unzipped(names: Iterable[Name]) -> list[Any]:
    names = list(names)
    return [[schema for schema, _ in names], [name for _, name in names]]


def parse_tags(comment: str) -> frozenset[str]:
    """Tags written in a comment: `@pii email` gives `pii` and `pii:email`, `@secret` gives `secret`."""
    tags: set[str] = set()
    for word, detail in _TAG.findall(comment):
        tags.add(word)
        if word == "pii" and detail:
            tags.add(f"{word}:{detail}")
    return frozenset(tags)


def build_snapshot(
    datasource: str,
    rows: CatalogRows,
    *,
    search_path: tuple[str, ...],
    tags: Mapping[str, frozenset[str]],
) -> Snapshot:
    """Build the snapshot; `tags` adds to those of the comments, by `schema.table` or `schema.table.column`."""
    sections = rows.sections
    running = Running(sections["uses"], sections["casts"])
    return Snapshot(
        datasource=datasource,
        taken_at=datetime.now(UTC),
        server_version=sections["server"][0]["version"],
        search_path=search_path,
        schemas={row["name"]: row["comment"] for row in sections["schemas"]},
        relations=_relations(sections, tags, running),
        functions=_functions(sections["functions"]),
        types=_types(sections["types"], running),
        operators=_operators(sections["operators"]),
        extensions={row["name"]: row["version"] for row in sections["extensions"]},
        casts=_casts(sections["casts"]),
        implicit_casts=frozenset(
            ((row["source_schema"], row["source"]), (row["target_schema"], row["target"]))
            for row in sections["casts"]
            if row["implicit"]
        ),
        called=running.called(),
        always=running.functions(SERVER),
        marks=rows.marks,
        details=build_details(sections),
        version=_digest(sections, search_path, tags),
    )


def _relations(sections: Mapping[str, Sequence[Row]], tags: Mapping[str, frozenset[str]], running: Running) -> dict[Name, Relation]:
    columns = _by_relation(sections["columns"])
    foreign_keys = _by_relation(sections["foreign_keys"])
    indexes = _by_relation(sections["indexes"])
    triggers = _by_relation(sections["triggers"])
    estimates = {(row["schema"], row["name"]): int(row["rows"]) for row in sections["estimates"]}
    found: dict[Name, Relation] = {}
    for row in sections["relations"]:
        name = (row["schema"], row["name"])
        path = f"{name[0]}.{name[1]}"
        found[name] = Relation(
            schema=name[0],
            name=name[1],
            kind=_KINDS[row["kind"]],
            columns=tuple(_column(path, column, tags, running) for column in columns[name]),
            comment=row["comment"],
            tags=parse_tags(row["comment"]) | tags.get(path, frozenset()),
            primary_key=next((tuple(index["key_columns"]) for index in indexes[name] if index["primary"]), ()),
            unique_keys=tuple(tuple(index["key_columns"]) for index in indexes[name] if index["is_key"] and not index["primary"]),
            foreign_keys=tuple(_foreign_key(key) for key in foreign_keys[name]),
            indexes=tuple(
                Index(index["name"], index["definition"], tuple(index["all_columns"]), index["unique"]) for index in indexes[name]
            ),
            estimated_rows=estimates.get(name),
            has_children=row["has_children"],
            runs=running.functions(("relation", *name, "")),
            row_security=row["row_security"],
            writes=running.functions(("written", *name, "")),
            triggers=tuple(_trigger(trigger) for trigger in triggers[name]),
            rewritten=row["rewritten"],
        )
    return _tagged_by_children(found, with_children(sections["children"]))


def _tagged_by_children(relations: dict[Name, Relation], children: Mapping[Name, frozenset[Name]]) -> dict[Name, Relation]:
    """A parent shows the rows of its children, so what their tags say of a table or a column holds for it too."""
    tagged = dict(relations)
    for name, below in children.items():
        parts = [relations[child] for child in below if child in relations]
        if name not in relations or not parts:
            continue
        above = relations[name]
        columns = tuple(
            replace(column, tags=column.tags.union(*(c.tags for part in parts for c in part.columns if c.name == column.name)))
            for column in above.columns
        )
        tagged[name] = replace(above, columns=columns, tags=above.tags.union(*(part.tags for part in parts)))
    return tagged


def _by_relation(rows: Iterable[Row]) -> Mapping[Name, list[Row]]:
    grouped: defaultdict[Name, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["schema"], row["relation"]].append(row)
    return grouped


def _column(relation: str, row: Row, tags: Mapping[str, frozenset[str]], running: Running) -> ColumnInfo:
    return ColumnInfo(
        name=row["name"],
        type=row["type"],
        not_null=row["not_null"],
        default=row["default"],
        generated=row["generated"],
        computed=row["computed"],
        comment=row["comment"],
        tags=parse_tags(row["comment"]) | tags.get(f"{relation}.{row['name']}", frozenset()),
        kind=(row["type_schema"], row["type_name"]),
        runs=running.functions(("column", row["schema"], row["relation"], row["name"])),
        deterministic=row["deterministic"],
        fills=running.functions(("filled", row["schema"], row["relation"], row["name"])),
    )


def _foreign_key(row: Row) -> ForeignKey:
    target = (row["target_schema"], row["target_table"], tuple(row["target_columns"]))
    return ForeignKey(row["name"], tuple(row["columns"]), *target, on_delete=row["on_delete"], on_update=row["on_update"])


def _trigger(row: Row) -> Trigger:
    events = frozenset(word for word in ("insert", "update", "delete") if row[f"{word}s"])
    return Trigger(row["name"], (row["function_schema"], row["function"]), events)


def _functions(rows: Iterable[Row]) -> dict[Name, tuple[FunctionInfo, ...]]:
    found: defaultdict[Name, list[FunctionInfo]] = defaultdict(list)
    for row in rows:
        info = FunctionInfo(
            schema=row["schema"],
            name=row["name"],
            arguments=row["arguments"],
            result=row["result"],
            kind=_FUNCTION_KINDS[row["kind"]],
            volatility=_VOLATILITIES[row["volatility"]],
            language=least_trusted(row["languages"] or ("sql",)),
            owner=row["owner"],
            security_definer=row["security_definer"],
            extension=row["extension"],
            comment=row["comment"],
            argument_count=row["argument_count"],
            default_count=row["default_count"],
            variadic=row["variadic"],
            output_columns=tuple(row["output_columns"]),
        )
        found[info.schema, info.name].append(info)
    return {name: tuple(overloads) for name, overloads in found.items()}


def _types(rows: Iterable[Row], running: Running) -> dict[Name, TypeInfo]:
    return {
        (row["schema"], row["name"]): TypeInfo(
            schema=row["schema"],
            name=row["name"],
            kind=_TYPE_KINDS[row["kind"]],
            labels=tuple(row["labels"]),
            extension=row["extension"],
            comment=row["comment"],
            base=(row["base_schema"], row["base"]) if row["base"] else None,
            functions=running.converted(row["schema"], row["name"]),
        )
        for row in rows
    }


def _casts(rows: Iterable[Row]) -> dict[Name, tuple[Cast, ...]]:
    found: defaultdict[Name, list[Cast]] = defaultdict(list)
    for row in rows:
        if row["function"]:
            cast = Cast((row["source_schema"], row["source"]), (row["function_schema"], row["function"]))
            found[row["target_schema"], row["target"]].append(cast)
    return {target: tuple(casts) for target, casts in found.items()}


def _operators(rows: Iterable[Row]) -> dict[str, tuple[OperatorInfo, ...]]:
    found: defaultdict[str, list[OperatorInfo]] = defaultdict(list)
    for row in rows:
        found[row["name"]].append(
            OperatorInfo(
                row["schema"],
                row["name"],
                row["function_schema"],
                row["function"],
                left=(row["left_schema"], row["left_type"]) if row["left_type"] else None,
                right=(row["right_schema"], row["right_type"]),
            )
        )
    return {name: tuple(dict.fromkeys(operators)) for name, operators in found.items()}


def _digest(sections: Mapping[str, Sequence[Row]], search_path: tuple[str, ...], tags: Mapping[str, frozenset[str]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((search_path, sorted((path, sorted(words)) for path, words in tags.items()))).encode())
    for name in sorted(sections.keys() - {"database", "estimates"}):
        digest.update(f"\n{name}\n".encode())
        for row in sections[name]:
            digest.update(repr(tuple(row.values())).encode())
    return digest.hexdigest()
