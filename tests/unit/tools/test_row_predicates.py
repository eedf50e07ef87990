"""Conditions on a row as SQL: the shapes, their bounds, and what is refused."""

from typing import Any

import pytest
from pglast.parser import parse_sql

from ostiary_policies.conditions import (
    TRUE,
    Among,
    And,
    Arithmetic,
    Attribute,
    Comparison,
    Condition,
    Constant,
    Has,
    Not,
    Or,
    RowFilter,
    Type,
)
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind
from ostiary_tools.sql.printing import print_tree
from ostiary_tools.sql.row_predicates import predicate

KINDS = {"note": "text", "small": "int2", "large": "int8", "paid": "bool", "day": "date", "moment": "timestamptz", "key": "uuid"}
OPTIONAL = {"note", "moment"}
COLUMNS = tuple(
    ColumnInfo(name, kind, not_null=name not in OPTIONAL, kind=("pg_catalog", kind), deterministic=True)
    for name, kind in KINDS.items()
)
TABLE = Relation("public", "things", RelationKind.TABLE, COLUMNS)
NOTE, SMALL, LARGE = Attribute("note", Type.STRING), Attribute("small", Type.LONG), Attribute("large", Type.LONG)
PAID, DAY, MOMENT = Attribute("paid", Type.BOOL), Attribute("day", Type.DATETIME), Attribute("moment", Type.DATETIME)
KEY = Attribute("key", Type.STRING)
LOWEST, HIGHEST = "CAST('-9223372036854775808' AS numeric)", "CAST('9223372036854775807' AS numeric)"


def number(value: int) -> Constant:
    return Constant(Type.LONG, value)


def said(*permits: Condition, forbids: tuple[Condition, ...] = ()) -> str:
    statement: Any = parse_sql("SELECT FROM things t WHERE x")[0].stmt
    statement.whereClause = predicate(RowFilter(permits, forbids, ()), TABLE, "t")
    return print_tree(statement).partition(" WHERE ")[2]


def test_no_permit_is_no_row():
    assert said() == "FALSE"
    assert said(forbids=(PAID,)) == "FALSE"


def test_a_permit_without_condition_is_every_row_but_the_forbidden():
    assert said(TRUE) == "TRUE"
    assert said(TRUE, forbids=(PAID,)) == "NOT t.paid"
    assert said(TRUE, forbids=(PAID, Has(NOTE))) == "NOT t.paid AND t.note IS NULL"


def test_a_null_is_on_neither_side_of_a_comparison():
    """Under a forbid the opposite is asked for, so that NULL hides the row without being coalesced."""
    equal = Comparison("==", NOTE, Constant(Type.STRING, "a"))
    assert said(equal) == "t.note OPERATOR(pg_catalog.=) CAST('a' AS pg_catalog.text)"
    assert said(TRUE, forbids=(equal,)) == "t.note OPERATOR(pg_catalog.<>) CAST('a' AS pg_catalog.text)"


def test_a_side_that_is_asked_first_is_said_not_to_fail():
    unguarded = Or(Comparison("==", MOMENT, MOMENT), PAID)
    assert said(unguarded).endswith("OR (pg_catalog.isfinite(t.moment) AND t.paid)")
    guarded = And(Has(NOTE), Comparison("==", NOTE, NOTE))
    assert said(Or(guarded, PAID)) == "(t.note IS NOT NULL AND t.note OPERATOR(pg_catalog.=) t.note) OR t.paid"


def test_a_permit_that_fails_hides_what_another_permits():
    """As everywhere, an error while deciding is a refusal."""
    overflowing = Comparison("==", Arithmetic("+", LARGE, number(1)), number(0))
    assert said(PAID, overflowing).endswith(
        f"AND CAST(t.large AS numeric) OPERATOR(pg_catalog.+) CAST('1' AS numeric) OPERATOR(pg_catalog.<=) {HIGHEST}"
    )


@pytest.mark.parametrize(
    ("step", "bounds"),
    [
        (Arithmetic("+", SMALL, SMALL), []),
        (Arithmetic("*", SMALL, SMALL), []),
        (Arithmetic("-", number(0), LARGE), ["<="]),
        (Arithmetic("+", LARGE, number(1)), ["<="]),
        (Arithmetic("-", LARGE, number(1)), [">="]),
        (Arithmetic("*", LARGE, SMALL), [">=", "<="]),
        (Arithmetic("-", Arithmetic("+", LARGE, number(1)), number(1)), ["<="]),
    ],
)
def test_arithmetic_is_held_against_the_range_where_it_could_leave_it(step: Arithmetic, bounds: list[str]):
    text = said(Comparison("==", step, number(3)))
    assert [sign for sign in (">=", "<=") if f"OPERATOR(pg_catalog.{sign}) {LOWEST if sign == '>=' else HIGHEST}" in text] == bounds


@pytest.mark.parametrize(
    ("operator", "left", "right", "expected"),
    [
        ("==", KEY, Constant(Type.STRING, "no key"), "FALSE"),
        ("==", NOTE, Constant(Type.STRING, "\0"), "FALSE"),
        ("==", DAY, Constant(Type.DATETIME, 1), "FALSE"),
        ("<", number(1), number(2), "TRUE"),
    ],
)
def test_what_no_column_can_hold_is_not_asked_for(operator: str, left: Attribute, right: Constant, expected: str):
    assert said(Comparison(operator, left, right)) == expected


def test_what_is_in_no_set_is_still_a_value():
    assert said(Among(NOTE, ())) == "FALSE"
    assert said(Not(Among(NOTE, ()))) == "t.note IS NOT NULL"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Comparison("==", Attribute("gone", Type.STRING), NOTE), "the column `gone` is not of the type that its row rule expects"),
        (Comparison("==", Attribute("note", Type.LONG), number(1)), "the column `note` is not of the type"),
        (Comparison("<", DAY, MOMENT), "only one of them is a date"),
        (Comparison("<", DAY, Constant(Type.DATETIME, 2**62)), "not in the years 1 to 9999"),
        (Comparison("<", MOMENT, Constant(Type.DATETIME, 253_402_300_799_999)), "TRUE"),
        (Comparison("<=", MOMENT, Constant(Type.DATETIME, 253_402_300_799_999)), "not in the years 1 to 9999"),
    ],
)
def test_what_cannot_be_said_is_refused(condition: Condition, message: str):
    if message == "TRUE":
        assert "9999-12-31 23:59:59.999+00" in said(condition)
        return
    with pytest.raises(Refused, match=message) as caught:
        said(condition)
    assert caught.value.rule == "row_rule"


def test_a_filter_that_grows_without_bound_is_refused():
    """Each alternative has to be said not to fail before the next is asked, and so each is said twice."""
    condition: Condition = PAID
    for _ in range(30):
        condition = Or(And(condition, Comparison("==", MOMENT, MOMENT)), Comparison("==", Arithmetic("+", LARGE, LARGE), number(1)))
    with pytest.raises(Refused, match="too long as a predicate"):
        said(condition)


def test_a_long_chain_of_alternatives_is_said_once():
    condition: Condition = Comparison("==", NOTE, Constant(Type.STRING, "0"))
    for place in range(1, 200):
        condition = Or(condition, Comparison("==", NOTE, Constant(Type.STRING, str(place))))
    assert said(And(Has(NOTE), condition)).count("t.note") == 201
