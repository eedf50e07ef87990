"""The catalogs as one caller may see them: which there are, their columns, and their rows as a value.

Everything is made from the caller's `SchemaView`, nothing from the database's own
catalogs, so what a view hides cannot be asked for. Knows nothing of statements.
"""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any

from ostiary_tools.catalogs import behind, listings, relations, standard, system
from ostiary_tools.catalogs.sight import Sight, look
from ostiary_tools.view import SchemaView

Name = tuple[str, str]
"""Schema and name."""

BEHIND = "behind"
"""The schema of what stands behind functions and casts; no statement can name it."""

_DATA = tomllib.loads(files(__package__).joinpath("relations.toml").read_text("utf-8"))

STATED: Mapping[Name, tuple[tuple[str, str], ...]] = {
    (schema, name): tuple((part.split()[0], part.split()[1]) for part in text.split(","))
    for schema, stated in _DATA.items()
    for name, text in stated.items()
}
"""Name and type of every column of those relations whose row type is not the server's."""

_ROWS: Mapping[Name, Callable[[Sight], Iterator[Mapping[str, Any]]]] = {
    ("pg_catalog", "pg_am"): system.access_methods,
    ("pg_catalog", "pg_attrdef"): relations.defaults,
    ("pg_catalog", "pg_attribute"): relations.attributes,
    ("pg_catalog", "pg_class"): relations.classes,
    ("pg_catalog", "pg_collation"): system.collations,
    ("pg_catalog", "pg_constraint"): relations.constraints,
    ("pg_catalog", "pg_database"): system.databases,
    ("pg_catalog", "pg_description"): system.descriptions,
    ("pg_catalog", "pg_enum"): system.labels,
    ("pg_catalog", "pg_extension"): system.extensions,
    ("pg_catalog", "pg_index"): relations.indexes,
    ("pg_catalog", "pg_indexes"): listings.indexes,
    ("pg_catalog", "pg_inherits"): relations.inheritance,
    ("pg_catalog", "pg_matviews"): listings.materialized_views,
    ("pg_catalog", "pg_namespace"): system.namespaces,
    ("pg_catalog", "pg_opclass"): system.nothing,
    ("pg_catalog", "pg_proc"): system.functions,
    ("pg_catalog", "pg_sequence"): relations.sequences,
    ("pg_catalog", "pg_sequences"): listings.sequences,
    ("pg_catalog", "pg_tablespace"): system.tablespaces,
    ("pg_catalog", "pg_tables"): listings.tables,
    ("pg_catalog", "pg_type"): system.types,
    ("pg_catalog", "pg_views"): listings.views,
    ("information_schema", "check_constraints"): standard.check_constraints,
    ("information_schema", "columns"): standard.columns,
    ("information_schema", "constraint_column_usage"): standard.constraint_column_usage,
    ("information_schema", "constraint_table_usage"): standard.constraint_table_usage,
    ("information_schema", "domains"): standard.domains,
    ("information_schema", "element_types"): standard.element_types,
    ("information_schema", "information_schema_catalog_name"): standard.catalog_name,
    ("information_schema", "key_column_usage"): standard.key_column_usage,
    ("information_schema", "parameters"): standard.parameters,
    ("information_schema", "referential_constraints"): standard.referential_constraints,
    ("information_schema", "routines"): standard.routines,
    ("information_schema", "schemata"): standard.schemata,
    ("information_schema", "sequences"): standard.sequences,
    ("information_schema", "table_constraints"): standard.table_constraints,
    ("information_schema", "tables"): standard.tables,
    ("information_schema", "user_defined_types"): standard.user_defined_types,
    ("information_schema", "views"): standard.views,
    (BEHIND, "col_description"): behind.col_description,
    (BEHIND, "format_type"): behind.format_type,
    (BEHIND, "names"): behind.names,
    (BEHIND, "obj_description"): behind.obj_description,
    (BEHIND, "pg_collation_is_visible"): behind.collations_on_path,
    (BEHIND, "pg_encoding_to_char"): behind.encodings,
    (BEHIND, "pg_function_is_visible"): behind.functions_on_path,
    (BEHIND, "pg_get_constraintdef"): behind.constraintdef,
    (BEHIND, "pg_get_function_arguments"): behind.function_arguments,
    (BEHIND, "pg_get_function_identity_arguments"): behind.identity_arguments,
    (BEHIND, "pg_get_function_result"): behind.function_result,
    (BEHIND, "pg_get_indexdef"): behind.indexdef,
    (BEHIND, "pg_get_serial_sequence"): behind.serial_sequence,
    (BEHIND, "pg_get_userbyid"): system.nothing,
    (BEHIND, "pg_get_viewdef"): behind.viewdef,
    (BEHIND, "pg_table_is_visible"): behind.relations_on_path,
    (BEHIND, "pg_type_is_visible"): behind.types_on_path,
}
OFFERED = frozenset(_ROWS)
"""Every relation that has rows here."""


def sight(view: SchemaView) -> Sight:
    """What the caller sees, gathered once a view."""
    if Sight not in view.kept:
        view.kept[Sight] = look(view)
    found: Sight = view.kept[Sight]
    return found


def value(view: SchemaView, name: Name) -> str:
    """The relation's rows as a JSON array of objects, made once a view; a NULL is left out."""
    if name not in view.kept:
        # Row by row: one call for all would hold every other thread for as long as it takes.
        rows = (json.dumps(_present(row), ensure_ascii=False) for row in _ROWS[name](sight(view)))
        view.kept[name] = f"[{','.join(rows)}]"
    made: str = view.kept[name]
    return made


def oid(view: SchemaView, kind: str, spelling: str) -> int | None:
    """What a name means to `regclass` and its like, or `None` when it is nothing to the caller."""
    key = ("spellings", kind)
    if key not in view.kept:
        rows = [row for row in behind.names(sight(view)) if row["kind"] == kind]
        view.kept[key] = {row["spelling"]: row["oid"] for row in reversed(rows)}
    found: int | None = view.kept[key].get(spelling)
    return found


def _present(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: given for name, given in row.items() if given is not None}
