"""Terms of cost over plans of any shape: lowering one never allows more, and nothing in a plan makes a part of it free."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ostiary_policies.model import Obligations
from ostiary_policies.obligations import strictest
from ostiary_tools.plans.plan import Plan, Step
from ostiary_tools.plans.terms import excesses
from ostiary_tools.plans.weight import weigh

_NUMBERS = st.floats(0, 1e12)
_LEAVES = ("Seq Scan", "Index Scan", "Function Scan", "Bitmap Index Scan", "CTE Scan", "Result", "Unheard Scan")
_INNER = ("Limit", "Nested Loop", "Hash Join", "Append", "Sort", "Aggregate", "Gather", "Recursive Union", "Unheard")
_ROLES = ("Outer", "Inner", "Member", "Subquery", "InitPlan", "SubPlan", "")
_FILTER = (("Filter", "(a.b = 1)"),)


def _steps() -> st.SearchStrategy[Step]:
    leaves = st.builds(
        _step,
        st.sampled_from(_LEAVES),
        _NUMBERS,
        _NUMBERS,
        st.booleans(),
        st.sampled_from(_ROLES),
        st.just(()),
        st.sampled_from([None, ("public", "a"), ("public", "unknown")]),
    )
    return st.recursive(
        leaves,
        lambda below: st.builds(
            _step,
            st.sampled_from(_INNER),
            _NUMBERS,
            _NUMBERS,
            st.booleans(),
            st.sampled_from(_ROLES),
            st.lists(below, min_size=1, max_size=3).map(tuple),
            st.none(),
        ),
        max_leaves=12,
    )


def _step(
    kind: str, cost: float, rows: float, filtered: bool, role: str, parts: tuple[Step, ...], relation: tuple[str, str] | None
) -> Step:
    conditions = _FILTER if filtered else ()
    join = "Left" if filtered else "Inner"
    workers = 2 if kind == "Gather" else 0
    return Step(
        kind, 0.0, cost, rows, relation, join=join, role=role, name="SubPlan 1", conditions=conditions, workers=workers, parts=parts
    )


_TERMS = st.builds(
    Obligations,
    max_cost=st.none() | st.floats(1e-3, 1e15),
    max_rows_scanned=st.none() | st.integers(1, 10**15),
)


@given(_steps(), _TERMS, _TERMS)
def test_a_stricter_set_of_terms_refuses_all_that_each_refuses(top: Step, one: Obligations, other: Obligations):
    weight = weigh(Plan(top, {("public", "a"): 1e6}))
    refused = {excess.term for terms in (one, other) for excess in excesses(weight, terms)}
    assert {excess.term for excess in excesses(weight, strictest([one, other]))} == refused


@given(_steps())
def test_a_plan_weighs_at_least_what_the_planner_says_and_touches_no_less_than_nothing(top: Step):
    weight = weigh(Plan(top, {("public", "a"): 1e6}))
    assert weight.cost >= top.cost
    assert weight.rows_scanned >= 0
    assert all(load.touched >= 0 and load.own_cost >= 0 and load.runs >= 0 for load in weight.loads)


@given(_steps(), st.floats(0, 1))
def test_a_limit_above_a_filter_makes_nothing_cheaper(below: Step, fraction: float):
    below = replace(below, role="Outer", conditions=_FILTER)
    limit = Step("Limit", 0.0, below.cost * fraction, 1.0, parts=(below,))
    bare, limited = (weigh(Plan(top, {("public", "a"): 1e6})) for top in (below, limit))
    assert limited.rows_scanned == bare.rows_scanned
    assert limited.cost >= below.cost * (1 - 1e-9)
