"""Reading a plan strictly, and what of it is told to whom; plans as PostgreSQL 18 wrote them for tests/cases/sql/shop.sql."""

import json
from typing import Any

import pytest
from fix_sql import shop_snapshot, view_of

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Obligations, Table
from ostiary_tools.errors import Refused, ScansTooMuch, TooCostly
from ostiary_tools.plans.plan import Plan, read_plan
from ostiary_tools.plans.sight import look
from ostiary_tools.plans.terms import refuse_beyond
from ostiary_tools.plans.weight import weigh
from ostiary_tools.plans.words import told_steps, told_weight

VIEW = view_of(shop_snapshot())
SCAN = {
    "Node Type": "Seq Scan",
    "Parallel Aware": False,
    "Relation Name": "orders",
    "Schema": "public",
    "Alias": "o",
    "Startup Cost": 0.0,
    "Total Cost": 4833.0,
    "Plan Rows": 66627,
    "Plan Width": 36,
    "Output": ["o.id", "o.total"],
    "Filter": "(o.status = 'open'::text)",
}
ORDERS = {("public", "orders"): 200_000.0}


def plan(node: dict[str, Any], tables: dict[tuple[str, str], float] | None = None) -> Plan:
    return Plan(read_plan(json.dumps([{"Plan": node}])), tables or ORDERS)


def reads(*tables: str) -> tuple[Access, ...]:
    return tuple(Access(Action.READ, Table("shop", "public", name)) for name in tables)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "[{}]",
        "null",
        "[[]]",
        '[{"Plan": null}]',
        '[{"Plan": {"Node Type": "Result"}}]',
        json.dumps([{"Plan": SCAN}, {"Plan": SCAN}]),
        json.dumps([{"Plan": SCAN | {"Total Cost": "4833"}}]),
        json.dumps([{"Plan": SCAN | {"Plan Rows": None}}]),
        json.dumps([{"Plan": SCAN | {"Plan Rows": -1}}]),
        json.dumps([{"Plan": SCAN | {"Plan Rows": True}}]),
        json.dumps([{"Plan": SCAN | {"Total Cost": float("nan")}}]),
        json.dumps([{"Plan": SCAN | {"Total Cost": float("inf")}}]),
        json.dumps([{"Plan": {name: value for name, value in SCAN.items() if name != "Schema"}}]),
        json.dumps([{"Plan": SCAN | {"Plans": [{}]}}]),
        json.dumps([{"Plan": SCAN | {"Plans": 7}}]),
    ],
)
def test_a_plan_that_lacks_anything_is_a_refusal(text: str):
    with pytest.raises(Refused, match="cannot be read, so it is not run"):
        read_plan(text)


def test_a_string_that_speaks_of_a_hashed_subselect_makes_none_hashed():
    below = SCAN | {"Parent Relationship": "SubPlan", "Subplan Name": "SubPlan 1"}
    forged = plan(SCAN | {"Output": ["'(hashed SubPlan 1)'::text", '"hashed SubPlan 1".x'], "Plans": [below]})
    hashed = plan(SCAN | {"Filter": "(ANY (o.id = (hashed SubPlan 1).col1))", "Plans": [below]})
    assert weigh(forged).rows_scanned == pytest.approx(200_000 + 200_000 * 200_000)
    assert weigh(hashed).rows_scanned == pytest.approx(400_000)


def test_a_scan_is_told_with_its_table_condition_and_numbers():
    sight = look(plan(SCAN), VIEW, reads("orders"))
    assert told_steps(sight) == ["sequential scan of `orders` where o.status = 'open'::text (rows 66,627, cost 4,833)"]
    assert told_weight(weigh(plan(SCAN)), sight) == "cost 4,833, rows scanned 200,000"


def test_a_table_that_the_statement_does_not_name_is_an_inner_part():
    """As if `order_totals`, a view over it, was read; its numbers follow from what may be read, those of `customers` do not."""
    orders = look(plan(SCAN), VIEW, reads("order_totals"))
    customers = look(plan(SCAN | {"Relation Name": "customers"}), VIEW, reads("order_totals"))
    assert told_steps(orders) == ["an inner part (rows 66,627, cost 4,833)"]
    assert told_steps(customers) == ["reads `order_totals`", "an inner part"]
    assert told_weight(weigh(plan(SCAN)), customers).startswith("cost and rows scanned are not told")


def test_a_condition_over_a_column_that_may_not_be_read_is_a_condition():
    """A generated column stands in a plan as what it is made of."""
    node = SCAN | {"Relation Name": "customers", "Alias": "c", "Filter": "(length(c.password_hash) > 5)"}
    steps = told_steps(look(plan(node), VIEW, reads("customers")))
    assert steps == ["sequential scan of `customers` where a condition"]


@pytest.mark.parametrize(
    ("terms", "error"), [(Obligations(max_cost=4832.0), TooCostly), (Obligations(max_rows_scanned=199_999), ScansTooMuch)]
)
def test_a_plan_above_a_term_is_refused_under_the_rules_that_state_it(terms: Obligations, error: type[TooCostly]):
    with pytest.raises(error) as refused:
        refuse_beyond(terms, plan(SCAN), VIEW, reads("orders"), lambda term: (f"states-{term}",))
    assert refused.value.code == error.code
    assert refused.value.rules == (f"states-{error.code}",)
    assert (
        "the dear part is a sequential scan of `orders`, about 200,000 rows, because no index serves `status`"
        in refused.value.message
    )


@pytest.mark.parametrize("terms", [Obligations(), Obligations(max_cost=4833.0), Obligations(max_rows_scanned=200_000)])
def test_a_plan_at_its_terms_is_not_refused(terms: Obligations):
    refuse_beyond(terms, plan(SCAN), VIEW, reads("orders"), lambda _: ())


def test_a_number_no_float_holds_is_above_every_term():
    below = SCAN | {"Parent Relationship": "Inner", "Plan Rows": 1e300}
    outer = SCAN | {"Parent Relationship": "Outer", "Plan Rows": 1e300}
    loop = SCAN | {"Node Type": "Nested Loop", "Plans": [outer, below]}
    del loop["Relation Name"]
    with pytest.raises(ScansTooMuch):
        refuse_beyond(Obligations(max_rows_scanned=10**15), plan(loop), VIEW, reads("orders"), lambda _: ())
