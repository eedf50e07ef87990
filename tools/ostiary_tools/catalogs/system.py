"""Rows of `pg_catalog`'s relations about all but relations. A column that a row leaves out is NULL."""

from collections.abc import Iterator, Mapping
from typing import Any

from ostiary_tools.catalogs.sight import PG_CATALOG, Sight, function_key

Row = Mapping[str, Any]

CLASSES = {
    "pg_am": 2601,
    "pg_attrdef": 2604,
    "pg_attribute": 1249,
    "pg_class": 1259,
    "pg_collation": 3456,
    "pg_constraint": 2606,
    "pg_database": 1262,
    "pg_description": 2609,
    "pg_enum": 3501,
    "pg_extension": 3079,
    "pg_index": 2610,
    "pg_inherits": 2611,
    "pg_namespace": 2615,
    "pg_proc": 1255,
    "pg_sequence": 2224,
    "pg_type": 1247,
}
"""The catalogs' own OIDs, which `classoid` and `'pg_class'::regclass` name."""
_FUNCTION_KINDS = {"function": "f", "aggregate": "a", "window": "w", "procedure": "p"}
_TYPE_KINDS = {"base": "b", "enum": "e", "domain": "d", "composite": "c", "range": "r", "multirange": "m"}
_LANGUAGES = {"internal": 12, "c": 13, "sql": 14}


def namespaces(sight: Sight) -> Iterator[Row]:
    """pg_namespace."""
    for name in (PG_CATALOG, "information_schema", *sight.schemas):
        yield {"oid": sight.oid("namespace", name), "nspname": name}


def types(sight: Sight) -> Iterator[Row]:
    """pg_type: the built-in types, those of users, row types of relations, and arrays of each."""
    for builtin in sight.builtin.values():
        yield {
            "oid": builtin.oid,
            "typname": builtin.name,
            "typnamespace": 11,
            "typlen": builtin.length,
            "typbyval": builtin.by_value,
            "typtype": builtin.kind,
            "typcategory": builtin.category,
            "typispreferred": builtin.preferred,
            "typisdefined": True,
            "typdelim": builtin.delimiter,
            "typrelid": 0,
            "typelem": builtin.element,
            "typarray": builtin.array,
            "typalign": builtin.alignment,
            "typstorage": builtin.storage,
            "typnotnull": False,
            "typbasetype": 0,
            "typtypmod": -1,
            "typndims": 0,
            "typcollation": builtin.collation,
        }
    for info, detail in sight.types:
        yield {
            **_type(sight, info.schema, info.name, (_TYPE_KINDS[info.kind], detail.category), detail.array),
            "typlen": detail.length,
            "typbyval": detail.by_value,
            "typispreferred": detail.preferred,
            "typdelim": detail.delimiter,
            "typnotnull": detail.not_null,
            "typbasetype": sight.type_oid(detail.base) if detail.base else 0,
            "typtypmod": detail.typmod,
        }
        if detail.array:
            yield _array(sight, info.schema, detail.array, info.name)
    for relation in sight.relations:
        schema, name = relation.name
        yield {**_type(sight, schema, name, ("c", "C"), f"_{name}"), "typrelid": sight.oid("relation", schema, name)}
        yield _array(sight, schema, f"_{name}", name)


def _type(sight: Sight, schema: str, name: str, kind: tuple[str, str], array: str) -> dict[str, Any]:
    return {
        "oid": sight.oid("type", schema, name),
        "typname": name,
        "typnamespace": sight.oid("namespace", schema),
        "typlen": -1,
        "typbyval": False,
        "typtype": kind[0],
        "typcategory": kind[1],
        "typispreferred": False,
        "typisdefined": True,
        "typdelim": ",",
        "typrelid": 0,
        "typelem": 0,
        "typarray": sight.oid("type", schema, array) or 0,
        "typnotnull": False,
        "typbasetype": 0,
        "typtypmod": -1,
        "typndims": 0,
        "typcollation": 0,
    }


def _array(sight: Sight, schema: str, name: str, element: str) -> Row:
    return {**_type(sight, schema, name, ("b", "A"), ""), "typelem": sight.oid("type", schema, element)}


def labels(sight: Sight) -> Iterator[Row]:
    """pg_enum."""
    for info, _ in sight.types:
        for place, label in enumerate(info.labels, 1):
            yield {
                "oid": sight.oid("label", info.schema, info.name, label),
                "enumtypid": sight.oid("type", info.schema, info.name),
                "enumsortorder": place,
                "enumlabel": label,
            }


