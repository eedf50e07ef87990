"""What stands inside views: their own queries, read as the caller would read them.

A view gives what its query gives when each relation in it gives the caller's rows and masks. So a view over what the
caller may neither read nor have masked is closed for it, and nothing is read in a view that the caller could not read by
the same query of its own. The queries are the database's own words for them, judged as a statement would be whose author
may use every function; that each name was bound as the database has it is proven by the dependencies it keeps. A view
whose query cannot be judged is read as it is where nothing behind it is masked or withheld, and else closed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from pglast import ast

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Column, Function, Table
from ostiary_tools.ancestry import reached
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import ColumnInfo, Name, Relation, RelationKind, Snapshot
from ostiary_tools.sql import calls, expansion, grammar, grouping, printing, statement
from ostiary_tools.sql.inventory import REFUSED_FUNCTIONS
from ostiary_tools.sql.parse import parse
from ostiary_tools.sql.printing import Printed
from ostiary_tools.sql.scope import Env
from ostiary_tools.sql.tree import levels, same
from ostiary_tools.sql.work import Work
from ostiary_tools.view import Inside, RowTerms, SchemaView

_OF_SEQUENCES = frozenset({"nextval", "currval", "lastval"})
"""No policy speaks of a sequence."""
_VIEWS = frozenset({RelationKind.VIEW, RelationKind.MATERIALIZED_VIEW})


@dataclass(frozen=True, slots=True)
class Query:
    """The query of a view, as everybody's."""

    text: str = ""
    """Its names bound; empty when it cannot be judged."""
    reads: Mapping[Name, frozenset[str]] = field(default_factory=dict)
    """Each relation it scans → the columns of it that it reads."""
    executes: frozenset[Access] = frozenset()
    problem: str = ""
    """Why it cannot be judged, in words for the owner."""


def queries(snapshot: Snapshot) -> Mapping[Name, Query]:
    """Those of all views. Blocks for about a millisecond a view."""
    everything = frozenset(snapshot.resources())
    world = SchemaView(snapshot, everything, everything)
    return {name: _query(relation, world) for name, relation in snapshot.relations.items() if relation.kind in _VIEWS}


def applied(view: SchemaView, found: Mapping[Name, Query], ruled: Collection[Name]) -> SchemaView:
    """The view of a caller with its policy inside views; `ruled` are relations of which row rules speak."""
    deciding = _Deciding(view, found, ruled)
    for name, relation in view.snapshot.relations.items():
        if relation.kind in _VIEWS and deciding.reads(relation):
            deciding.inside(name)
    insides = {name: inside for name, inside in deciding.known.items() if inside is not None}
    closed = {
        name: RowTerms("FALSE", (), _closed(view.snapshot.relations[name], found[name]))
        for name in deciding.known.keys() - insides.keys()
    }
    asking = (name for name, inside in insides.items() if any(access.resource in view.approved for access in inside.accesses))
    approved = view.approved.union(view.snapshot.relations[name].resource(view.datasource) for name in asking)
    tainting = dict(view.tainting)
    for name, inside in insides.items():
        if taints := frozenset().union(*(view.tainting.get(access.resource, ()) for access in inside.accesses)):
            resource = view.snapshot.relations[name].resource(view.datasource)
            tainting[resource] = tainting.get(resource, frozenset()) | taints
    return replace(view, insides=insides, rows={**view.rows, **closed}, approved=approved, tainting=tainting, kept={})


@dataclass(frozen=True, slots=True)
class Body:
    """The query of a view that is to be run for one caller, before its fences are written."""

    tree: object
    printed: Printed
    repeats: bool
    world: SchemaView
    """The caller's, with all functions."""


def body(relation: Relation, view: SchemaView) -> Body:
    """Judge the query of a view once more, as the caller gets what it reads. Raises Refused."""
    name = (relation.schema, relation.name)
    if "within" not in view.kept:
        functions = (resource for resource in view.snapshot.resources() if isinstance(resource, Function))
        world = replace(view, visible=view.visible.union(functions), kept={})
        view.kept["within"] = world.kept["within"] = world
    world = view.kept["within"]
    tree = parse(view.insides[name].query)
    bound = _bind(tree, view.insides[name].query, world)
    if view.snapshot.details.relations[name].groups_by_key:
        grouping.complete(tree, world)  # what it leaves alone, the server would refuse in words about the view's own query
    return Body(tree, printing.print_scans(tree), bound.repeats, world)


