"""Builds the `Details` of a snapshot from the rows of details.sql. Plain work on plain rows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ostiary_tools.details import (
    BuiltinType,
    ColumnDetail,
    Constraint,
    Database,
    Details,
    FunctionDetail,
    IndexDetail,
    Name,
    RelationDetail,
    SequenceDetail,
    TypeDetail,
)

Row = Mapping[str, Any]


def build_details(sections: Mapping[str, Sequence[Row]]) -> Details:
    """Everything of the sections, by name."""
    return Details(
        database=Database(**sections["database"][0]),
        builtin_types=tuple(BuiltinType(**row) for row in sections["builtin_types"]),
        relations=_relations(sections["relation_details"], sections["parents"]),
        columns={(r["schema"], r["relation"], r["name"]): _column(r) for r in sections["column_details"]},
        constraints=_constraints(sections["constraints"]),
        indexes={_name(row): _index(row) for row in sections["index_details"]},
        sequences=tuple(_sequence(row) for row in sections["sequences"]),
        types={_name(row): _type(row) for row in sections["type_details"]},
        functions=_functions(sections["function_details"]),
        catalogs={_name(row): tuple(row["columns"]) for row in sections["catalog_columns"]},
        extension_schemas={row["name"]: row["schema"] for row in sections["extension_schemas"]},
    )


def _name(row: Row) -> Name:
    return row["schema"], row["name"]


def _without(row: Row, *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _relations(rows: Iterable[Row], parents: Iterable[Row]) -> dict[Name, RelationDetail]:
    above: defaultdict[Name, list[Name]] = defaultdict(list)
    for row in parents:
        above[row["schema"], row["relation"]].append((row["parent_schema"], row["parent"]))
    return {
        _name(row): RelationDetail(
            **_without(row, "schema", "name", "uses", "calls"),
            parents=tuple(above[_name(row)]),
            uses=tuple((schema, relation, column) for schema, relation, column in row["uses"]),
            calls=tuple((schema, name) for schema, name in row["calls"]),
        )
        for row in rows
    }


def _column(row: Row) -> ColumnDetail:
    rest = _without(row, "schema", "relation", "name", "type_schema", "type", "uses")
    return ColumnDetail((row["type_schema"], row["type"]), **rest, uses=tuple(row["uses"]))


def _constraints(rows: Iterable[Row]) -> dict[Name, tuple[Constraint, ...]]:
    found: defaultdict[Name, list[Constraint]] = defaultdict(list)
    for row in rows:
        rest = _without(row, "schema", "relation", "target_schema", "target", "columns", "target_columns", "functions")
        constraint = Constraint(
            **rest,
            columns=tuple(row["columns"]),
            target=(row["target_schema"], row["target"]) if row["target"] is not None else None,
            target_columns=tuple(row["target_columns"]),
            functions=tuple((schema, name) for schema, name in row["functions"]),
        )
        found[row["schema"], row["relation"]].append(constraint)
    return {name: tuple(constraints) for name, constraints in found.items()}


def _index(row: Row) -> IndexDetail:
    return IndexDetail(
        **_without(row, "schema", "name", "columns", "parts"), columns=tuple(row["columns"]), parts=tuple(row["parts"])
    )


def _sequence(row: Row) -> SequenceDetail:
    owner = (row["owner_schema"], row["owner"]) if row["owner"] is not None else None
    return SequenceDetail(**_without(row, "owner_schema", "owner"), owner=owner)


def _type(row: Row) -> TypeDetail:
    base = (row["base_schema"], row["base"]) if row["base"] is not None else None
    return TypeDetail(**_without(row, "schema", "name", "base_schema", "base"), base=base)


def _functions(rows: Iterable[Row]) -> dict[Name, tuple[FunctionDetail, ...]]:
    found: defaultdict[Name, list[FunctionDetail]] = defaultdict(list)
    for row in rows:
        types = tuple((schema, name) for schema, name in row["types"])
        detail = FunctionDetail(
            **_without(row, "schema", "name", "result_schema", "result", "names", "modes", "types"),
            result=(row["result_schema"], row["result"]),
            names=tuple(row["names"]),
            modes=tuple(row["modes"]) or ("i",) * len(types),
            types=types,
        )
        found[_name(row)].append(detail)
    return {name: tuple(details) for name, details in found.items()}
