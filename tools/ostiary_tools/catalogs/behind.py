"""Rows behind the catalog's functions and casts: what they answer about the things one caller sees."""

from collections.abc import Iterator, Mapping
from typing import Any

from ostiary_tools.catalogs.listings import index_text
from ostiary_tools.catalogs.sight import PG_CATALOG, SeenIndex, Sight, function_key
from ostiary_tools.catalogs.system import CLASSES, collations, descriptions
from ostiary_tools.identifiers import identifier, qualified

Row = Mapping[str, Any]


_KINDS = {"relation": "regclass", "type": "regtype", "function": "regproc"}


def names(sight: Sight) -> Iterator[Row]:
    """Every spelling of a name that `regclass` and its like accept, with its number and how they print it."""
    for kind in ("regclass", "regtype", "regnamespace", "regproc"):
        yield {"kind": kind, "spelling": "0", "oid": 0, "name": "-"}
    for catalog, oid in CLASSES.items():
        yield from _spelled("regclass", oid, catalog, f"{PG_CATALOG}.{catalog}")
    for builtin in sight.builtin.values():
        yield from _spelled("regtype", builtin.oid, builtin.words, builtin.name, f"{PG_CATALOG}.{builtin.name}")
    for key, oid in sight.numbers.items():
        if key[0] == "namespace":
            yield from _spelled("regnamespace", oid, identifier(key[1]))
        elif key[0] in ("relation", "type"):
            yield from _spelled(_KINDS[key[0]], oid, *_spellings(sight, *key))
    overloads = {function_key(function)[:3]: sight.numbers[function_key(function)] for function in reversed(sight.functions)}
    for key, oid in overloads.items():
        yield from _spelled("regproc", oid, *_spellings(sight, *key))


def _spelled(kind: str, oid: int, printed: str, *others: str) -> Iterator[Row]:
    for spelling in dict.fromkeys((printed, *others, str(oid))):
        yield {"kind": kind, "spelling": spelling, "oid": oid, "name": printed}


def _spellings(sight: Sight, kind: str, schema: str, name: str) -> tuple[str, ...]:
    """How the name is printed, first, and its longest spelling."""
    element = sight.elements.get((schema, name)) if kind == "type" else None
    if element is not None:
        return tuple(f"{spelling}[]" for spelling in _spellings(sight, "type", *element))
    long = qualified(schema, name)
    return (identifier(name), long) if sight.found_first(kind, schema, name) else (long,)


def format_type(sight: Sight) -> Iterator[Row]:
    """Each type with and without a modifier, and the modifiers of visible columns."""
    for builtin in sight.builtin.values():
        yield {"a": builtin.oid, "result": builtin.words}
        yield {"a": builtin.oid, "b": -1, "result": builtin.exact}
    for key, oid in sight.numbers.items():
        if key[0] == "type":
            words = _spellings(sight, *key)[0]
            yield {"a": oid, "result": words}
            yield {"a": oid, "b": -1, "result": words}
    modified = {(sight.type_oid(d.base), d.typmod): d.base_words for _, d in sight.types if d.base is not None and d.typmod != -1}
    for relation in sight.relations:
        for column in relation.columns:
            if column.detail.typmod != -1:
                modified[sight.type_oid(column.detail.type), column.detail.typmod] = column.info.type
    for (oid, typmod), words in modified.items():
        yield {"a": oid, "b": typmod, "result": words}


def obj_description(sight: Sight) -> Iterator[Row]:
    """Comments on whole things."""
    catalogs = {oid: name for name, oid in CLASSES.items()}
    for row in descriptions(sight):
        if row["objsubid"] == 0:
            yield {"a": row["objoid"], "b": catalogs[row["classoid"]], "result": row["description"]}


def col_description(sight: Sight) -> Iterator[Row]:
    """Comments on columns."""
    for row in descriptions(sight):
        if row["objsubid"]:
            yield {"a": row["objoid"], "b": row["objsubid"], "result": row["description"]}


def indexdef(sight: Sight) -> Iterator[Row]:
    """Statements of indexes, and their parts."""
    for relation in sight.relations:
        for index in relation.indexes:
            oid = sight.oid("relation", relation.info.schema, index.info.name)
            yield {"a": oid, "b": 0, "result": index_text(relation, index)}
            yield from ({"a": oid, "b": place, "result": part} for place, part in _parts(index))


def _parts(index: SeenIndex) -> Iterator[tuple[int, str]]:
    for place, (part, column) in enumerate(zip(index.detail.parts, index.detail.columns, strict=True), 1):
        if column or index.told:
            yield place, part


def constraintdef(sight: Sight) -> Iterator[Row]:
    """Definitions of constraints whose constants may be known."""
    for relation in sight.relations:
        for constraint in relation.constraints:
            if constraint.told:
                yield {"a": sight.oid("constraint", *relation.name, constraint.info.name), "result": constraint.info.definition}


def viewdef(sight: Sight) -> Iterator[Row]:
    """Definitions of views, for those from whom nothing is hidden."""
    for relation in sight.relations:
        yield {"a": sight.oid("relation", *relation.name), "result": sight.definition(relation)}


def function_arguments(sight: Sight) -> Iterator[Row]:
    """Arguments without the values of their defaults."""
    return identity_arguments(sight)


def identity_arguments(sight: Sight) -> Iterator[Row]:
    """Arguments that tell overloads apart."""
    for function in sight.functions:
        yield {"a": sight.oid(*function_key(function)), "result": function.detail.identity_arguments}


def function_result(sight: Sight) -> Iterator[Row]:
    """What functions return."""
    for function in sight.functions:
        yield {"a": sight.oid(*function_key(function)), "result": function.info.result or None}


def serial_sequence(sight: Sight) -> Iterator[Row]:
    """Sequences by the columns that own them."""
    for sequence in sight.sequences:
        if sequence.owner is not None:
            result = qualified(sequence.schema, sequence.name)
            for table in _spellings(sight, "relation", *sequence.owner):
                yield {"a": table, "b": sequence.owner_column, "result": result}


def relations_on_path(sight: Sight) -> Iterator[Row]:
    """Whether a relation is found without its schema."""
    return _on_path(sight, "relation")


def types_on_path(sight: Sight) -> Iterator[Row]:
    """Whether a type is found without its schema."""
    yield from ({"a": builtin.oid, "result": True} for builtin in sight.builtin.values())
    yield from _on_path(sight, "type")


def collations_on_path(sight: Sight) -> Iterator[Row]:
    """Those we show are PostgreSQL's own."""
    return ({"a": row["oid"], "result": True} for row in collations(sight))


def functions_on_path(sight: Sight) -> Iterator[Row]:
    """Whether a function is found without its schema."""
    return _on_path(sight, "function")


def _on_path(sight: Sight, kind: str) -> Iterator[Row]:
    for key, oid in sight.numbers.items():
        if key[0] == kind:
            yield {"a": oid, "result": sight.found_first(kind, key[1], key[2])}


def encodings(sight: Sight) -> Iterator[Row]:
    """The database's own encoding."""
    database = sight.view.snapshot.details.database
    yield {"a": database.encoding, "result": database.encoding_name}
