"""What the text of a statement says of its output columns: their names, and types beyond these, precision and scale."""

from typing import Any

from ostiary_tools.sql import calls
from ostiary_tools.sql.joins import tables_of
from ostiary_tools.sql.naming import column_name
from ostiary_tools.sql.parse import parse
from ostiary_tools.view import SchemaView


def declared_types(text: str, view: SchemaView) -> tuple[str | None, ...]:
    """For each output column the type its table or a cast declares, as `numeric(12,2)`; `None` where nothing does.

    `text` is a judged statement. Empty when its output columns cannot be counted.
    """
    tree = parse(text)
    if type(tree).__name__ != "SelectStmt" or not tree.targetList:
        return ()
    values = [target.val for target in tree.targetList]
    if any(type(part).__name__ == "A_Star" for value in values for part in _path(value)):
        return ()
    tables = tables_of(tree, view)
    found = [_cast(value) for value in values]
    columns = [tables.column(value) if tables else None for value in values]
    return tuple(
        declared or (tables.info(column).type if tables and column else None)
        for declared, column in zip(found, columns, strict=True)
    )


def _path(value: Any) -> tuple[Any, ...]:
    return getattr(value, "fields", None) or getattr(value, "indirection", None) or ()


def _cast(value: Any) -> str | None:
    if type(value).__name__ != "TypeCast" or value.typeName.arrayBounds:
        return None
    modifiers = [getattr(getattr(m, "val", None), "ival", None) for m in value.typeName.typmods or ()]
    if calls.parts(value.typeName.names)[-1] != "numeric" or not modifiers or None in modifiers:
        return None
    return f"numeric({','.join(map(str, (*modifiers, 0)[:2]))})"


def names(text: str) -> tuple[str, ...]:
    """The names of the output columns of a judged statement, as its text tells them; empty where it does not."""
    tree = parse(text)
    while type(tree).__name__ == "SelectStmt" and tree.larg is not None:
        tree = tree.larg
    if type(tree).__name__ != "SelectStmt":
        return ()
    if tree.valuesLists:
        return tuple(f"column{number}" for number, _ in enumerate(tree.valuesLists[0], 1))
    return tuple(str(target.name or column_name(target.val) or "") for target in tree.targetList or ())
