"""What a search of a schema can find: relations, functions and types, in one order."""

from collections.abc import Iterator

from ostiary_policies.model import Resource
from ostiary_tools.snapshot import FunctionInfo, Relation, Snapshot, TypeInfo

Thing = Relation | tuple[FunctionInfo, ...] | TypeInfo
"""What a search finds; all overloads of a function are one thing."""


def things(snapshot: Snapshot) -> Iterator[tuple[Thing, Resource]]:
    """Each with the resource that must be visible for it to exist."""
    for _, relation in sorted(snapshot.relations.items()):
        yield relation, relation.resource(snapshot.datasource)
    for (schema, name), overloads in sorted(snapshot.functions.items()):
        if schema not in ("pg_catalog", "information_schema"):
            yield overloads, snapshot.function_resource(schema, name)
    for _, kind in sorted(snapshot.types.items()):
        yield kind, snapshot.schema_resource(kind.schema)


def first(thing: Thing) -> Relation | FunctionInfo | TypeInfo:
    """What has its name."""
    return thing[0] if isinstance(thing, tuple) else thing


def comments(thing: Thing) -> str:
    """Of it, or of all overloads."""
    return " ".join(overload.comment for overload in thing) if isinstance(thing, tuple) else thing.comment
