"""Rows of `information_schema`'s relations for one caller. A column that a row leaves out is NULL."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ostiary_tools.catalogs.relations import KINDS, default_text
from ostiary_tools.catalogs.sight import PG_CATALOG, SeenColumn, SeenConstraint, SeenFunction, SeenRelation, Sight, function_key
from ostiary_tools.catalogs.spelling import INTEGERS, NO_TYPMOD, Type, database, domain_of, named, resolved, typed

Row = Mapping[str, Any]

_MATCHES = {"f": "FULL", "p": "PARTIAL", "s": "NONE"}
_RULES = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT", "a": "NO ACTION"}
_CONSTRAINTS = {"p": "PRIMARY KEY", "u": "UNIQUE", "f": "FOREIGN KEY", "c": "CHECK"}
_TABLES = {"r": "BASE TABLE", "p": "BASE TABLE", "v": "VIEW", "f": "FOREIGN"}
_MODES = {"i": "IN", "o": "OUT", "b": "INOUT", "v": "IN", "t": "OUT"}
_ROUTINES = {"function": "FUNCTION", "procedure": "PROCEDURE"}
_IDENTITIES = {"a": "ALWAYS", "d": "BY DEFAULT"}
_UPDATE, _INSERT, _DELETE = 4, 8, 16
"""Bits of `pg_relation_is_updatable`."""


def catalog_name(sight: Sight) -> Iterator[Row]:
    """information_schema_catalog_name."""
    yield {"catalog_name": database(sight)}


def schemata(sight: Sight) -> Iterator[Row]:
    """Schemata."""
    for name in (PG_CATALOG, "information_schema", *sight.schemas):
        yield {"catalog_name": database(sight), "schema_name": name}


def tables(sight: Sight) -> Iterator[Row]:
    """Tables."""
    for relation in _listed(sight):
        kind = KINDS[relation.info.kind]
        yield {
            **named(sight, "table", relation.name),
            "table_type": "LOCAL TEMPORARY" if relation.detail.persistence == "t" else _TABLES[kind],
            "is_insertable_into": _yes(kind in "rp" or relation.detail.events & _INSERT),
            "is_typed": "NO",
        }


def columns(sight: Sight) -> Iterator[Row]:
    """Columns."""
    for relation in _listed(sight):
        for column in relation.columns:
            yield {
                **named(sight, "table", relation.name),
                "column_name": column.info.name,
                "ordinal_position": column.number,
                "dtd_identifier": str(column.number),
                "is_nullable": _yes(not _not_null(sight, column)),
                "is_self_referencing": "NO",
                "is_updatable": _yes(KINDS[relation.info.kind] in "rp" or _updatable(relation)),
                **_value_of(sight, relation, column),
                **typed(sight, resolved(sight, column.detail.type, column.detail.typmod, column.info.type)),
                **domain_of(sight, column.detail.type),
            }


def _value_of(sight: Sight, relation: SeenRelation, column: SeenColumn) -> Row:
    """Where the column's value comes from when none is given."""
    text = default_text(sight, relation, column) or None
    detail = column.detail
    found: dict[str, Any] = {
        "column_default": text if not detail.generated else None,
        "is_generated": "ALWAYS" if detail.generated else "NEVER",
        "generation_expression": text if detail.generated else None,
        "is_identity": _yes(bool(detail.identity)),
        "identity_cycle": "NO",
    }
    sequence = sight.sequence_of(relation.name, column.info.name) if detail.identity else None
    if sequence is not None:
        found |= {
            "identity_generation": _IDENTITIES.get(detail.identity),
            "identity_start": str(sequence.start),
            "identity_increment": str(sequence.increment),
            "identity_maximum": str(sequence.maximum),
            "identity_minimum": str(sequence.minimum),
            "identity_cycle": _yes(sequence.cycle),
        }
    return found


def views(sight: Sight) -> Iterator[Row]:
    """Views."""
    for relation in sight.relations:
        if KINDS[relation.info.kind] == "v":
            yield {
                **named(sight, "table", relation.name),
                "view_definition": sight.definition(relation),
                "is_updatable": _yes(_updatable(relation)),
                "is_insertable_into": _yes(relation.detail.events & _INSERT),
            }


