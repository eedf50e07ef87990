"""What a wrong statement is answered: the nearest right thing of what the agent may see, word for word."""

import tomllib
from dataclasses import replace
from typing import Any

import pytest
from fix_sql import CASES, HIDDEN_COLUMNS, HIDDEN_FUNCTIONS, HIDDEN_TABLES, Case, cases, shop_snapshot, view_of

from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Snapshot
from ostiary_tools.sql import judge
from ostiary_tools.sql.inventory import FUNCTIONS

VIEW = view_of(shop_snapshot())
NAMES, SYNTAX = (tomllib.loads((CASES / f"hints/{kind}.toml").read_text("utf-8"))["case"] for kind in ("names", "syntax"))
DIALECTS = tomllib.loads((CASES.parents[2] / "tools/ostiary_tools/sql/dialects.toml").read_text("utf-8"))
BINDS_TO_THE_HIDDEN = {
    "select upper(name) as salary, count(*) from employees group by salary",
    "select (select salary from unnest(array[1]) u) from employees",
    "select row_to_json(null::employees)",
}
"""A known gap: without the hidden column these run, so that a refusal tells of it. Its values stay hidden."""
REFUSED_NAMES = tuple(
    case
    for case in cases("refuse")
    if case.rule in ("unknown_table", "unknown_column", "function", "type") and case.sql not in BINDS_TO_THE_HIDDEN
)


def _without_hidden() -> Snapshot:
    snapshot = shop_snapshot()
    relations = {
        name: replace(relation, columns=tuple(c for c in relation.columns if (relation.name, c.name) not in HIDDEN_COLUMNS))
        for name, relation in snapshot.relations.items()
        if relation.name not in HIDDEN_TABLES
    }
    functions = {name: overloads for name, overloads in snapshot.functions.items() if name[1] not in HIDDEN_FUNCTIONS}
    return replace(snapshot, relations=relations, functions=functions)


NEVER_EXISTED = view_of(_without_hidden())


def _told(sql: str, view: Any = VIEW) -> tuple[str, str, str]:
    with pytest.raises(Refused) as refusal:
        judge(sql, view)
    return refusal.value.rule, refusal.value.message, refusal.value.hint


@pytest.mark.parametrize("case", [*NAMES, *SYNTAX], ids=lambda c: c["sql"])
def test_a_wrong_statement_is_answered_with_the_nearest_right_thing(case: dict[str, str]):
    assert _told(case["sql"]) == (case["rule"], case["message"], case["hint"])


@pytest.mark.parametrize("sql", [*(c["sql"] for c in NAMES), *(c.sql for c in REFUSED_NAMES)])
def test_what_is_hidden_is_answered_byte_for_byte_as_what_never_existed(sql: str):
    assert _told(sql) == _told(sql, NEVER_EXISTED)


def test_the_place_of_a_syntax_error_counts_lines_and_characters():
    _, message, _ = _told("select 'æøå',\n  id form orders")
    assert "(line 2, column 11, after `select 'æøå', id form`)" in message


def test_a_long_statement_that_does_not_parse_is_answered_in_few_words():
    _, message, hint = _told("select '" + "x" * 50_000)
    assert len(message + hint) < 300


def test_no_function_of_another_dialect_is_one_that_may_be_called():
    """Else its hint would never be read. Later versions of PostgreSQL have some of these; then they bind there."""
    known_later = {"date_add"}
    assert DIALECTS["functions"].keys() & FUNCTIONS <= known_later


def test_there_are_as_many_hints_as_promised():
    assert len(NAMES) >= 70
    assert len(SYNTAX) >= 38
    assert sum(isinstance(c, Case) for c in REFUSED_NAMES) >= 90