@dataclass(frozen=True, slots=True)
class _Bound:
    accesses: frozenset[Access]
    names: tuple[str, ...]
    repeats: bool = field(compare=False)


def _bind(tree: object, text: str, world: SchemaView) -> _Bound:
    """Judge the tree in place. Raises Refused."""
    checked = grammar.check(tree)
    if checked.kind != "select" or checked.parameter_count:
        raise Refused("statement", "the query is no plain SELECT", "")
    work = Work(world, text, keeps_rows=checked.selects_fields)
    output = statement.select(checked.select, Env(), work)
    if work.supplied:
        raise Refused("catalog", "the query reads the database's own catalogs", "")
    if output.unbounded:
        raise Refused("statement", "which columns the query has is not certain", "")
    if checked.repeats:
        expansion.check(checked.select)
    return _Bound(frozenset(work.accesses), output.names, checked.repeats)


def _query(relation: Relation, world: SchemaView) -> Query:
    detail = world.snapshot.details.relations.get((relation.schema, relation.name))
    if detail is None or not detail.definition:
        return Query(problem="the database does not show its query")
    try:
        text, bound = _judged(detail.definition, world)
    except Refused as error:
        return Query(problem=error.message)
    except RecursionError:
        return Query(problem=printing.unprintable().message)
    found = _reads(bound.accesses)
    same_columns = bound.names and bound.names == tuple(column.name for column in relation.columns)
    if not same_columns or not _as_kept(found, detail.uses, world.snapshot):
        return Query(problem="its query cannot be held to what the database keeps of it")
    executes = frozenset(access for access in bound.accesses if isinstance(access.resource, Function))
    return Query(text, found, executes)


def _judged(definition: str, world: SchemaView) -> tuple[str, _Bound]:
    """The query with its names bound, which says the same when it is judged again. Raises Refused."""
    tree = parse(definition)
    bound = _bind(tree, definition, world)
    text = printing.print_tree(tree)
    again = parse(text)
    if _bind(again, text, world) != bound or not same(tree, again):
        raise printing.unprintable()
    return text, bound


def _reads(accesses: Collection[Access]) -> dict[Name, frozenset[str]]:
    found: dict[Name, set[str]] = {}
    for access in accesses:
        match access.resource:
            case Table(schema=schema, name=name) if access.action is Action.READ:
                found.setdefault((schema, name), set())
            case Column(schema=schema, table=name, name=column):
                found.setdefault((schema, name), set()).add(column)
    return {name: frozenset(columns) for name, columns in found.items()}


def _as_kept(found: Mapping[Name, frozenset[str]], uses: Collection[tuple[str, str, str]], snapshot: Snapshot) -> bool:
    """Whether a query reads the relations that the database says it does, and the columns at least."""
    kept = {(schema, name) for schema, name, _ in uses}
    return kept == found.keys() <= snapshot.relations.keys() and all(
        not column or column in found[schema, name] for schema, name, column in uses
    )


@dataclass(frozen=True, slots=True)
class _Scan:
    """A scan inside, as the caller gets it."""

    accesses: frozenset[Access]
    changed: bool
    """It gives something else than the relation holds."""
    rules: tuple[str, ...]
    filtered: bool
    masked: bool


