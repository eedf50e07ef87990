"""The nearest right thing to a wrong name, out of what the caller may see.

Every suggestion is made of visible names only, and of nothing else that depends on what
is hidden: a hidden thing and one that never existed get the same words.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ostiary_tools.identifiers import identifier
from ostiary_tools.join_paths import condition, edges
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql import dialects
from ostiary_tools.sql.scope import Item
from ostiary_tools.view import SchemaView

_MOST = 3
_LISTED = 20
_COMPARED = 5_000
"""Names compared at most: about a tenth of a second."""
_HOPS = 2
_SEPARATORS = re.compile(r"[\W_]+")


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Up to three similar names in backticks, or an empty text."""
    return _either(_similar(name, list(candidates)[:_COMPARED]))


def for_column(view: SchemaView, written: str, shown: Sequence[str], reach: Iterable[Item], *, quoted: bool) -> str:
    """What to write for a column that does not exist.

    `shown`: the visible columns of the items it was looked for in. `reach`: every item in reach of the name.
    `quoted`: it stood in double quotes.
    """
    hints = _column_hints(view, written.rsplit(".", 1)[-1], shown, tuple(reach), quoted=quoted)
    return next(filter(None, hints))


def _column_hints(view: SchemaView, name: str, shown: Sequence[str], reach: tuple[Item, ...], *, quoted: bool) -> Iterator[str]:
    """The best first; empty where there is none of a kind."""
    cores = {_core(name), *(_core(name).removeprefix(_core(i.name)) for i in reach if i.name)}
    same = [identifier(other) for other in shown if _core(other) in cores and other != name]
    yield f"did you mean {_either(same[:_MOST])}?" if same else ""
    yield f"double quotes make it a name; a text stands in single quotes: `'{name}'`" if quoted else ""
    yield "name the table too: `table.column`" if name in shown else ""
    yield _owner(view, name, reach)
    yield _joined(view, name, reach)
    yield dialects.column(name)
    near = nearest(name, map(identifier, shown))
    yield f"did you mean {near}?" if near else ""
    yield f"columns here: {', '.join(map(identifier, shown[:_LISTED]))}" if shown else "describe shows a table's columns"


def for_table(view: SchemaView, written: str) -> str:
    """What to write for a relation that does not exist."""
    name = written.rsplit(".", 1)[-1]
    relations = view.relations()
    same = [_spelled(view, r) for r in relations if _core(r.name) == _core(name)]
    if same:
        return f"did you mean {_either(same[:_MOST])}?"
    if known := dialects.table(name):
        return known
    by_name = {_spelled(view, r): None for r in relations}
    near = nearest(written, by_name)
    return f"did you mean {near}?" if near else "search_schema lists the tables you may use"


def for_qualifier(view: SchemaView, written: str, items: Iterable[Item]) -> str:
    """What to write for a table name before a column that no entry of FROM has."""
    name = written.rsplit(".", 1)[-1]
    known = tuple(items)
    for item in known:
        if item.name and any(_core(s.relation.name) == _core(name) and view.sees(s.relation) for s in item.scans if item.base):
            return f"it is called `{identifier(item.name)}` here"
    for step in _reachable(view, known):
        if _core(step.relation.name) == _core(name):
            return f"it is not in FROM: `{' '.join(step.joins)}`"
    names = [item.name for item in known if item.name and item.by_name]
    if near := nearest(name, dict.fromkeys(names)):
        return f"did you mean {near}?"
    here = f"tables here: {', '.join(f'`{identifier(n)}`' for n in dict.fromkeys(names))}" if names else ""
    return here or for_table(view, written)


