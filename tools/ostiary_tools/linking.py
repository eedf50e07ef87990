"""Schema linking: which relations a question is about, best first, and how they join.

A relation is near a question by words of its names and comments, because a verified
example like the question uses it, or because it lies on the way between two that are.
Only what the caller may see is looked at, so neither choice nor order tells of the rest.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ostiary_tools.examples import ShownExample
from ostiary_tools.identifiers import identifier, qualified
from ostiary_tools.join_paths import condition, edges, shortest_ways
from ostiary_tools.ranking import search
from ostiary_tools.snapshot import Relation
from ostiary_tools.view import SchemaView

_NEAR = 0.25
"""Of the best relation's score: what a relation needs to count as one that the question is about."""
_MOST_NEAR = 8
_MOST_JOINED = 5
"""Of these, the best, each two are joined."""
_SMALL = 40
"""Relations of a schema that is shown whole as far as the room allows: which of few tables are meant a model knows better."""
_MOST = 60
"""Relations considered at all."""

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """A relation that may be needed."""

    relation: Relation
    near: bool
    """The question is about it, or it joins two that it is about."""
    columns: frozenset[str] = frozenset()
    """Those that words of the question lie near."""


@dataclass(frozen=True, slots=True)
class Way:
    """How two relations join through others."""

    relations: tuple[Relation, ...]
    """From one end to the other."""
    sql: str
    """From FROM on."""


@dataclass(frozen=True, slots=True)
class Linking:
    """What a question seems to need."""

    links: tuple[Link, ...]
    """Best first."""
    ways: tuple[Way, ...]
    """Between those that no single foreign key joins."""
    further: int
    """Relations that the caller may see and that are not among the links."""


def link(view: SchemaView, question: str, examples: Sequence[ShownExample] = ()) -> Linking:
    """Find what the question is about. The examples are those shown with it, nearest first."""
    hits = {_name(hit.thing): hit for hit in search(view, question) if isinstance(hit.thing, Relation)}
    best = max((hit.score for hit in hits.values()), default=0.0) or 1.0
    scores = {name: hit.score / best for name, hit in hits.items()}
    for example in examples:
        for name in example.relations:
            if view.relation(*name) is not None:
                scores[name] = scores.get(name, 0.0) + example.likeness
    ranked = sorted(scores, key=lambda name: (-scores[name], name))
    near = [_relation(view, name) for name in ranked[:_MOST_NEAR] if scores[name] >= _NEAR]
    ways = sorted(_ways(view, near), key=lambda way: len(way.relations))
    columns = {name: frozenset(hit.columns) for name, hit in hits.items()}
    found: dict[Name, Link] = {}
    for relation in [*near, *(between for way in ways for between in way.relations)]:
        found.setdefault(_name(relation), Link(relation, near=True, columns=columns.get(_name(relation), frozenset())))
    for relation in _others(view, near, (_relation(view, name) for name in ranked)):
        if len(found) >= _MOST:
            break
        found.setdefault(_name(relation), Link(relation, near=False, columns=columns.get(_name(relation), frozenset())))
    total = len(view.relations())
    joined = tuple(_with_joining(view, one, found) for one in found.values())
    return Linking(joined, tuple(way for way in ways if len(way.relations) > 2), total - len(found))  # noqa: PLR2004 - two ends


def _others(view: SchemaView, near: Sequence[Relation], ranked: Iterable[Relation]) -> Iterator[Relation]:
    yield from ranked
    for relation in near:
        yield from (edge.target for edge in edges(view, relation))
    if len(every := view.relations()) <= _SMALL:
        yield from every


def _ways(view: SchemaView, near: Sequence[Relation]) -> Iterator[Way]:
    """The shortest between each two of those the question is most about, where foreign keys lead from one to the other."""
    for number, relation in enumerate(near[: _MOST_JOINED - 1]):
        others = near[number + 1 : _MOST_JOINED]
        reached = shortest_ways(view, relation, [_name(other) for other in others])
        for other in others:
            if (way := reached.get(_name(other))) is not None:
                yield Way(way, _joined(view, way))


def _joined(view: SchemaView, way: Sequence[Relation]) -> str:
    """As SQL. A relation is called by its bare name in conditions, unless another of the way has the same."""
    bare = len({relation.name for relation in way}) == len(way)
    called = {_name(relation): identifier(relation.name) if bare else _spelled(relation) for relation in way}
    joins = [f"from {_spelled(way[0])}"]
    for here, there in pairwise(way):
        edge = next(edge for edge in edges(view, here) if edge.target is there)
        joins.append(f"join {_spelled(there)} on {condition(edge, called[_name(here)], called[_name(there)])}")
    return " ".join(joins)


def _with_joining(view: SchemaView, one: Link, found: Mapping[Name, Link]) -> Link:
    """With the columns that join it to others of those found."""
    keys = (edge for edge in edges(view, one.relation) if _name(edge.target) in found)
    joining = (edge.key.columns if edge.forward else edge.key.target_columns for edge in keys)
    return replace(one, columns=one.columns.union(*joining))


def _name(relation: Relation) -> Name:
    return relation.schema, relation.name


def _relation(view: SchemaView, name: Name) -> Relation:
    return view.snapshot.relations[name]


def _spelled(relation: Relation) -> str:
    return qualified(relation.schema, relation.name)