def table_constraints(sight: Sight) -> Iterator[Row]:
    """table_constraints, without NOT NULL."""
    for relation, constraint in _constraints(sight, "pufc"):
        info = constraint.info
        yield {
            **named(sight, "constraint", (relation.info.schema, info.name)),
            **named(sight, "table", relation.name),
            "constraint_type": _CONSTRAINTS[info.kind],
            "is_deferrable": _yes(info.deferrable),
            "initially_deferred": _yes(info.deferred),
            "enforced": "YES",
            "nulls_distinct": _yes("NULLS NOT DISTINCT" not in info.definition) if info.kind == "u" else None,
        }


def key_column_usage(sight: Sight) -> Iterator[Row]:
    """key_column_usage."""
    for relation, constraint in _constraints(sight, "puf"):
        info = constraint.info
        key = _referenced(sight, constraint)
        for place, column in enumerate(info.columns):
            yield {
                **named(sight, "constraint", (relation.info.schema, info.name)),
                **named(sight, "table", relation.name),
                "column_name": column,
                "ordinal_position": place + 1,
                "position_in_unique_constraint": key.info.columns.index(info.target_columns[place]) + 1
                if key is not None
                else None,
            }


def constraint_column_usage(sight: Sight) -> Iterator[Row]:
    """constraint_column_usage: of a foreign key, the columns it refers to."""
    for relation, constraint in _constraints(sight, "pufc"):
        info = constraint.info
        table, names = (info.target, info.target_columns) if info.target is not None else (relation.name, info.columns)
        for column in names:
            yield {
                **named(sight, "table", table),
                "column_name": column,
                **named(sight, "constraint", (relation.info.schema, info.name)),
            }


def constraint_table_usage(sight: Sight) -> Iterator[Row]:
    """constraint_table_usage."""
    for relation, constraint in _constraints(sight, "puf"):
        yield {
            **named(sight, "table", constraint.info.target or relation.name),
            **named(sight, "constraint", (relation.info.schema, constraint.info.name)),
        }


def referential_constraints(sight: Sight) -> Iterator[Row]:
    """referential_constraints."""
    for relation, constraint in _constraints(sight, "f"):
        info = constraint.info
        key = _referenced(sight, constraint)
        target = named(sight, "unique_constraint", (info.target[0], key.info.name)) if info.target and key else {}
        yield {
            **named(sight, "constraint", (relation.info.schema, info.name)),
            **target,
            "match_option": _MATCHES.get(info.match),
            "update_rule": _RULES.get(info.on_update),
            "delete_rule": _RULES.get(info.on_delete),
        }


def check_constraints(sight: Sight) -> Iterator[Row]:
    """check_constraints of tables, without NOT NULL; the clause for those who may read its columns."""
    for relation, constraint in _constraints(sight, "c"):
        clause = re.fullmatch(r"CHECK \((.*)\)(?: NO INHERIT)?(?: NOT VALID)?", constraint.info.definition, re.DOTALL)
        yield {
            **named(sight, "constraint", (relation.info.schema, constraint.info.name)),
            "check_clause": clause[1] if clause and constraint.told else None,
        }


def routines(sight: Sight) -> Iterator[Row]:
    """Routines of users and extensions, without their sources."""
    for function in sight.functions:
        info = function.info
        result = resolved(sight, function.detail.result, NO_TYPMOD, info.result)
        spelled = typed(sight, result, "type_udt") if info.kind != "procedure" else {}
        yield {
            **named(sight, "specific", (info.schema, _specific(sight, function))),
            **named(sight, "routine", (info.schema, info.name)),
            "routine_type": _ROUTINES.get(info.kind),
            **{
                name: spelled[name]
                for name in ("data_type", "type_udt_catalog", "type_udt_schema", "type_udt_name")
                if name in spelled
            },
            "dtd_identifier": "0",
            "routine_body": "SQL" if info.language == "sql" else "EXTERNAL",
            "external_language": info.language.upper(),
            "parameter_style": "GENERAL",
            "is_deterministic": _yes(info.volatility == "immutable"),
            "sql_data_access": "MODIFIES",
            "is_null_call": _yes(function.detail.strict) if info.kind != "procedure" else None,
            "schema_level_routine": "YES",
            "max_dynamic_result_sets": 0,
            "security_type": "DEFINER" if info.security_definer else "INVOKER",
            "as_locator": "NO",
            "is_udt_dependent": "NO",
        }