def for_function(view: SchemaView, schema: str | None, name: str, known: Iterable[tuple[str, str]], built_in: Iterable[str]) -> str:
    """What to write for a function that does not exist. `known`: the (schema, name) of those the caller may see."""
    if schema is None and (other := dialects.function(name)):
        return other
    path = view.snapshot.search_path
    visible = [(n, identifier(n) if s in path else f"{identifier(s)}.{identifier(n)}") for s, n in sorted(known)]
    names = {**{n: n for n in built_in}, **dict(visible)}
    same = [spelled for n, spelled in names.items() if _core(n) == _core(name) and (schema, spelled) != (None, name)]
    near = _either(same[:_MOST]) or _either([names[n] for n in _similar(name, list(names), 0.75)])
    return f"did you mean {near}?" if near else "search_schema finds the functions you may use"


def for_type(view: SchemaView, name: str, built_in: Iterable[str]) -> str:
    """What to write for a type that does not exist."""
    if other := dialects.type_name(name):
        return other
    used = {c.type for r in view.relations() for c in view.columns(r) if c.type.isidentifier()}
    near = nearest(name, sorted({*built_in, *used}))
    return f"did you mean {near}?" if near else "use a built-in type or one that search_schema finds"


def _core(name: str) -> str:
    """What is left of a name when case, separators and a plural do not count."""
    bare = _SEPARATORS.sub("", name.lower())
    for ending, singular in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("s", "")):
        if bare.endswith(ending) and len(bare) > len(ending) + 1 and not bare.endswith(("ss", "us")):
            return bare.removesuffix(ending) + singular
    return bare


def _similar(name: str, candidates: list[str], cutoff: float = 0.6) -> list[str]:
    """Close matches; case does not count. The cutoff is difflib's ratio."""
    lower: dict[str, str] = {}
    for candidate in candidates:
        lower.setdefault(candidate.lower(), candidate)
    return [lower[match] for match in get_close_matches(name.lower(), list(lower), _MOST, cutoff)]


def _either(names: Iterable[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def _spelled(view: SchemaView, relation: Relation) -> str:
    inside = relation.schema in view.snapshot.search_path
    return identifier(relation.name) if inside else f"{identifier(relation.schema)}.{identifier(relation.name)}"


def _owner(view: SchemaView, name: str, items: Iterable[Item]) -> str:
    """Another entry of FROM that has the column."""
    for item in items:
        for found in item.fields:
            if item.name and item.by_name and _core(found.name) == _core(name) and _shows(view, found.sources):
                written = f"{identifier(item.name)}.{identifier(found.name)}"
                return f"`{identifier(found.name)}` is a column of `{identifier(item.name)}`: write `{written}`"
    return ""


def _shows(view: SchemaView, sources: Iterable[tuple[Relation, object]]) -> bool:
    return all(any(c is column for c in view.columns(relation)) for relation, column in sources)


@dataclass(frozen=True, slots=True)
class _Step:
    """A relation that can be joined, and the conditions that lead to it."""

    relation: Relation
    joins: tuple[str, ...] = ()


def _joined(view: SchemaView, name: str, items: Iterable[Item]) -> str:
    """The nearest table with that column, and how foreign keys join it to the statement."""
    for step in _reachable(view, items):
        for column in view.columns(step.relation):
            if _core(column.name) == _core(name):
                return f"`{identifier(column.name)}` is a column of `{_spelled(view, step.relation)}`: `{' '.join(step.joins)}`"
    return ""


def _reachable(view: SchemaView, items: Iterable[Item]) -> Iterator[_Step]:
    """Tables that foreign keys join to those of the statement, nearest first."""
    bases = ((s.relation, identifier(i.name)) for i in items if i.base and i.name for s in i.scans)
    steps = [(_Step(relation), alias) for relation, alias in bases if view.sees(relation)]
    seen = {_key(step.relation) for step, _ in steps}
    for _ in range(_HOPS):
        further = []
        for step, alias in steps:
            for edge in edges(view, step.relation):
                if _key(edge.target) not in seen:
                    seen.add(_key(edge.target))
                    there = identifier(edge.target.name)
                    join = f"join {_spelled(view, edge.target)} on {condition(edge, alias, there)}"
                    further.append((_Step(edge.target, (*step.joins, join)), there))
        yield from (step for step, _ in further)
        steps = further


def _key(relation: Relation) -> tuple[str, str]:
    return relation.schema, relation.name
