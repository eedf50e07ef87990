"""Who is waited for: the most people that any term in force wants, in the words of the rules that want so many."""

import pytest

from ostiary.people import Wanted, wanted
from ostiary_policies.actions import Action
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Intent, Permit, Principal, Schema, Statement, Table
from ostiary_tools.effects import Effects, RowChange, TableEffect, Via

ADA = Principal("ada", ("engineer",))
POLICY = """
@id("all") permit (principal in Role::"engineer", action, resource);
@id("signs") @approval("human above 1 rows, two humans above 2 rows")
permit (principal in Role::"engineer", action in [Action::"update", Action::"define"], resource);
@id("audits") @approval("two humans above 2 rows") permit (principal in Role::"engineer", action == Action::"update", resource);
@id("looks") @approval("human above 0 rows") permit (principal in Role::"engineer", action == Action::"update", resource);
"""
ENGINE = Engine(PolicySet.parse({"own.cedar": POLICY}))
TABLE = Table("shop", "public", "orders")


def applied(effects: Effects, access: Access) -> Permit:
    changes = (Statement("UPDATE public.orders SET note = 'x'"),)
    intent = Intent("apply_change", {}, (access,), "shop", changes=changes, stays=True, rows_changed=effects.rows_known)
    permit = ENGINE.decide(ADA, intent)
    assert isinstance(permit, Permit)
    return permit


def rows(number: int) -> Effects:
    changed = tuple(RowChange((str(n),), ("x",)) for n in range(number))
    return Effects((number,), (TableEffect(("public", "orders"), ("note",), (), changed, Via.STATEMENT),))


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        (rows(0), None),
        (rows(1), Wanted(1, ("looks",))),
        (rows(2), Wanted(1, ("looks",))),
        (rows(3), Wanted(2, ("audits", "signs"))),
    ],
)
def test_a_change_waits_for_the_most_people_and_names_who_wants_them(effects: Effects, expected: Wanted | None) -> None:
    assert wanted(applied(effects, Access(Action.UPDATE, TABLE)), ENGINE) == expected


def test_what_a_definition_takes_away_is_above_every_number() -> None:
    """A dropped table has had rows that nobody counted."""
    defined = Effects((0,), (), defined=True)
    assert wanted(applied(defined, Access(Action.DEFINE, Schema("shop", "public"))), ENGINE) == Wanted(2, ("signs",))


def test_whose_yes_is_wanted_is_said_in_words() -> None:
    assert str(Wanted(1, ("a",))) == "rule `a` wants a human's approval"
    assert str(Wanted(2, ("a", "b"))) == "rules `a`, `b` want the approval of two humans"
