"""Rows of `pg_catalog`'s relations about relations: their columns, defaults, indexes, constraints and sequences.

A column that a row leaves out is NULL.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ostiary_tools.catalogs.sight import HARMLESS_DEFAULT, SeenColumn, SeenIndex, SeenRelation, Sight
from ostiary_tools.details import SequenceDetail
from ostiary_tools.identifiers import identifier, qualified
from ostiary_tools.snapshot import RelationKind

Row = Mapping[str, Any]

KINDS = {
    RelationKind.TABLE: "r",
    RelationKind.PARTITIONED_TABLE: "p",
    RelationKind.VIEW: "v",
    RelationKind.MATERIALIZED_VIEW: "m",
    RelationKind.FOREIGN_TABLE: "f",
}


def classes(sight: Sight) -> Iterator[Row]:
    """pg_class: relations, their indexes, the sequences of their columns."""
    children = {parent for relation in sight.relations for parent in relation.parents}
    for relation in sight.relations:
        yield _relation_class(sight, relation, has_children=relation.name in children)
        for index in relation.indexes:
            yield _index_class(sight, relation, index)
    for sequence in sight.sequences:
        yield {
            **_class(sight, sequence.schema, sequence.name, "S"),
            "relnatts": 3,
            "reltuples": 1,
            "relhasindex": False,
        }


def _class(sight: Sight, schema: str, name: str, kind: str) -> dict[str, Any]:
    return {
        "oid": sight.oid("relation", schema, name),
        "relname": name,
        "relnamespace": sight.oid("namespace", schema),
        "relkind": kind,
        "relpersistence": "p",
        "reltype": 0,
        "reloftype": 0,
        "relam": 0,
        "reltablespace": 0,
        "relchecks": 0,
        "relisshared": False,
        "relhasrules": False,
        "relhassubclass": False,
        "relrowsecurity": False,
        "relforcerowsecurity": False,
        "relispopulated": True,
        "relreplident": "n",
        "relispartition": False,
    }


def _relation_class(sight: Sight, relation: SeenRelation, *, has_children: bool) -> Row:
    info, detail = relation.info, relation.detail
    kind = KINDS[info.kind]
    return {
        **_class(sight, info.schema, info.name, kind),
        "reltype": sight.oid("type", *relation.name),
        "relam": 2 if kind in "rm" else 0,
        # A count of rows is a value.
        "reltuples": -1 if not relation.readable or (count := sight.view.estimated_rows(info)) is None else count,
        "relhasindex": bool(relation.indexes),
        "relpersistence": detail.persistence,
        "relnatts": len(relation.columns),
        "relchecks": sum(constraint.info.kind == "c" for constraint in relation.constraints),
        "relhasrules": kind in "vm",
        "relhassubclass": has_children,
        "relrowsecurity": detail.row_security,
        "relforcerowsecurity": detail.force_row_security,
        "relispopulated": detail.populated,
        "relreplident": detail.replica_identity,
        "relispartition": detail.is_partition and bool(relation.parents),
    }


def _index_class(sight: Sight, relation: SeenRelation, index: SeenIndex) -> Row:
    partitioned = relation.info.kind is RelationKind.PARTITIONED_TABLE
    return {
        **_class(sight, relation.info.schema, index.info.name, "I" if partitioned else "i"),
        "relam": sight.oid("method", index.detail.method),
        "relnatts": len(index.detail.columns),
        "relhasindex": False,
        "relpersistence": relation.detail.persistence,
    }


def attributes(sight: Sight) -> Iterator[Row]:
    """pg_attribute: the visible columns, numbered without a gap."""
    by_oid = {builtin.oid: builtin for builtin in sight.builtin.values()}
    for relation in sight.relations:
        oid = sight.oid("relation", *relation.name)
        for column in relation.columns:
            type_oid = sight.type_oid(column.detail.type)
            builtin = by_oid.get(type_oid)
            yield {
                "attrelid": oid,
                "attname": column.info.name,
                "atttypid": type_oid,
                "attlen": builtin.length if builtin else None,
                "attbyval": builtin.by_value if builtin else None,
                "attalign": builtin.alignment if builtin else None,
                "attstorage": builtin.storage if builtin else None,
                "attcollation": column.detail.collation,
                "attnum": column.number,
                "attndims": int(column.info.type.endswith("]")),
                "atttypmod": column.detail.typmod,
                "attcompression": "",
                "attnotnull": column.info.not_null,
                "atthasdef": column.detail.has_default,
                "atthasmissing": False,
                "attidentity": column.detail.identity,
                "attgenerated": column.detail.generated,
                "attisdropped": False,
                "attislocal": column.detail.is_local or not relation.parents,
                "attinhcount": 0 if column.detail.is_local else len(relation.parents),
            }


def defaults(sight: Sight) -> Iterator[Row]:
    """pg_attrdef: that there is a default, and its text where it tells no value."""
    for relation in sight.relations:
        for column in relation.columns:
            if column.detail.has_default:
                yield {
                    "oid": sight.oid("default", *relation.name, column.info.name),
                    "adrelid": sight.oid("relation", *relation.name),
                    "adnum": column.number,
                    "adbin": default_text(sight, relation, column) or None,
                }


def default_text(sight: Sight, relation: SeenRelation, column: SeenColumn) -> str:
    """A default or generation expression as far as the caller may know it, otherwise empty."""
    text = column.info.default
    if column.detail.generated:
        readable = {each.info.name for each in relation.columns if each.readable}
        return text if column.readable and readable.issuperset(column.detail.uses) and sight.tells(text) else ""
    sequence = sight.sequence_of(relation.name, column.info.name)
    if sequence is not None and text in {f"nextval('{spelled}'::regclass)" for spelled in _spellings(sequence)}:
        return text
    return text if column.readable and HARMLESS_DEFAULT.fullmatch(text) else ""


def _spellings(sequence: SequenceDetail) -> tuple[str, ...]:
    name = qualified(sequence.schema, sequence.name).replace("'", "''")
    return name, identifier(sequence.name).replace("'", "''")


def indexes(sight: Sight) -> Iterator[Row]:
    """pg_index."""
    for relation in sight.relations:
        for index in relation.indexes:
            detail = index.detail
            yield {
                "indexrelid": sight.oid("relation", relation.info.schema, index.info.name),
                "indrelid": sight.oid("relation", *relation.name),
                "indnatts": len(detail.columns),
                "indnkeyatts": detail.key_count,
                "indisunique": index.info.unique,
                "indisprimary": detail.primary,
                "indisexclusion": detail.exclusion,
                "indimmediate": detail.immediate,
                "indisclustered": detail.clustered,
                "indisvalid": True,
                "indcheckxmin": False,
                "indisready": True,
                "indislive": True,
                "indisreplident": detail.replica_identity,
                "indkey": " ".join(map(str, relation.numbers(detail.columns))),
                "indoption": detail.options,
                "indexprs": detail.expressions if detail.expressions and index.told else None,
                "indpred": detail.predicate if detail.predicate and index.told else None,
            }


def constraints(sight: Sight) -> Iterator[Row]:
    """pg_constraint of tables, without NOT NULL."""
    for relation in sight.relations:
        for constraint in relation.constraints:
            info = constraint.info
            target = sight.by_name[info.target] if info.target is not None else None
            index_schema = target.info.schema if target is not None else relation.info.schema
            yield {
                "oid": sight.oid("constraint", *relation.name, info.name),
                "conname": info.name,
                "connamespace": sight.oid("namespace", relation.info.schema),
                "contype": info.kind,
                "condeferrable": info.deferrable,
                "condeferred": info.deferred,
                "convalidated": info.validated,
                "conrelid": sight.oid("relation", *relation.name),
                "contypid": 0,
                "conindid": sight.oid("relation", index_schema, info.index) or 0,
                "conparentid": 0,
                "confrelid": sight.oid("relation", *target.name) if target is not None else 0,
                "confupdtype": info.on_update,
                "confdeltype": info.on_delete,
                "confmatchtype": info.match,
                "conislocal": info.is_local or not relation.parents,
                "coninhcount": 0 if info.is_local else len(relation.parents),
                "connoinherit": info.no_inherit,
                "conkey": relation.numbers(info.columns) or None,
                "confkey": target.numbers(info.target_columns) if target is not None else None,
            }


def inheritance(sight: Sight) -> Iterator[Row]:
    """pg_inherits."""
    for relation in sight.relations:
        for place, parent in enumerate(relation.parents, 1):
            yield {
                "inhrelid": sight.oid("relation", *relation.name),
                "inhparent": sight.oid("relation", *parent),
                "inhseqno": place,
                "inhdetachpending": False,
            }


def sequences(sight: Sight) -> Iterator[Row]:
    """pg_sequence."""
    for sequence in sight.sequences:
        yield {
            "seqrelid": sight.oid("relation", sequence.schema, sequence.name),
            "seqtypid": next((b.oid for b in sight.builtin.values() if b.words == sequence.type), None),
            "seqstart": sequence.start,
            "seqincrement": sequence.increment,
            "seqmax": sequence.maximum,
            "seqmin": sequence.minimum,
            "seqcache": sequence.cache,
            "seqcycle": sequence.cycle,
        }
