"""A policy's bounds on what a statement may cost, and the refusal above them.

The refusal says what is dear in the plan and what would make it cheaper, out of what the
caller may know of the plan.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ostiary_policies.model import Access, Obligations
from ostiary_tools.errors import ScansTooMuch, TooCostly
from ostiary_tools.identifiers import identifier
from ostiary_tools.plans.advice import served_columns, unserved_columns
from ostiary_tools.plans.plan import Plan
from ostiary_tools.plans.sight import Sight, look
from ostiary_tools.plans.weight import Load, Weight, weigh
from ostiary_tools.plans.words import dear_part, number, table
from ostiary_tools.view import SchemaView

_NAMED = 6
_PASSES_ON = frozenset({"Limit", "Gather", "Gather Merge", "Materialize", "Memoize", "Subquery Scan"})
"""Steps that hand on rows: what they cost is the doing of what is below."""
_READS = frozenset({"Seq Scan", "Index Scan", "Index Only Scan"})
_ERRORS = {kind.code: kind for kind in (TooCostly, ScansTooMuch)}
RulesOf = Callable[[str], tuple[str, ...]]
"""Ids of the policies that state a term, a field of `Obligations`."""


@dataclass(frozen=True, slots=True)
class Excess:
    """A term that a plan is above."""

    term: str
    allowed: float
    estimated: float


def has_terms(terms: Obligations) -> bool:
    """Whether a statement under these terms must be estimated before it runs."""
    return terms.max_cost is not None or terms.max_rows_scanned is not None


def excesses(weight: Weight, terms: Obligations) -> Iterator[Excess]:
    """Each term the plan is above."""
    if terms.max_cost is not None and not weight.cost <= terms.max_cost:
        yield Excess("max_cost", terms.max_cost, weight.cost)
    if terms.max_rows_scanned is not None and not weight.rows_scanned <= terms.max_rows_scanned:
        yield Excess("max_rows_scanned", terms.max_rows_scanned, weight.rows_scanned)


def refuse_beyond(terms: Obligations, plan: Plan, view: SchemaView, accesses: Iterable[Access], rules_of: RulesOf) -> None:
    """Refuse a statement whose plan is above a term. Raises TooCostly."""
    weight = weigh(plan)
    for excess in excesses(weight, terms):
        sight = look(plan, view, accesses)
        dear = _dearest(weight, excess)
        raise _ERRORS[excess.term](
            f"{_headline(excess, sight)}; the dear part is {dear_part(dear, sight)}{_because(dear, sight)}",
            "; ".join(_cheaper(dear, weight, sight)),
            rules_of(excess.term),
        )


def _headline(excess: Excess, sight: Sight) -> str:
    # What an inner part adds is nobody's to know who may not see it.
    verb, rows = ("cost", "") if excess.term == "max_cost" else ("scan", " rows")
    if sight.top.told:
        what = f"{number(excess.estimated)}{rows}, above the {number(excess.allowed)} allowed"
    else:
        what = f"more{rows} than the {number(excess.allowed)} allowed"
    return f"the statement is not run: it is estimated to {verb} {what}"


def _dearest(weight: Weight, excess: Excess) -> Load:
    if excess.term == "max_cost":
        does = [load for load in weight.loads if load.step.kind not in _PASSES_ON]
        return max(does or weight.loads, key=lambda load: load.own_cost)
    return max(weight.loads, key=lambda load: load.touched)


def _because(dear: Load, sight: Sight) -> str:
    seen = sight.find(dear.step)
    if seen is None:
        return ""
    if dear.step.kind in _READS and not dear.step.has("Index Cond"):
        columns = unserved_columns(seen, sight)
        if columns:
            return f", because no index serves {_listed(columns)}"
        return "" if dear.step.has("Filter") else ", because no condition narrows it"
    if dear.step.kind == "Nested Loop" and not dear.step.conditions and not any(p.step.has("Index Cond") for p in seen.parts):
        return ", because no condition joins them"
    return ""


def _cheaper(dear: Load, weight: Weight, sight: Sight) -> Iterator[str]:
    seen = sight.find(dear.step)
    if seen is not None and seen.relation is not None:
        columns = served_columns(sight.view, seen.relation)
        name = table(sight.view, seen.relation)
        if columns:
            yield f"filter {name} on an indexed column: {_listed(columns)}"
        else:
            yield f"no index of {name} helps you: ask for less of it, or its owner for an index"
        if dear.runs > 1:
            yield "join on a column an index serves, so that it is not read again for each row"
    elif dear.step.kind in ("Nested Loop", "Hash Join", "Merge Join"):
        yield "join on key columns, and filter each side before the join"
    elif dear.step.kind in ("Function Scan", "ProjectSet"):
        yield "ask the function for fewer rows"
    else:
        yield "filter more before rows are sorted, joined or aggregated"
    if sight.shaped and not weight.limit_helps:
        yield (
            "LIMIT does not help above a filter, a join or a sort, where it is a guess how soon it stops; "
            "put it in a subselect over one table alone"
        )


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"`{identifier(name)}`" for name in names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
