"""What a plan would show that its statement does not name.

A plan spells out what stands behind a view or a function, and a verbose one every
column that a scan carries. It is shown when nothing of that can be hidden from the caller:
conditions of a view or a function hold values of what they filter by, so all must be readable.
"""

from ostiary_policies.actions import Action
from ostiary_policies.model import Table
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation, RelationKind
from ostiary_tools.sql.work import Work
from ostiary_tools.view import SchemaView


def check(work: Work, *, verbose: bool) -> None:
    """Refuse a plan that could name what the caller may not see. Raises Refused."""
    if verbose and work.supplied:
        raise Refused("explain", "`EXPLAIN (VERBOSE)` over a catalog would print all of it", "leave VERBOSE out")
    relations = work.view.snapshot.relations
    if all(_readable(r, work.view) for r in relations.values()):
        return
    scanned = [relations[a.resource.schema, a.resource.name] for a in work.accesses if isinstance(a.resource, Table)]
    if verbose and not all(_whole(r, work.view) for r in scanned):
        raise Refused("explain", "`EXPLAIN (VERBOSE)` of these tables would list columns you may not see", "leave VERBOSE out")
    inside = any(
        r.kind is RelationKind.VIEW or r.has_children or work.view.curtailed(r) or len(work.view.indexes(r)) < len(r.indexes)
        for r in scanned
    ) or any(a.action is Action.EXECUTE for a in work.accesses)
    if inside:
        raise Refused(
            "explain",
            "the plan would show what stands behind a view, a partitioned table, a mask, a row rule, an index or a function",
            "call the tool `explain`, which leaves that out",
        )


def _whole(relation: Relation, view: SchemaView) -> bool:
    return view.sees(relation) and len(view.columns(relation)) == len(relation.columns) and not view.curtailed(relation)


def _readable(relation: Relation, view: SchemaView) -> bool:
    return _whole(relation, view) and len(view.readable_columns(relation)) == len(relation.columns)