def parameters(sight: Sight) -> Iterator[Row]:
    """Parameters."""
    for function in sight.functions:
        detail = function.detail
        names = detail.names or ("",) * len(detail.types)
        for place, (type_name, mode, name) in enumerate(zip(detail.types, detail.modes, names, strict=False), 1):
            yield {
                **named(sight, "specific", (function.info.schema, _specific(sight, function))),
                "ordinal_position": place,
                "parameter_mode": _MODES[mode],
                "is_result": "NO",
                "as_locator": "NO",
                "parameter_name": name or None,
                "dtd_identifier": str(place),
                **{k: v for k, v in typed(sight, resolved(sight, type_name, NO_TYPMOD, "")).items() if not k.startswith("numeric")},
            }


def domains(sight: Sight) -> Iterator[Row]:
    """Domains."""
    for info, detail in sight.types:
        if info.kind == "domain" and detail.base is not None:
            yield {
                **named(sight, "domain", (info.schema, info.name)),
                **typed(sight, Type(detail.base, detail.typmod, "")),
                "dtd_identifier": "1",
            }


def element_types(sight: Sight) -> Iterator[Row]:
    """element_types of columns that are arrays."""
    for relation in _listed(sight):
        for column in relation.columns:
            element = sight.elements.get(column.detail.type)
            if element is not None:
                yield {
                    **named(sight, "object", relation.name),
                    "object_type": "TABLE",
                    "collection_type_identifier": str(column.number),
                    **{
                        name: value
                        for name, value in typed(sight, Type(element, NO_TYPMOD, "")).items()
                        if name == "data_type" or name.startswith("udt_")
                    },
                    "dtd_identifier": f"a{column.number}",
                }


def user_defined_types(sight: Sight) -> Iterator[Row]:
    """user_defined_types: composite ones."""
    for info, _ in sight.types:
        if info.kind == "composite":
            yield {
                **named(sight, "user_defined_type", (info.schema, info.name)),
                "user_defined_type_category": "STRUCTURED",
                "is_instantiable": "YES",
            }


def sequences(sight: Sight) -> Iterator[Row]:
    """sequences; those of identity columns stand there."""
    for sequence in sight.sequences:
        if not sequence.identity:
            name = next((b.name for b in sight.builtin.values() if b.words == sequence.type), "int8")
            yield {
                **named(sight, "sequence", (sequence.schema, sequence.name)),
                "data_type": sequence.type,
                "numeric_precision": INTEGERS.get(name),
                "numeric_precision_radix": 2,
                "numeric_scale": 0,
                "start_value": str(sequence.start),
                "minimum_value": str(sequence.minimum),
                "maximum_value": str(sequence.maximum),
                "increment": str(sequence.increment),
                "cycle_option": _yes(sequence.cycle),
            }


def _yes(truth: object) -> str:
    return "YES" if truth else "NO"


def _listed(sight: Sight) -> Iterator[SeenRelation]:
    """The standard knows no materialised views."""
    return (relation for relation in sight.relations if KINDS[relation.info.kind] in _TABLES)


def _updatable(relation: SeenRelation) -> bool:
    return relation.detail.events & (_UPDATE | _DELETE) == _UPDATE | _DELETE


def _constraints(sight: Sight, kinds: str) -> Iterator[tuple[SeenRelation, SeenConstraint]]:
    return ((r, constraint) for r in sight.relations for constraint in r.constraints if constraint.info.kind in kinds)


def _referenced(sight: Sight, constraint: SeenConstraint) -> SeenConstraint | None:
    """The key of the other table that a foreign key refers to."""
    info = constraint.info
    target = sight.by_name.get(info.target) if info.target is not None else None
    keys = target.constraints if target is not None else ()
    return next((k for k in keys if k.info.index == info.index and set(k.info.columns) == set(info.target_columns)), None)


def _specific(sight: Sight, function: SeenFunction) -> str:
    return f"{function.info.name}_{sight.oid(*function_key(function))}"


def _not_null(sight: Sight, column: SeenColumn) -> bool:
    detail = sight.view.snapshot.details.types.get(column.detail.type)
    return column.info.not_null or (detail is not None and detail.not_null)