def functions(sight: Sight) -> Iterator[Row]:
    """pg_proc: functions of users and extensions, without their sources."""
    for function in sight.functions:
        info, detail = function.info, function.detail
        inputs = [sight.type_oid(t) for t, mode in zip(detail.types, detail.modes, strict=True) if mode in "ibv"]
        outputs = any(mode in "obt" for mode in detail.modes)
        yield {
            "oid": sight.oid(*function_key(function)),
            "proname": info.name,
            "pronamespace": sight.oid("namespace", info.schema),
            "prolang": _LANGUAGES.get(info.language),
            "procost": detail.cost,
            "prorows": detail.rows,
            "prokind": _FUNCTION_KINDS[info.kind],
            "prosecdef": info.security_definer,
            "proleakproof": detail.leakproof,
            "proisstrict": detail.strict,
            "proretset": detail.returns_set,
            "provolatile": info.volatility[0],
            "proparallel": detail.parallel,
            "pronargs": info.argument_count,
            "pronargdefaults": info.default_count,
            "prorettype": sight.type_oid(detail.result),
            "proargtypes": " ".join(map(str, inputs)),
            "proallargtypes": [sight.type_oid(t) for t in detail.types] if outputs or "v" in detail.modes else None,
            "proargmodes": list(detail.modes) if outputs or "v" in detail.modes else None,
            "proargnames": list(detail.names) or None,
        }


def descriptions(sight: Sight) -> Iterator[Row]:
    """pg_description: comments on schemas, relations, columns, types and functions."""
    snapshot = sight.view.snapshot
    for schema in sight.schemas:
        yield from _described("pg_namespace", sight.oid("namespace", schema), snapshot.schemas[schema])
    for relation in sight.relations:
        oid = sight.oid("relation", *relation.name)
        yield from _described("pg_class", oid, relation.info.comment)
        for column in relation.columns:
            yield from _described("pg_class", oid, column.info.comment, column.number)
    for info, _ in sight.types:
        yield from _described("pg_type", sight.oid("type", info.schema, info.name), info.comment)
    for function in sight.functions:
        yield from _described("pg_proc", sight.oid(*function_key(function)), function.info.comment)


def _described(catalog: str, oid: int | None, comment: str, number: int = 0) -> Iterator[Row]:
    if comment:
        yield {"objoid": oid, "classoid": CLASSES[catalog], "objsubid": number, "description": comment}


def extensions(sight: Sight) -> Iterator[Row]:
    """pg_extension."""
    for name, version in sorted(sight.view.snapshot.extensions.items()):
        schema = sight.view.snapshot.details.extension_schemas.get(name, "")
        oid = sight.oid("extension", name)
        yield {"oid": oid, "extname": name, "extversion": version, "extnamespace": sight.oid("namespace", schema)}


def access_methods(sight: Sight) -> Iterator[Row]:
    """pg_am: the built-in ones and those of visible indexes."""
    for key, oid in sight.numbers.items():
        if key[0] == "method":
            yield {"oid": oid, "amname": key[1], "amtype": "t" if key[1] == "heap" else "i"}


def databases(sight: Sight) -> Iterator[Row]:
    """pg_database: the one the statement runs in."""
    database = sight.view.snapshot.details.database
    yield {
        "oid": sight.oid("database"),
        "datname": database.name,
        "encoding": database.encoding,
        "datistemplate": False,
        "datallowconn": True,
        "datcollate": database.collation,
        "datctype": database.character_type,
    }


def collations(_sight: Sight) -> Iterator[Row]:
    """pg_collation: those every database has."""
    for oid, name, provider in ((100, "default", "d"), (950, "C", "c"), (951, "POSIX", "c")):
        yield {
            "oid": oid,
            "collname": name,
            "collnamespace": 11,
            "collprovider": provider,
            "collisdeterministic": True,
            "collencoding": -1,
        }


def tablespaces(_sight: Sight) -> Iterator[Row]:
    """pg_tablespace: those every cluster has."""
    yield from ({"oid": oid, "spcname": name} for oid, name in ((1663, "pg_default"), (1664, "pg_global")))


def nothing(_sight: Sight) -> Iterator[Row]:
    """What tools join to and nobody is told of: operator classes, owners."""
    return iter(())
