"""Rows of `pg_catalog`'s views for people: `pg_tables`, `pg_indexes` and their like. A column that a row leaves out is NULL."""

from collections.abc import Iterator, Mapping
from typing import Any

from ostiary_tools.catalogs.relations import KINDS
from ostiary_tools.catalogs.sight import SeenIndex, SeenRelation, Sight
from ostiary_tools.identifiers import identifier
from ostiary_tools.snapshot import RelationKind

Row = Mapping[str, Any]


def tables(sight: Sight) -> Iterator[Row]:
    """pg_tables."""
    for relation in sight.relations:
        if KINDS[relation.info.kind] in "rp":
            yield {
                "schemaname": relation.info.schema,
                "tablename": relation.info.name,
                "hasindexes": bool(relation.indexes),
                "hasrules": False,
                "rowsecurity": relation.detail.row_security,
            }


def views(sight: Sight) -> Iterator[Row]:
    """pg_views."""
    for relation in sight.relations:
        if relation.info.kind is RelationKind.VIEW:
            definition = sight.definition(relation)
            yield {"schemaname": relation.info.schema, "viewname": relation.info.name, "definition": definition}


def materialized_views(sight: Sight) -> Iterator[Row]:
    """pg_matviews."""
    for relation in sight.relations:
        if relation.info.kind is RelationKind.MATERIALIZED_VIEW:
            yield {
                "schemaname": relation.info.schema,
                "matviewname": relation.info.name,
                "hasindexes": bool(relation.indexes),
                "ispopulated": relation.detail.populated,
                "definition": sight.definition(relation),
            }


def indexes(sight: Sight) -> Iterator[Row]:
    """pg_indexes."""
    for relation in sight.relations:
        for index in relation.indexes:
            yield {
                "schemaname": relation.info.schema,
                "tablename": relation.info.name,
                "indexname": index.info.name,
                "indexdef": index_text(relation, index),
            }


def index_text(relation: SeenRelation, index: SeenIndex) -> str | None:
    """The statement that makes the index, where the caller may know its constants."""
    if not index.told:
        return None
    unique = "UNIQUE " if index.info.unique else ""
    only = "ONLY " if relation.info.kind is RelationKind.PARTITIONED_TABLE else ""
    name = f"{identifier(relation.info.schema)}.{identifier(relation.info.name)}"
    return f"CREATE {unique}INDEX {identifier(index.info.name)} ON {only}{name} USING {index.info.definition}"


def sequences(sight: Sight) -> Iterator[Row]:
    """pg_sequences, without the last value."""
    for sequence in sight.sequences:
        yield {
            "schemaname": sequence.schema,
            "sequencename": sequence.name,
            "data_type": sequence.type,
            "start_value": sequence.start,
            "min_value": sequence.minimum,
            "max_value": sequence.maximum,
            "increment_by": sequence.increment,
            "cycle": sequence.cycle,
            "cache_size": sequence.cache,
        }
