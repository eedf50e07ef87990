"""Rows as a caller gives them, checked against the columns they are for, as SQL of constant size.

Each column's values are one parameter, an array of texts; so a hundred thousand rows are judged as fast as one.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ostiary_tools.errors import Refused
from ostiary_tools.given_values import as_text
from ostiary_tools.identifiers import find_relation, identifier, qualified, quoted
from ostiary_tools.snapshot import ColumnInfo, Relation
from ostiary_tools.view import SchemaView


class GivenRows(BaseModel):
    """Rows of one table and what is to be done with them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: Annotated[str, Field(description="`schema.table` or `table`.")]
    action: Annotated[Literal["insert", "update", "delete", "upsert"], Field(description="`upsert`: insert or update by `keys`.")]
    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=200, description="Those that values are given for.")]
    rows: Annotated[tuple[tuple[Any, ...], ...], Field(min_length=1, description="A value per column in each.")]
    keys: Annotated[tuple[str, ...], Field(description="Columns that find a row; by default the primary key.")] = ()


def as_sql(given: GivenRows, view: SchemaView) -> tuple[str, tuple[str, ...]]:
    """The statement and its parameters. Raises Refused, which names the column and the row and no value."""
    relation = find_relation(view, given.table)
    columns = [_column(name, relation, view) for name in given.columns]
    if len({column.name for column in columns}) < len(columns):
        raise Refused("rows", "a column is given twice", "name each column once")
    keys = _keys(given, relation) if given.action != "insert" else ()
    texts = _texts(given, columns, view)
    _checked(given, columns, relation, view)
    _distinct(texts, [column.name for column in columns], keys)
    return _WRITTEN[given.action](relation, columns, keys), tuple(map(_array, zip(*texts, strict=True)))


def _column(name: str, relation: Relation, view: SchemaView) -> ColumnInfo:
    known = {column.name: column for column in view.columns(relation)}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"columns: {', '.join(list(known)[:20])}"
        raise Refused("unknown_column", f"unknown column `{name[:80]}` of {qualified(relation.schema, relation.name)}", hint)
    if known[name].generated and known[name].default:
        raise Refused("rows", f"column `{name}` is computed by the database", "leave it out")
    return known[name]


def _keys(given: GivenRows, relation: Relation) -> tuple[str, ...]:
    keys = given.keys or relation.primary_key
    if not keys:
        raise Refused("rows", f"{qualified(relation.schema, relation.name)} has no primary key", "name the `keys` that find a row")
    if missing := [name for name in keys if name not in given.columns]:
        raise Refused("rows", f"the key column `{missing[0][:80]}` is not among `columns`", "give its value in each row")
    if given.action == "update" and len(set(keys)) == len(given.columns):
        raise Refused("rows", "there is no column to update besides the keys", "name it in `columns`")
    if given.action == "delete" and len(set(keys)) < len(given.columns):
        raise Refused("rows", "rows are deleted by their keys alone", "leave the other columns out")
    return tuple(dict.fromkeys(keys))


def _texts(given: GivenRows, columns: Sequence[ColumnInfo], view: SchemaView) -> list[tuple[str | None, ...]]:
    texts = []
    for number, row in enumerate(given.rows, 1):
        if len(row) != len(columns):
            raise Refused("rows", f"row {number} has {len(row)} values and there are {len(columns)} columns", "give one for each")
        texts.append(tuple(_text(value, column, number, view) for value, column in zip(row, columns, strict=True)))
    return texts


def _text(value: Any, column: ColumnInfo, number: int, view: SchemaView) -> str | None:
    if value is None:
        if column.not_null:
            raise Refused("rows", f"row {number}, column `{column.name}`: it cannot be null", "give a value")
        return None
    try:
        return as_text(value, column, view.snapshot.types)
    except ValueError as error:
        raise Refused("rows", f"row {number}, column `{column.name}`: {error}", "give another value") from None