class _Deciding:
    """What stands inside each view for one caller; what is inside others comes first. `None` where it is closed."""

    def __init__(self, view: SchemaView, found: Mapping[Name, Query], ruled: Collection[Name]) -> None:
        self.known: dict[Name, Inside | None] = {}
        self._view = view
        self._queries = found
        self._ruled = ruled
        details = view.snapshot.details.relations
        self._unrestricted = not view.masked and not view.rows and _reads_everything(view)
        self._uses = {name: {used[:2] for used in detail.uses} for name, detail in details.items() if detail.uses}

    def reads(self, relation: Relation) -> bool:
        """Whether the caller may read the relation, whatever of it."""
        resource = relation.resource(self._view.datasource)
        return resource in self._view.readable and resource in self._view.visible

    def inside(self, name: Name) -> Inside | None:
        """What stands inside a view, or `None` when it is closed."""
        if name not in self.known:
            self.known[name] = None  # for one that reached itself
            self.known[name] = self._decided(name)
        return self.known[name]

    def _decided(self, name: Name) -> Inside | None:
        stored = self._view.snapshot.relations[name].kind is RelationKind.MATERIALIZED_VIEW
        query = self._queries[name]
        if query.problem:
            return self._as_it_is(name)
        scans = [self._scanned(other, columns) for other, columns in query.reads.items()]
        parts = [scan for scan in scans if scan is not None]
        changed = any(scan.changed for scan in parts)
        masked = any(scan.masked for scan in parts)
        # A rule that speaks of what was stored answers for its rows; for values nothing does.
        if len(parts) < len(scans) or (stored and (masked if name in self._ruled else changed)):
            return None
        return Inside(
            query.executes.union(*(scan.accesses for scan in parts)),
            query.text if changed and not stored else "",
            () if stored else tuple(sorted({rule for scan in parts for rule in scan.rules})),
            any(scan.filtered for scan in parts),
            masked,
        )

    def _as_it_is(self, name: Name) -> Inside | None:
        """A view whose query says nothing: nothing of what is behind it may be masked or withheld."""
        relations = self._view.snapshot.relations
        if not self._unrestricted and not _names_all(self._view.snapshot, name):
            return None
        behind = [other for other in reached(name, self._uses) if other in relations]  # no policy speaks of a sequence
        scans = [self._scanned(other, frozenset(column.name for column in relations[other].columns)) for other in behind]
        parts = [scan for scan in scans if scan is not None and not scan.changed]
        if len(parts) < len(scans):
            return None
        return Inside(frozenset().union(*(scan.accesses for scan in parts)), filtered=any(scan.filtered for scan in parts))

    def _scanned(self, name: Name, columns: Collection[str]) -> _Scan | None:
        """A scan of these columns; `None` when the caller may not have it."""
        view, relation = self._view, self._view.snapshot.relations[name]
        taken = [column for column in relation.columns if column.name in columns]
        terms = view.rows.get(name)
        if not self.reads(relation) or not all(self._gets(relation, column) for column in taken) or (terms and terms.refusal):
            return None
        beneath = self.inside(name) if relation.kind in _VIEWS else Inside(frozenset())
        if beneath is None:
            return None
        reading = (view.reading(relation, column) for column in taken)
        masked = any(view.mask(relation, column) for column in taken)
        return _Scan(
            beneath.accesses
            | view.of_wholes(
                {Access(Action.READ, relation.resource(view.datasource)), *(access for access in reading if access is not None)}
            ),
            bool(beneath.query or terms or masked),
            (*beneath.rules, *(terms.rules if terms else ())),
            beneath.filtered or terms is not None or relation.row_security,
            beneath.masked or masked,
        )

    def _gets(self, relation: Relation, column: ColumnInfo) -> bool:
        """Whether the caller has the column's values or masks."""
        resource = relation.column_resource(self._view.datasource, column)
        return resource in self._view.visible and (resource in self._view.readable or resource in self._view.masked)


def _reads_everything(view: SchemaView) -> bool:
    return all(len(view.readable_columns(relation)) == len(relation.columns) for relation in view.snapshot.relations.values())


def _names_all(snapshot: Snapshot, name: Name) -> bool:
    """Whether a query that cannot be judged reads nothing but what the database keeps of it, which names no catalog of its own."""
    detail = snapshot.details.relations.get(name)
    try:
        tree = parse(detail.definition) if detail is not None else None
    except Refused:
        return False
    if detail is None or tree is None:
        return False
    every = [node for level in levels(tree) for node in level]
    within = {node.ctename for node in every if isinstance(node, ast.CommonTableExpr)}
    kept = {used[:2] for used in detail.uses}
    catalogs = {relation for _, relation in snapshot.details.catalogs}
    for node in every:
        if isinstance(node, ast.FuncCall) and calls.parts(node.funcname)[-1] in REFUSED_FUNCTIONS.keys() - _OF_SEQUENCES:
            return False
        if isinstance(node, ast.RangeVar) and not (node.schemaname is None and node.relname in within):
            named = {one for one in kept if one[1] == node.relname and node.schemaname in (None, one[0])}
            if not named or (node.schemaname is None and node.relname in catalogs):
                return False
    return True


def _closed(relation: Relation, query: Query) -> str:
    """Why, in words for an agent."""
    if relation.kind is RelationKind.MATERIALIZED_VIEW:
        return f"`{relation.name}` holds what was computed of more than you may read"
    if query.problem:
        return f"the query of `{relation.name}` is none that masks and row rules can be held to"
    return f"`{relation.name}` shows more than you may read of what is behind it"
