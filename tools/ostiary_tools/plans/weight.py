"""What a plan would cost and touch at worst: the planner's numbers, without its hope that a LIMIT stops early.

**Cost** is the planner's total cost of the top step, and two things are put back into it.

- A LIMIT. The planner charges only the share of the work that it believes is done when
  enough rows came. That belief is safe where every row that is scanned comes out on top;
  below a filter, a join or an aggregate it is a guess about how many rows pass, and a
  statement whose rows never pass (`… from a, b where a.x + b.y = -1 limit 1`) runs to the
  end of all of it. So a LIMIT counts where it is certain and is taken out where it is not:
  `cost(below) - cost(limit)` is added, once for each time the LIMIT runs.
- A subselect that is run anew for each row. The planner charges `EXISTS` the share up to
  its first row, again a guess. The cost is at least `cost(subselect) * runs`.

**Rows scanned** is the sum over all scans of the rows one run touches, times its runs.
One run touches

- all rows of its relation: a sequential scan (whatever passes its filter), a sample, a
  foreign or unknown scan, and an index read from end to end;
- the rows it gives: an index scan whose index condition is all it tests, a bitmap, a
  function, a list of values, a WITH query read again, a call that makes rows;
- where a filter follows an index condition, the rows that its cost can pay for,
  `cost / row_cost`, and at most all.

It runs `rows` of the outer side times on the inner side of a nested loop, once for each
row of the step above as a subselect that is not hashed, ten times in the arm of a
recursion (the planner's own assumption: nobody knows the rounds), and in every parallel
worker unless they share it. A certain LIMIT takes its share of the scans below it.

These are estimates. Functions may lie about their cost and rows, a recursion may go on
without end, and statistics age: the statement's time limit bounds what this cannot.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ostiary_tools.plans.plan import FILTERS, Plan, Step

_ROUNDS = 10.0
"""Of a recursion, as PostgreSQL's planner assumes."""
_MAKES_ROWS = frozenset(
    {"Function Scan", "Table Function Scan", "Values Scan", "CTE Scan", "WorkTable Scan", "Named Tuplestore Scan", "ProjectSet"}
)
_FOREIGN = frozenset({"Foreign Scan", "Custom Scan"})
"""Of several relations at once they name none."""
_ALL_PASS = frozenset({"Append", "Merge Append", "Subquery Scan", "Result", "Gather", "Gather Merge", "Materialize", "Limit"})
_FETCHES = frozenset({"Seq Scan", "Index Scan", "Index Only Scan", "Tid Scan"})
_JOINS = frozenset({"Nested Loop", "Hash Join", "Merge Join"})
_KEPT = frozenset({"Materialize", "Memoize"})
_STREAMS = frozenset({"Outer", "Member", "Subquery"})


@dataclass(frozen=True, slots=True)
class Load:
    """What one step adds."""

    step: Step
    runs: float
    touched: float
    """Rows, over all runs; zero for what scans nothing."""
    own_cost: float
    """Over all runs, without the steps below."""


@dataclass(frozen=True, slots=True)
class Weight:
    """See the module."""

    cost: float
    rows_scanned: float
    loads: tuple[Load, ...]
    """Of every step, from the top."""
    limit_helps: bool
    """False when a LIMIT stands above a step it cannot be trusted to stop."""


def weigh(plan: Plan) -> Weight:
    """Weigh a plan; numbers too large to be finite stay `inf`, which is above every term."""
    visits = tuple(_visits(plan.top, plan))
    put_back = sum(visit.put_back for visit in visits)
    repeated = sum(visit.step.cost * visit.runs for visit in visits if visit.repeated)
    return Weight(
        cost=max(plan.top.cost, repeated) + put_back,
        rows_scanned=sum(visit.touched for visit in visits),
        loads=tuple(Load(visit.step, visit.runs, visit.touched, visit.own_cost) for visit in visits),
        limit_helps=put_back == 0,
    )


@dataclass(frozen=True, slots=True)
class _Visit:
    step: Step
    runs: float
    touched: float
    own_cost: float
    put_back: float
    """Cost that an uncertain LIMIT hides."""
    repeated: bool
    """A subselect that is run for each row."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How often a step is reached."""

    runs: float = 1.0
    """In one worker."""
    workers: float = 1.0
    charged: float = 1.0
    """Runs that the planner charges for, in one worker: what is kept in memory is charged once."""
    share: float = 1.0
    """Of its rows, in one run."""