def _checked(given: GivenRows, columns: Sequence[ColumnInfo], relation: Relation, view: SchemaView) -> None:
    """Whether new rows have all that they must have."""
    if given.action in ("insert", "upsert"):
        there = {column.name for column in columns}
        needed = (c for c in relation.columns if c.not_null and not c.default and not c.generated and c.name not in there)
        if (missing := next(needed, None)) is not None:
            if missing not in view.columns(relation):
                raise Refused("rows", "a column that is not yours needs a value", "rows are added here by somebody who may give it")
            raise Refused("rows", f"column `{missing.name}` cannot be null and has no default", "give a value for it in each row")


def _distinct(texts: Sequence[tuple[str | None, ...]], names: Sequence[str], keys: Sequence[str]) -> None:
    """No two rows are to have the same key: which of them would count nobody could say."""
    places = [names.index(key) for key in keys]
    seen: dict[tuple[str | None, ...], int] = {}
    for number, row in enumerate(texts, 1) if places else ():
        if (first := seen.setdefault(tuple(row[place] for place in places), number)) != number:
            raise Refused("rows", f"rows {first} and {number} have the same key", "give each row once")


def _array(values: Sequence[str | None]) -> str:
    """In PostgreSQL's input syntax."""
    return "{" + ",".join("NULL" if value is None else _element(value) for value in values) + "}"


def _element(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _given(columns: Sequence[ColumnInfo]) -> str:
    arrays = ", ".join(f"CAST(${number} AS text[])" for number in range(1, len(columns) + 1))
    return f"unnest({arrays}) AS given ({', '.join(f'c{number}' for number in range(1, len(columns) + 1))})"


def _values(columns: Sequence[ColumnInfo]) -> Iterator[tuple[str, str]]:
    """Each column with its value as SQL. Without a modifier: what is too long is an error and not cut."""
    for number, column in enumerate(columns, 1):
        yield column.name, f"CAST(given.c{number} AS {_kind(column)})"


def _kind(column: ColumnInfo) -> str:
    """The type by its name; that of an array is written as its elements' with brackets."""
    if column.kind is None:
        return column.type
    schema, name = column.kind
    array = column.type.endswith("[]")
    return f"{quoted(schema)}.{quoted(name.removeprefix('_') if array else name)}{'[]' * array}"


def _insert(relation: Relation, columns: Sequence[ColumnInfo], _keys: Sequence[str]) -> str:
    names = ", ".join(identifier(column.name) for column in columns)
    values = ", ".join(value for _, value in _values(columns))
    return f"INSERT INTO {qualified(relation.schema, relation.name)} ({names}) SELECT {values} FROM {_given(columns)}"  # noqa: S608


def _upsert(relation: Relation, columns: Sequence[ColumnInfo], keys: Sequence[str]) -> str:
    others = [identifier(column.name) for column in columns if column.name not in keys]
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in others)
    found = ", ".join(map(identifier, keys))
    return f"{_insert(relation, columns, keys)} ON CONFLICT ({found}) DO {f'UPDATE SET {sets}' if sets else 'NOTHING'}"


def _update(relation: Relation, columns: Sequence[ColumnInfo], keys: Sequence[str]) -> str:
    values = dict(_values(columns))
    sets = ", ".join(f"{identifier(name)} = {value}" for name, value in values.items() if name not in keys)
    table = qualified(relation.schema, relation.name)
    return f"UPDATE {table} AS target SET {sets} FROM {_given(columns)} WHERE {_found(values, keys)}"  # noqa: S608


def _delete(relation: Relation, columns: Sequence[ColumnInfo], keys: Sequence[str]) -> str:
    table = qualified(relation.schema, relation.name)
    return f"DELETE FROM {table} AS target USING {_given(columns)} WHERE {_found(dict(_values(columns)), keys)}"  # noqa: S608


def _found(values: dict[str, str], keys: Sequence[str]) -> str:
    return " AND ".join(f"target.{identifier(key)} = {values[key]}" for key in keys)


_WRITTEN = {"insert": _insert, "upsert": _upsert, "update": _update, "delete": _delete}
