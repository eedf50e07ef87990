"""What of a plan its caller may know.

A plan spells out what stands behind a view, a function, a row policy of the database or
an index. Nothing of it is told for being in the plan; it is told when the statement
itself says it:

- A relation is named when the statement names it and the caller may see it. One that the
  statement does not name stands behind something; it is a partition the caller may see,
  or it is an inner part, and so is every step with nothing but inner parts below it.
- Numbers of a step are told when those of all that is below it are. Those of a scan are
  told when the caller may read the whole relation and no row policy of the database
  filters it, for then they follow from what may be read; where the statement uses no
  view, no function of a user and no row policy, all it filters by is its own and may be
  read, and it is enough that every column of a named relation may be seen. Nor is a total told of which a part is not:
  a caller could subtract the rest.
- A condition is told when the statement uses no view, no function and no row policy that
  could have written it, and each column in it is one that the caller may read.
- An index is named as `describe` names it.

The order of joins and the kind of a scan follow from estimates too. So of a plan whose
numbers are not told, because something of it lies behind a view, a function or a row
policy, no step is told either, only which relations the statement reads.

Where the caller may read every column of every relation, there is nothing to hide but
row policies.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pglast import ast
from pglast.parser import ParseError, parse_sql

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Table
from ostiary_tools.plans.plan import Name, Plan, Step
from ostiary_tools.snapshot import Index, Relation, RelationKind
from ostiary_tools.view import SchemaView


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, whose text is empty when the caller may not know it."""

    kind: str
    text: str
    tree: Any = None
    columns: tuple[tuple[str, str], ...] = ()
    """Each alias and column in it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A step as the caller may know it. One that is not `known` has neither name nor parts."""

    step: Step
    known: bool
    told: bool = False
    """Its numbers, and those of all below it, may be told."""
    relation: Relation | None = None
    index: Index | None = None
    function: str = ""
    conditions: tuple[Condition, ...] = ()
    keys: tuple[Condition, ...] = ()
    parts: tuple["Seen", ...] = ()


@dataclass(frozen=True, slots=True)
class Sight:
    """A whole plan as one caller may know it."""

    top: Seen
    view: SchemaView
    stated: tuple[Relation, ...]
    """The relations the statement names."""
    shaped: bool
    """Which steps there are may be told."""

    def find(self, step: Step) -> Seen | None:
        """How the caller sees this step; `None` when it is, or is below, an inner part, or no step is told."""
        waiting = [self.top] if self.shaped else []
        while waiting:
            seen = waiting.pop()
            if seen.step is step:
                return seen if seen.known else None
            waiting.extend(seen.parts)
        return None


def look(plan: Plan, view: SchemaView, accesses: Iterable[Access]) -> Sight:
    """See a plan as the caller of `view`, who stated these accesses."""
    named, calls = _stated(accesses)
    relations = view.snapshot.relations
    used = [relations[name] for name in named if name in relations]
    # A relation the snapshot does not know (a catalog, a partition made just now) could be anything.
    known = {*named, *(step.relation for step in plan.steps() if step.relation is not None)} <= relations.keys()
    looker = _Looker(
        view=view,
        named=named,
        open=known and all(_is_readable(relation, view) for relation in relations.values()),
        plain=known and not calls and not any(_hides(relation, view) for relation in used),
        aliases=_aliases(plan, relations),
    )
    top = _seen(plan.top, looker)
    return Sight(top, view, tuple(used), shaped=top.told or looker.plain)


def _aliases(plan: Plan, relations: Mapping[Name, Relation]) -> dict[str, Relation]:
    named = ((step.alias, relations.get(step.relation)) for step in plan.steps() if step.relation is not None)
    return {alias: relation for alias, relation in named if relation is not None}


def _stated(accesses: Iterable[Access]) -> tuple[frozenset[Name], bool]:
    """The relations a statement reads, and whether it calls a function that is no reviewed built-in."""
    named, calls = set(), False
    for access in accesses:
        if isinstance(access.resource, Table) and access.action is Action.READ:
            named.add((access.resource.schema, access.resource.name))
        calls = calls or access.action is Action.EXECUTE
    return frozenset(named), calls


def _hides(relation: Relation, view: SchemaView) -> bool:
    """Whether a plan of a statement over it says what the statement does not."""
    return relation.kind is RelationKind.VIEW or view.curtailed(relation)


