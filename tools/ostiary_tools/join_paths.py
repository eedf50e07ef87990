"""How relations join: the foreign keys of which a caller may see both ends, and the shortest ways along them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ostiary_tools.diagram import visible_foreign_keys
from ostiary_tools.identifiers import identifier
from ostiary_tools.snapshot import ForeignKey, Relation
from ostiary_tools.view import SchemaView

_HOPS = 4
"""Foreign keys of a way at most: a longer one rarely means what is asked."""
_VISITED = 500
"""Relations looked at for one relation's ways: some ten milliseconds."""
_KEPT = "edges"


@dataclass(frozen=True, slots=True)
class Edge:
    """A foreign key as seen from one of its relations."""

    key: ForeignKey
    target: Relation
    """The other relation."""
    forward: bool
    """The key points to `target`."""


def edges(view: SchemaView, relation: Relation) -> tuple[Edge, ...]:
    """Every visible foreign key of and to the relation; kept by the view, for ways lead along the same ones again and again."""
    key = (_KEPT, relation.schema, relation.name)
    if key not in view.kept:
        view.kept[key] = tuple(_edges(view, relation))
    found: tuple[Edge, ...] = view.kept[key]
    return found


def _edges(view: SchemaView, relation: Relation) -> Iterator[Edge]:
    for key in visible_foreign_keys(view, relation):
        target = view.relation(key.target_schema, key.target_table)
        if target is not None:
            yield Edge(key, target, forward=True)
    for owner, key in view.snapshot.references.get((relation.schema, relation.name), ()):
        if view.sees(owner) and key in visible_foreign_keys(view, owner):
            yield Edge(key, owner, forward=False)


def condition(edge: Edge, here: str, there: str) -> str:
    """What holds between rows that the key joins; `here` and `there` are SQL names of both relations."""
    key = edge.key
    ends = (key.columns, key.target_columns) if edge.forward else (key.target_columns, key.columns)
    pairs = zip(*ends, strict=True)
    return " and ".join(f"{here}.{identifier(one)} = {there}.{identifier(other)}" for one, other in pairs)


def shortest_ways(
    view: SchemaView, start: Relation, goals: Collection[tuple[str, str]]
) -> dict[tuple[str, str], tuple[Relation, ...]]:
    """Relation → the relations of a shortest way from `start` to it, both ends included; of equal ones the first by name.

    It holds those of the goals that were reached, and others.
    """
    ways: dict[tuple[str, str], tuple[Relation, ...]] = {(start.schema, start.name): (start,)}
    frontier = [start]
    for _ in range(_HOPS):
        if ways.keys() >= set(goals) or len(ways) >= _VISITED:
            break
        further: dict[tuple[str, str], Relation] = {}
        for relation in frontier:
            for edge in edges(view, relation):
                key = (edge.target.schema, edge.target.name)
                if key not in ways and len(ways) < _VISITED:
                    ways[key] = (*ways[relation.schema, relation.name], edge.target)
                    further[key] = edge.target
        frontier = [relation for _, relation in sorted(further.items())]
    return ways
