"""A plan in words: one line a step, what is below a step indented, and nothing its caller may not know."""

from collections.abc import Iterator, Sequence
from math import isfinite

from ostiary_tools.identifiers import identifier, one_line, qualified
from ostiary_tools.plans.sight import Condition, Seen, Sight
from ostiary_tools.plans.weight import Load, Weight
from ostiary_tools.snapshot import Relation
from ostiary_tools.view import SchemaView

INNER = "an inner part"
_LINES = 60
_CONDITION = 160
_KINDS = {
    "Seq Scan": "sequential scan",
    "Index Scan": "index scan",
    "Index Only Scan": "index-only scan",
    "Bitmap Heap Scan": "bitmap scan",
    "Bitmap Index Scan": "bitmap of an index",
    "BitmapAnd": "intersection of bitmaps",
    "BitmapOr": "union of bitmaps",
    "Tid Scan": "scan by row address",
    "Tid Range Scan": "scan by row address",
    "Sample Scan": "sample",
    "Foreign Scan": "scan on another server",
    "Function Scan": "rows of a function",
    "ProjectSet": "rows made by a call for each row",
    "Values Scan": "list of values",
    "CTE Scan": "rows of a WITH query",
    "WorkTable Scan": "rows of the last round",
    "Subquery Scan": "subselect",
    "Recursive Union": "recursion, its rounds unknown",
    "Nested Loop": "nested loop",
    "Hash Join": "hash join",
    "Merge Join": "merge join of sorted rows",
    "Incremental Sort": "sort of groups that come in order",
    "Aggregate": "aggregate",
    "WindowAgg": "window functions",
    "Append": "one after the other",
    "Merge Append": "merge in order",
    "Gather": "parallel workers",
    "Gather Merge": "parallel workers, merged in order",
    "Materialize": "kept in memory",
    "Memoize": "answers kept by key",
    "Limit": "stop when there are enough rows",
    "Result": "values",
}
_CONDITIONS = {
    "Index Cond": "by",
    "Recheck Cond": "by",
    "TID Cond": "by",
    "Hash Cond": "on",
    "Merge Cond": "on",
    "Join Filter": "where",
    "Filter": "where",
    "One-Time Filter": "if",
    "key": "by",
}


def told_weight(weight: Weight, sight: Sight) -> str:
    """Cost and rows in a line."""
    if sight.top.told:
        return f"cost {number(weight.cost)}, rows scanned {number(weight.rows_scanned)}"
    return "cost and rows scanned are not told: part of the plan lies behind what you may not see"


def told_steps(sight: Sight) -> list[str]:
    """The steps of the statement from the top, each in a line, indented by two for each level."""
    if not sight.shaped:
        return [*sorted(f"reads {table(sight.view, relation)}" for relation in sight.stated), INNER]
    lines = list(_lines(_statement(sight.top), 0, sight.view))
    return [*lines[:_LINES], f"… {len(lines) - _LINES} more steps"] if len(lines) > _LINES else lines


def number(value: float) -> str:
    """A number as people read it."""
    return f"{value:,.0f}" if isfinite(value) else "beyond all numbers"


def table(view: SchemaView, relation: Relation) -> str:
    """The relation's name in backticks, with its schema only where the name alone means another."""
    for schema in view.snapshot.search_path:
        if (schema, relation.name) in view.snapshot.relations:
            if schema == relation.schema:
                return f"`{identifier(relation.name)}`"
            break
    return f"`{qualified(relation.schema, relation.name)}`"


def phrase(seen: Seen, view: SchemaView) -> str:
    """What the step is, and on what."""
    kind = _KINDS.get(seen.step.kind, seen.step.kind.lower())
    words = [f"{seen.step.join.lower()} {kind}" if seen.step.join not in ("", "Inner") else kind]
    if seen.relation is not None:
        words.append(f"of {table(view, seen.relation)}")
    if seen.function:
        words.append(f"`{one_line(seen.function, 60)}()`")
    if seen.index is not None:
        words.append(f"through `{identifier(seen.index.name)}`")
    return " ".join(words)


def dear_part(load: Load, sight: Sight) -> str:
    """One step as the reason of a refusal, with its rows; `an inner part` where the caller may not know it."""
    seen = sight.find(load.step)
    if seen is None:
        return f"{INNER} of the plan"
    return f"{_article(phrase(seen, sight.view))}{_extent(load, seen)}" if seen.told else _article(phrase(seen, sight.view))


def _extent(load: Load, seen: Seen) -> str:
    if load.touched and load.runs > 1:
        return f", about {number(load.touched)} rows in {number(load.runs)} rounds"
    if load.touched:
        return f", about {number(load.touched)} rows"
    if seen.step.kind == "Nested Loop":
        return ", about " + " times ".join(number(part.step.rows) for part in seen.parts[:2]) + " rows"
    return f" over about {number(max([part.step.rows for part in seen.parts], default=seen.step.rows))} rows"


def _article(words: str) -> str:
    if words.startswith(("rows", "values", "parallel", "window", "answers")):
        return words
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _statement(top: Seen) -> Seen:
    """The plan without the limit that every reply has, which stands on top, and the subselects that make of it."""
    own = top.parts[0] if top.step.kind == "Limit" and len(top.parts) == 1 else top
    while own.step.kind == "Subquery Scan" and len(own.parts) == 1 and not own.conditions:
        own = own.parts[0]
    return own


def _lines(seen: Seen, depth: int, view: SchemaView) -> Iterator[str]:
    indent = "  " * depth
    if not seen.known:
        yield f"{indent}{INNER}{_numbers(seen)}"
        return
    said = [phrase(seen, view), *_told_conditions(seen.keys), *_told_conditions(seen.conditions)]
    yield f"{indent}{_role(seen)}{' '.join(said)}{_numbers(seen)}"
    hidden = False
    for part in seen.parts:
        # Several inner parts beside each other are told as one: how many there are is not the statement's.
        if part.known or part.told or not hidden:
            yield from _lines(part, depth + 1, view)
        hidden = hidden or not (part.known or part.told)


def _numbers(seen: Seen) -> str:
    return f" (rows {number(seen.step.rows)}, cost {number(seen.step.cost)})" if seen.told else ""


def _role(seen: Seen) -> str:
    match seen.step.role:
        case "InitPlan":
            return "once: "
        case "SubPlan":
            return "for each row: "
        case _:
            return ""


def _told_conditions(conditions: Sequence[Condition]) -> list[str]:
    texts: dict[str, list[str]] = {}
    for condition in conditions:
        # An index condition is checked anew on the row; once is enough to read.
        known = texts.setdefault(_CONDITIONS[condition.kind], [])
        text = one_line(condition.text, _CONDITION) or "a condition"
        if text not in known:
            known.append(text)
    return [f"{word} {', '.join(told)}" for word, told in texts.items()]