def _visits(top: Step, plan: Plan) -> Iterator[_Visit]:
    waiting = [(top, _Place(), False)]
    while waiting:
        step, place, repeated = waiting.pop()
        runs = place.runs * place.workers
        # Workers that share a scan read it once between them.
        reads = place.runs if step.parallel else runs
        hidden = step.parts[0].cost - step.cost if step.kind == "Limit" and step.parts and not _certain(step.parts[0]) else 0.0
        yield _Visit(
            step=step,
            runs=reads,
            touched=_touched(step, plan, place.workers) * place.share * reads,
            own_cost=_own_cost(step, plan) * place.charged,
            put_back=max(0.0, hidden) * runs,
            repeated=repeated,
        )
        waiting.extend((part, _below(step, part, place, plan), _is_repeated(step, part)) for part in reversed(step.parts))


def _below(step: Step, part: Step, place: _Place, plan: Plan) -> _Place:
    runs = place.runs * _runs(step, part, plan)
    workers = place.workers * (step.workers + 1) if step.kind in ("Gather", "Gather Merge") else place.workers
    charged = place.charged * (1.0 if part.kind in _KEPT else _runs(step, part, plan))
    if part.role in _STREAMS:
        return _Place(runs, workers, charged, place.share * _share(step))
    # What is run for each row of a share is run that much less often; what is run once is run whole.
    often = _is_repeated(step, part) or (step.kind == "Nested Loop" and part.role == "Inner")
    share = place.share if often else 1.0
    return _Place(max(1.0, runs * share), workers, max(1.0, charged * share))


def _runs(step: Step, part: Step, plan: Plan) -> float:
    """How often the part runs for one run of the step."""
    if _is_repeated(step, part):
        return max(1.0, _handled(step, plan))
    if step.kind == "Nested Loop" and part.role == "Inner":
        return max(1.0, _outer(step).rows)
    if step.kind == "Recursive Union" and part is step.parts[-1]:
        return _ROUNDS
    return 1.0


def _is_repeated(step: Step, part: Step) -> bool:
    return part.role == "SubPlan" and part.name not in step.hashed


def _handled(step: Step, plan: Plan) -> float:
    """Rows whose expressions the step computes."""
    below = [part.rows for part in step.parts if part.role not in ("InitPlan", "SubPlan")]
    if step.kind == "Nested Loop" and len(below) > 1:
        return max(step.rows, below[0] * below[1])
    return max([step.rows, _touched(step, plan, 1.0), *below])


def _touched(step: Step, plan: Plan, workers: float) -> float:
    """Rows that one run of a scan touches, in all workers when they share it."""
    given = step.rows * (workers if step.parallel else 1.0)
    if step.relation is None:
        if step.kind == "Bitmap Index Scan" or step.kind in _FOREIGN:
            return given
        return max(given, _affordable(step, plan)) if step.kind in _MAKES_ROWS else 0.0
    whole = max(step.rows, plan.tables.get(step.relation, given))
    match step.kind:
        case "Bitmap Heap Scan":
            return 0.0  # its index scans are counted
        case "Index Scan" | "Index Only Scan" if step.has("Index Cond"):
            return min(whole, max(given, _affordable(step, plan)))
        case "Tid Scan" | "Tid Range Scan":
            return given
        case _:
            return whole


def _affordable(step: Step, plan: Plan) -> float:
    """Rows that the planner can have charged for at most, when a filter hides how many were fetched."""
    if not step.has(*FILTERS):
        return 0.0
    return (step.cost - step.startup) / plan.row_cost if plan.row_cost > 0 else float("inf")


def _own_cost(step: Step, plan: Plan) -> float:
    below = sum(part.cost * (1.0 if part.kind in _KEPT else _runs(step, part, plan)) for part in step.parts)
    return max(0.0, step.cost - below) if step.kind != "Limit" else 0.0


def _outer(join: Step) -> Step:
    return next((part for part in join.parts if part.role == "Outer"), join.parts[0])


def _certain(step: Step) -> bool:
    """Whether every row that is scanned below comes out on top, so that a LIMIT above stops the scans for sure."""
    if step.has(*FILTERS):
        return False
    if step.kind in _FETCHES:
        return True
    if step.kind in _JOINS:
        return step.join == "Left" and _certain(_outer(step))
    streams = [part for part in step.parts if part.role in _STREAMS]
    return step.kind in _ALL_PASS and all(_certain(part) for part in streams)


def _share(step: Step) -> float:
    """Of the rows below that a LIMIT asks for, its OFFSET included: the share of the cost that it charges."""
    if step.kind != "Limit" or not step.parts or not _certain(below := step.parts[0]):
        return 1.0
    work = below.cost - below.startup
    return min(1.0, max(0.0, step.cost - below.startup) / work) if work > 0 else 1.0
