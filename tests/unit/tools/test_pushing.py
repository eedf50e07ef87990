"""Which conditions of a statement may stand inside a fence."""

from dataclasses import replace

import pytest
from fix_sql import sees_everything, shop_snapshot

from ostiary_policies.masks import Mask, MaskKind
from ostiary_tools.snapshot import OperatorInfo, Snapshot
from ostiary_tools.sql.judge import judge
from ostiary_tools.view import RowTerms, SchemaView

KINDS = {"id": "int4", "customer_id": "int4", "status": "varchar", "total": "numeric", "placed_at": "date", "note": "text"}
RULE = RowTerms("TRUE", ("all",))


def ruled(*operators: OperatorInfo) -> SchemaView:
    """Orders with row rules, and the note masked."""
    snapshot = shop_snapshot()
    orders = snapshot.relations["public", "orders"]
    columns = tuple(replace(c, kind=("pg_catalog", KINDS[c.name]), deterministic=True) for c in orders.columns)
    orders = replace(orders, columns=columns)
    made: Snapshot = replace(
        snapshot,
        relations={**snapshot.relations, ("public", "orders"): orders},
        operators={each.name: (each,) for each in operators},
    )
    note = next(column for column in columns if column.name == "note")
    view = sees_everything(made)
    masked = {orders.column_resource(view.datasource, note): Mask(MaskKind.REDACT)}
    return replace(view, readable=view.readable - frozenset(masked), masked=masked, rows={("public", "orders"): RULE}, kept={})


def inside(sql: str, view: SchemaView) -> list[str]:
    """What stands behind the rule in each fence."""
    text = judge(sql, view).statement.fenced
    return [part.partition(" OFFSET 0)")[0].removeprefix(" AND ") for part in text.split("WHERE (TRUE)")[1:]]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("id = 42", "(id = 42)"),
        ("orders.id >= 42", "(id >= 42)"),
        ("id = $1", "(id = $1)"),
        ("id between 1 and 5", "(id BETWEEN 1 AND 5)"),
        ("id in (1, 2)", "(id IN (1, 2))"),
        ("id = any($1)", "(id = ANY($1))"),
        ("status = any($1)", "(status = ANY($1))"),
        ("id < any($1)", ""),
        ("id = all($1)", ""),
        ("placed_at = any($1)", ""),
        ("id = any($1) and total = any($1)", ""),
        ("id = any('{1,x}')", ""),
        ("id = any(array[1, 1 / total])", ""),
        ("note = any($1)", ""),
        ("status = 'paid'", "(status = 'paid')"),
        ("placed_at < '2026-01-01' and total > 5", "(placed_at < '2026-01-01')"),
        ("id = 1 and status in ('a', 'b')", "(id = 1) AND (status IN ('a', 'b'))"),
        ("placed_at = $1", ""),
        ("id = 1 or id = 2", ""),
        ("not id = 1", ""),
        ("id is null", ""),
        ("id <> 1", ""),
        ("id not in (1)", ""),
        ("id = 1 + 1", ""),
        ("id = 1.5", ""),
        ("id = total", ""),
        ("id::text = '1'", ""),
        ("id = $1 and total = $1", ""),
        ("total = 1", ""),
        ("status like 'p%'", ""),
        ("status < 'p'", ""),
        ("note = 'x'", ""),
        ("1 / id = 1", ""),
    ],
)
def test_a_condition_is_repeated_where_it_can_tell_of_no_row_by_failing(condition: str, expected: str) -> None:
    assert inside(f"select total from orders where {condition}", ruled()) == [expected]


def test_a_condition_goes_to_the_table_that_it_means_alone() -> None:
    sql = "select a.id from orders a left join orders b on a.id = b.id where b.id = 3 and a.status = 'x'"
    assert inside(sql, ruled()) == ["(status = 'x')", "(id = 3)"]


def test_a_bare_name_beside_a_subselect_goes_nowhere() -> None:
    assert inside("select total from orders, (select 1 as one) s where id = 3", ruled()) == [""]


def test_an_operator_that_somebody_made_for_the_servers_types_runs_on_allowed_rows_alone() -> None:
    own = OperatorInfo("public", "=", "public", "leaky", ("pg_catalog", "varchar"), ("pg_catalog", "varchar"))
    assert inside("select total from orders where id = 42", ruled(own)) == [""]


def test_what_is_fenced_stays_as_it_is_when_it_is_fenced_again() -> None:
    view = ruled()
    once = judge("select o.*, x.n from orders o, lateral (select count(*) n from only orders where id = o.id) x", view)
    again = judge(once.statement.text, view)
    assert again.statement == once.statement
    assert once.statement.fenced.count("OFFSET 0") == 2