def _is_readable(relation: Relation, view: SchemaView) -> bool:
    """Whether the caller may read all of it."""
    return view.sees(relation) and len(view.readable_columns(relation)) == len(relation.columns) and not view.curtailed(relation)


@dataclass(frozen=True, slots=True)
class _Looker:
    view: SchemaView
    named: frozenset[Name]
    open: bool
    """Everything may be read."""
    plain: bool
    """Every condition of the plan is the statement's own."""
    aliases: Mapping[str, Relation]


def _seen(step: Step, looker: _Looker) -> Seen:
    parts = tuple(_seen(part, looker) for part in step.parts)
    relation = _named(step, looker)
    own = relation is not None if step.relation is not None else looker.open or looker.plain
    known = own or any(part.known for part in parts)
    told = _may_tell(step, looker) and all(part.told for part in parts)
    unnamed = relation is None if step.relation is not None else bool(parts) and not any(part.known for part in parts)
    if not known or unnamed:
        return Seen(step, known=False, told=told)
    return Seen(
        step=step,
        known=True,
        told=told,
        relation=relation,
        index=_index(step, looker),
        function=step.function if looker.open or looker.plain else "",
        conditions=tuple(_condition(kind, text, looker) for kind, text in step.conditions),
        keys=tuple(_condition("key", text, looker) for text in step.keys),
        parts=parts,
    )


def _named(step: Step, looker: _Looker) -> Relation | None:
    relation = looker.view.snapshot.relations.get(step.relation) if step.relation else None
    if relation is None or not looker.view.sees(relation):
        return None
    stated = (relation.schema, relation.name) in looker.named
    return relation if stated or looker.open or looker.plain else None


def _may_tell(step: Step, looker: _Looker) -> bool:
    if step.relation is None:
        return not step.function or looker.open or looker.plain
    relation = looker.view.snapshot.relations.get(step.relation)
    if relation is None or looker.view.curtailed(relation):
        return False
    # How wide its rows are stands in what a scan costs: a hidden column's width too.
    seen = _named(step, looker) is not None and len(looker.view.columns(relation)) == len(relation.columns)
    return _is_readable(relation, looker.view) or (looker.plain and seen)


def _index(step: Step, looker: _Looker) -> Index | None:
    """The index, which stands on the step's own relation or on that of the bitmap scan above; names are unique in a schema."""
    for relation in looker.aliases.values() if step.index else ():
        for index in looker.view.indexes(relation) if looker.view.sees(relation) else ():
            if index.name == step.index and (step.relation is None or step.relation == (relation.schema, relation.name)):
                return index
    return None


def _condition(kind: str, text: str, looker: _Looker) -> Condition:
    if not (looker.open or looker.plain):
        return Condition(kind, "")
    try:
        # The server's own words, parsed and not run.
        parsed: Any = parse_sql(f"SELECT ORDER BY {text}")
        (key,) = parsed[0].stmt.sortClause
    except (ParseError, ValueError, UnicodeError):
        # `(hashed SubPlan 1)` is no SQL. What is behind it stands below as steps of its own.
        return Condition(kind, "")
    tree = key.node
    columns = tuple(_columns(tree))
    if not looker.open and not all(_may_read(column, looker) for column in columns):
        return Condition(kind, "")
    return Condition(kind, _without_brackets(text), tree, columns)


def _columns(tree: Any) -> Iterable[tuple[str, str]]:
    """Alias and column of every reference; what is no such pair comes with an empty alias."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend(node)
        elif isinstance(node, ast.ColumnRef):
            fields = [str(part.sval) if isinstance(part, ast.String) else "" for part in node.fields or ()]
            yield (fields[0], fields[1]) if len(fields) == 2 else ("", "")  # noqa: PLR2004 - alias and name
        elif isinstance(node, ast.Node):
            waiting.extend(getattr(node, name) for name in node)


def _may_read(column: tuple[str, str], looker: _Looker) -> bool:
    """Whether the reference is to a column the caller may read, or to an output that the plain statement itself made."""
    alias, name = column
    relation = looker.aliases.get(alias)
    if relation is None:
        return bool(alias) and looker.plain
    return any(found.name == name for found in looker.view.readable_columns(relation))


def _without_brackets(text: str) -> str:
    """The text without the brackets around all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[1:-1] if place == len(text) - 1 else text
    return text
