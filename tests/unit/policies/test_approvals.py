"""`@approval`: what may stand there, how several add up, and which calls wait for them."""

from itertools import product

import pytest

from ostiary_policies import approvals, obligations
from ostiary_policies.actions import Action
from ostiary_policies.approvals import Approval
from ostiary_policies.cases import run_table
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.errors import PolicyError
from ostiary_policies.explain import explain
from ostiary_policies.model import Access, Column, Intent, Permit, Principal, Statement, Table

ADA = Principal("ada", ("engineer",))
TABLE = Table("shop", "public", "orders")
NOTE = Column("shop", "public", "orders", "note")
SALARY = Column("shop", "public", "orders", "salary")
CHANGES = (Statement("UPDATE public.orders SET note = 'x'"),)
ALL = '@id("all") permit (principal in Role::"engineer", action, resource);'
TERMS = """
@id("one-of-many") @approval("human above 100 rows")
permit (principal in Role::"engineer", action in [Action::"update", Action::"delete"], resource is Table);
@id("two-of-more") @approval("two humans above 1000 rows")
permit (principal in Role::"engineer", action == Action::"update", resource is Table);
"""
READS = """
@id("salaries") @approval("human")
permit (principal in Role::"engineer", action == Action::"read", resource is Column) when { resource.name == "salary" };
@id("updates") @approval("two humans") permit (principal in Role::"engineer", action == Action::"update", resource);
"""


def engine(*texts: str) -> Engine:
    return Engine(PolicySet.parse({"f.cedar": "\n".join(texts)}))


def wanted(policies: Engine, *accesses: Access, **given: object) -> tuple[str, ...]:
    """The terms that a call with these accesses waits for, in words."""
    permit = policies.decide(ADA, Intent("apply_change", accesses=accesses, datasource="shop", **given))  # type: ignore[arg-type]
    assert isinstance(permit, Permit), permit
    return tuple(map(str, policies.approvals(permit)))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("human", (Approval(1),)),
        ("two humans", (Approval(2),)),
        ("human above 0 rows", (Approval(1, 0),)),
        ("human above 100 rows", (Approval(1, 100),)),
        ("two humans above 1000 rows", (Approval(2, 1000),)),
        ("two humans above 1000 rows, human above 100 rows", (Approval(1, 100), Approval(2, 1000))),
        ("human,two humans above 5 rows", (Approval(1), Approval(2, 5))),
    ],
)
def test_an_approval_is_read_and_written_as_its_annotation(written: str, expected: tuple[Approval, ...]) -> None:
    terms = obligations.from_annotations({"approval": written})
    assert terms.approvals == expected
    again = obligations.stated(terms)["approval"]
    assert obligations.from_annotations({"approval": str(again)}) == terms


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "Human", "humans", "one human", "two human", "three humans", "person", "human,", "human;two humans", "human\n"),
        *(
            "human above",
            "human above 100",
            "human above rows",
            "human above -1 rows",
            "human above 01 rows",
            "human above 1e3 rows",
        ),
        *(
            "human above 1,000 rows",
            "human above 1000000000 rows",
            "human  above 5 rows",
            "human below 5 rows",
            "human above ٣ rows",
        ),
        *("human, human", "human, two humans", "human above 5 rows, human above 6 rows", "two humans, human above 5 rows"),
    ],
)
def test_what_is_out_of_format_or_covered_by_another_of_the_same_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="`@approval`"):
        obligations.from_annotations({"approval": written})
    with pytest.raises(PolicyError):
        engine(ALL, f'@id("x") @approval("{written}") permit (principal in Role::"engineer", action, resource);')


def test_the_strictest_of_several_asks_in_every_case_as_many_as_any_of_them() -> None:
    every = [Approval(people, rows) for people, rows in product((1, 2), (None, 0, 5, 100))]
    for one, two, three in product(every, repeat=3):
        kept = approvals.strictest((one, two, three))
        assert kept == approvals.strictest((three, one, two, *kept))
        for rows in (None, 0, 1, 5, 6, 100, 101):
            asked, all_of_them = (
                max((each.people for each in some if each.asked_of_change(rows)), default=0) for some in (kept, (one, two, three))
            )
            assert asked == all_of_them
        always = [max((each.people for each in some if each.above_rows is None), default=0) for some in (kept, (one, two, three))]
        assert always[0] == always[1]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (0, ()),
        (100, ()),
        (101, ("human above 100 rows",)),
        (1000, ("human above 100 rows",)),
        (1001, ("human above 100 rows", "two humans above 1000 rows")),
        (None, ("human above 100 rows", "two humans above 1000 rows")),
    ],
)
def test_a_change_waits_for_those_whose_rows_it_exceeds(rows: int | None, expected: tuple[str, ...]) -> None:
    policies = engine(ALL, TERMS)
    update = Access(Action.UPDATE, TABLE)
    assert wanted(policies, update, changes=CHANGES, stays=True, rows_changed=rows) == expected
    assert wanted(policies, update, undoes=True, stays=True, rows_changed=rows) == expected
    assert wanted(policies, update, changes=CHANGES, rows_changed=rows) == ()


def test_a_call_that_changes_nothing_waits_for_those_without_rows_alone() -> None:
    policies = engine(ALL, TERMS, READS)
    assert wanted(policies, Access(Action.READ, NOTE)) == ()
    assert wanted(policies, Access(Action.READ, SALARY)) == ("human",)
    everything = engine('@id("x") @approval("human above 5 rows") permit (principal in Role::"engineer", action, resource);')
    assert wanted(everything, Access(Action.READ, SALARY)) == ()


def test_a_change_that_is_looked_at_waits_for_what_it_reads_and_not_for_what_it_changes() -> None:
    policies = engine(ALL, READS)
    update = Access(Action.UPDATE, TABLE)
    assert wanted(policies, update, changes=CHANGES) == ()
    assert wanted(policies, update, Access(Action.READ, SALARY), changes=CHANGES) == ("human",)
    assert wanted(policies, update, changes=CHANGES, stays=True) == ("two humans",)


def test_the_rules_are_named_that_state_what_is_waited_for() -> None:
    policies = engine(ALL, TERMS)
    intent = Intent("apply_change", accesses=(Access(Action.UPDATE, TABLE),), changes=CHANGES, stays=True, rows_changed=101)
    permit = policies.decide(ADA, intent)
    assert isinstance(permit, Permit)
    assert policies.stating_any(permit, "approvals", policies.approvals(permit)) == ("one-of-many",)
    assert policies.stating(permit, "approvals") == ("one-of-many", "two-of-more")
    assert explain(permit)[1] == (
        "only when a human has approved this very call, where it changes more than 100 rows; "
        "and when two humans have approved this very call, where it changes more than 1,000 rows"
    )


def test_a_decision_table_states_them_as_their_annotation() -> None:
    case = """
[[case]]
title = "many rows"
roles = ["engineer"]
action = "update"
resource = { table = "shop.public.orders" }
expected = "permit"
terms = { approval = "human above 100 rows, two humans above 1000 rows" }
"""
    policies = engine(ALL, TERMS)
    assert run_table(policies, case)[0].passed
    (other,) = run_table(policies, case.replace("above 1000", "above 999"))
    (difference,) = other.differences
    assert difference.startswith("expected the terms approval human above 100 rows, two humans above 999 rows, got approval human")
