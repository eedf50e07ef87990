import pytest

from ostiary_policies.budgets import Budget, Measure, Window, stated, strictest, written
from ostiary_policies.cases import run_table
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.errors import PolicyError
from ostiary_policies.explain import terms
from ostiary_policies.model import Intent, Obligations, Permit, Principal

CALLS, BYTES = Measure.CALLS, Measure.BYTES
MINUTE, HOUR, DAY = Window.MINUTE, Window.HOUR, Window.DAY
POLICY = """
@id("few") @budget_calls("60/minute, 1000/day") permit (principal in Role::"analyst", action == Action::"call", resource);
@id("fewer") @budget_calls("10/minute") @budget_rows("5/hour")
permit (principal in Role::"analyst", action == Action::"call", resource == Tool::"query");
"""
TABLE = """
[[case]]
title = "an analyst's queries are counted"
roles = ["analyst"]
action = "call"
resource = { tool = "query" }
expected = "permit"
terms = { budget_calls = "%s", budget_rows = "5/hour" }
"""


@pytest.mark.parametrize(
    ("annotation", "budgets"),
    [
        ({"budget_calls": "60/minute"}, (Budget(CALLS, MINUTE, 60),)),
        ({"budget_calls": "60/minute, 1000/day"}, (Budget(CALLS, DAY, 1000), Budget(CALLS, MINUTE, 60))),
        ({"budget_calls": "60/minute,1000/day"}, (Budget(CALLS, DAY, 1000), Budget(CALLS, MINUTE, 60))),
        ({"budget_bytes": "10MB/hour"}, (Budget(BYTES, HOUR, 10_000_000),)),
        ({"budget_bytes": "1kB/hour"}, (Budget(BYTES, HOUR, 1_000),)),
        ({"budget_bytes": "2GB/day"}, (Budget(BYTES, DAY, 2_000_000_000),)),
        ({"budget_rows": "7/day"}, (Budget(Measure.ROWS, DAY, 7),)),
        ({"budget_seconds": "600/hour"}, (Budget(Measure.SECONDS, HOUR, 600),)),
        ({"budget_masked_columns": "20/hour"}, (Budget(Measure.MASKED_COLUMNS, HOUR, 20),)),
        ({"limit_rows": "5"}, ()),
    ],
)
def test_a_budget_is_amounts_by_window(annotation: dict[str, str], budgets: tuple[Budget, ...]) -> None:
    assert stated(annotation) == budgets
    assert stated(written(budgets)) == budgets


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "60", "60/", "/minute", "0/minute", "-1/minute", "1.5/minute", "1e3/minute", "060/minute", "٣/minute"),
        *("60/second", "60/week", "60 / minute", "60/minute;1/day", "60/Minute", "60/minutes", "60/minute,", "1000000000000/day"),
        *("60/minute, 70/minute", "60/minute\n", "6_0/minute", "1kB/minute", "60/minute, x"),
    ],
)
def test_a_budget_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="`@budget_calls`"):
        stated({"budget_calls": text})


@pytest.mark.parametrize("text", ["999/hour", "1/day", "10 MB/hour", "10mb/hour", "10MiB/hour", "10TB/hour"])
def test_bytes_have_units_and_suffice_for_a_reply(text: str) -> None:
    with pytest.raises(ValueError, match="`@budget_bytes`"):
        stated({"budget_bytes": text})


def test_the_least_of_each_measure_and_window_is_the_strictest() -> None:
    some = [Budget(CALLS, MINUTE, 60), Budget(CALLS, DAY, 9), Budget(CALLS, MINUTE, 10), Budget(BYTES, MINUTE, 1000)]
    assert strictest(some) == (Budget(BYTES, MINUTE, 1000), Budget(CALLS, DAY, 9), Budget(CALLS, MINUTE, 10))
    assert strictest([]) == ()


def test_budgets_come_from_the_policies_that_decide_and_name_them() -> None:
    engine = Engine(PolicySet.parse({"a.cedar": POLICY}))
    who = Principal("ada", ("analyst",))
    query, describe = engine.decide(who, Intent("query")), engine.decide(who, Intent("describe"))
    assert isinstance(query, Permit)
    assert isinstance(describe, Permit)
    assert written(query.obligations.budgets) == {"budget_calls": "10/minute, 1000/day", "budget_rows": "5/hour"}
    assert written(describe.obligations.budgets) == {"budget_calls": "60/minute, 1000/day"}
    assert engine.stating_budget(query, Budget(CALLS, MINUTE, 10)) == ("fewer",)
    assert engine.stating_budget(query, Budget(CALLS, DAY, 1000)) == ("few",)


def test_a_malformed_budget_stops_the_load_with_its_policy_and_line() -> None:
    for wrong in ('@budget_calls("60/second")', '@budget_tokens("6/hour")'):
        text = f'\n@id("bad") {wrong} permit (principal in Role::"analyst", action, resource);'
        with pytest.raises(PolicyError) as refused:
            PolicySet.parse({"a.cedar": text})
        assert [(p.file, p.line, p.policy) for p in refused.value.problems] == [("a.cedar", 2, "bad")]
    with pytest.raises(PolicyError, match="on a forbid has no effect"):
        PolicySet.parse({"a.cedar": '@id("bad") @budget_calls("6/hour") forbid (principal, action, resource);'})


def test_decision_tables_know_budgets() -> None:
    engine = Engine(PolicySet.parse({"a.cedar": POLICY}))
    assert [case.differences for case in run_table(engine, TABLE % "1000/day, 10/minute")] == [()]
    (case,) = run_table(engine, TABLE % "9/minute")
    assert case.differences == (
        "expected the terms budget_calls 9/minute, budget_rows 5/hour, got budget_calls 10/minute, 1000/day, budget_rows 5/hour",
    )


def test_budgets_are_said_with_their_window() -> None:
    assert terms(Obligations(budgets=stated({"budget_calls": "1000/hour", "budget_bytes": "1MB/day"}))) == [
        "at most 1,000,000 bytes a day",
        "at most 1,000 calls an hour",
    ]
    assert terms(Obligations(budgets=stated({"budget_masked_columns": "1/minute, 20/day"}))) == [
        "at most 20 masked columns a day",
        "at most 1 masked column a minute",
    ]
