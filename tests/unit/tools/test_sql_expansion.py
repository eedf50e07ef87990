"""Statements that would grow without bound in the server are refused; statements people write are not."""

import pytest
from fix_sql import Case, cases, shop_snapshot, view_of

from ostiary_tools.errors import Refused
from ostiary_tools.sql import judge

VIEW = view_of(shop_snapshot())


def nested(form: str, depth: int, inmost: str) -> str:
    text = inmost
    for level in range(depth):
        text = form.replace("{}", text).replace("{n}", str(level))
    return text


@pytest.mark.parametrize(
    ("form", "inmost"),
    [
        ("({}) between false and true", "true"),
        ("({}) between symmetric false and true", "true"),
        ("({}) not between symmetric true and (id = 1)", "true"),
        ("true between symmetric ({}) and false", "true"),
        ("({}) in (id = 1, id = 2)", "id = 3"),
        ("(({}), 1) in ((id = 1, 1), (id = 2, 1))", "id = 3"),
        ("array[{}]", "total"),
        ("array[coalesce({})]", "total"),
        ("row((({})::orders).*)::orders", "orders"),
        ("(select {} between 1 and 2)", "true"),
        ("exists (select 1 from orders o{n} where o{n}.id = orders.id and ({} or o{n}.id = 1))", "true"),
        ("json_array(select {})", "1"),
        ("json_object('a': {} format json returning text)", "note"),
        ("json_value({} format json, '$.a' returning text)", "note"),
    ],
)
def test_an_expression_that_doubles_with_each_level_is_refused(form: str, inmost: str):
    with pytest.raises(Refused, match="grows too large"):
        judge(f"select {nested(form, 30, inmost)} from orders", VIEW)
    judge(f"select {nested(form, 2, inmost)} from orders", VIEW)


@pytest.mark.parametrize(
    "form",
    [
        "select x + x as x from ({}) as q{n}",
        "select q{n}.x || q{n}.x as x from ({}) as q{n}",
        "select case when x then x end from ({}) as q{n}(x)",
        "select coalesce(x, x) as x from (select 1 as one) as o cross join lateral ({}) as q{n}",
        "select (select x || x) as x from ({}) as q{n}",
        "select q{n}::text || q{n}::text as x from ({}) as q{n}",
        "with q{n} as ({}) select x || x as x from q{n}",
        "with q as ({}) select x || x as x from q",
        "with q{n}(x) as not materialized ({}) select a.x from q{n} a, q{n} b",
        "select x || x as x from ({} union all select 1) as q{n}",
        "select j.x || j.x as x from (({}) as q{n} join (select 1 as y) as o on true) as j",
        "select * from (select x, x || x as x2 from ({}) as i{n}) as q{n}(y, x)",
        "with recursive q{n} as ({}) select x || x as x from q{n}",
        "with recursive b{n} as (select x || x as x from a{n}), a{n} as ({}) select x from b{n}",
        "select j.y || j.y as x from (({}) as q{n} cross join products p) as j(y)",
        "select max(x) as x from ({} union all select status from orders) as q{n}",
        "select max(x) as x from (select x from ({} union all select status from orders) as i{n}) as q{n}",
        "with q{n} as ({} union all select status from orders) select (select max(x)) as x from q{n}",
        "select (s{n}.r).status as x from (select row(1, 1, x || x, 1, null, null)::orders as r from ({}) as q{n}) as s{n}",
    ],
)
def test_subqueries_whose_columns_double_with_each_level_are_refused(form: str):
    inmost = "select status as x from orders"
    with pytest.raises(Refused, match="grows too large"):
        judge(nested(form, 30, inmost), VIEW)
    judge(nested(form, 2, inmost), VIEW)


@pytest.mark.parametrize(
    "text",
    [
        nested("select * from ({}) as q{n}", 60, "select * from orders"),
        nested("select x + 1 as x from ({}) as q{n} where x between 1 and 9", 60, "select id as x from orders"),
        "with "
        + ", ".join(
            [
                "q0 as (select id as x from orders)",
                *(f"q{n} as (select a.x + b.x as x from q{n - 1} a join q{n - 1} b using (x))" for n in range(1, 9)),
            ]
        )
        + " select * from q8",
        f"select * from orders where id in ({', '.join(map(str, range(10_000)))})",
        f"select * from orders where lower(status) || 'a' in ({', '.join(f'lower($1) || {n}' for n in range(500))})",
        f"select array[{', '.join(map(str, range(10_000)))}]",
        nested("with m{n} as materialized ({}) select x || x as x from m{n}", 40, "select status as x from orders"),
    ],
)
def test_large_statements_that_do_not_grow_pass(text: str):
    judge(text, VIEW)


@pytest.mark.parametrize("sets", ["rollup", "cube"])
def test_grouping_sets_without_number_are_refused(sets: str):
    columns = ", ".join(f"(id + {n})" for n in range(300))
    with pytest.raises(Refused, match="grows too large"):
        judge(f"select count(*) from orders group by {sets} ({columns})", VIEW)
    judge(f"select count(*) from orders group by {sets} (id, status, customer_id, note, total, placed_at)", VIEW)


@pytest.mark.parametrize("case", list(cases("honest")), ids=lambda case: case.sql[:60])
def test_no_honest_statement_comes_near_the_bound(case: Case, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ostiary_tools.sql.expansion.MAX_WEIGHT", 20_000)
    judge(case.sql, VIEW)
