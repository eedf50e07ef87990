"""What a judgement says: the printed text, the accesses, the limits."""

import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from fix_sql import HIDDEN_COLUMNS, HIDDEN_FUNCTIONS, HIDDEN_TABLES, Case, cases, sees_everything, shop_snapshot, view_of

from ostiary_policies.actions import Action
from ostiary_policies.model import Column, Function, Table
from ostiary_tools.errors import Refused
from ostiary_tools.sql import judge
from ostiary_tools.view import SchemaView

VIEW = view_of(shop_snapshot())
ORDERS = ("id", "customer_id", "status", "total", "placed_at", "note")


def accesses(sql: str) -> set[str]:
    found = set()
    for access in judge(sql, VIEW).accesses:
        match access.resource:
            case Column(table=table, name=name):
                found.add(f"{access.action} {table}.{name}")
            case Table(name=name) | Function(name=name):
                found.add(f"{access.action} {name}")
            case other:
                raise AssertionError(other)
    return found


def refusal(sql: str, view: SchemaView = VIEW) -> tuple[str, str, str]:
    with pytest.raises(Refused) as raised:
        judge(sql, view)
    return raised.value.rule, raised.value.message, raised.value.hint


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1", set()),
        ("select count(*) from orders", {"read orders"}),
        ("select id from orders where note is null", {"read orders", "read orders.id", "read orders.note"}),
        (
            "select * from employees",
            {"read employees", *(f"read employees.{c}" for c in ("id", "name", "manager_id", "department"))},
        ),
        (
            "select e from employees e",
            {"read employees", *(f"read employees.{c}" for c in ("id", "name", "manager_id", "department"))},
        ),
        ("select spent from order_totals", {"read order_totals", "read order_totals.spent"}),
        ("select discount(1)", {"execute discount"}),
        ("select label(o) from orders o where false", {"execute label", "read orders", *(f"read orders.{c}" for c in ORDERS)}),
        (
            "select discount(e) from employees e",
            {"execute discount", "read employees", *(f"read employees.{c}" for c in ("id", "name", "manager_id", "department"))},
        ),
        ("select 1 <->> 2", {"execute discount"}),
        ("select null::orders", {"see orders"}),
        ("select x.i from (select id as i, total from orders) x", {"read orders", "read orders.id", "read orders.total"}),
        (
            "select 1 from order_items join payments using (order_id)",
            {"read order_items", "read payments", "read order_items.order_id", "read payments.order_id"},
        ),
        ("select lower('A')", set()),
    ],
)
def test_every_access_is_stated_and_no_other(sql: str, expected: set[str]):
    assert accesses(sql) == expected


def test_accesses_are_sorted_and_unique():
    judged = judge("select id, id, total from orders where id = id", VIEW)
    assert list(judged.accesses) == sorted(set(judged.accesses), key=repr)
    assert {a.action for a in judged.accesses} == {Action.READ}


@pytest.mark.parametrize(
    ("sql", "printed"),
    [
        (
            "select * from employees",
            "SELECT employees.id, employees.name, employees.manager_id, employees.department FROM public.employees",
        ),
        ("select lower('A')", "SELECT pg_catalog.lower('A') AS lower"),
        ("select e from employees e", "SELECT e FROM (SELECT id, name, manager_id, department FROM public.employees) AS e"),
        (
            "select 1 from employees natural join employees e",
            (
                'SELECT 1 AS "?column?" FROM public.employees '
                "INNER JOIN public.employees AS e USING (id, name, manager_id, department)"
            ),
        ),
        (
            "with orders as (select 1) select * from orders",
            'WITH orders AS (SELECT 1 AS "?column?") SELECT orders."?column?" FROM orders',
        ),
        (
            "select e.d from employees e(a, b, c, d)",
            "SELECT e.d FROM (SELECT id, name, manager_id, department FROM public.employees) AS e (a, b, c, d)",
        ),
        (
            "select discount(e) from employees e",
            "SELECT public.discount(e) AS discount FROM (SELECT id, name, manager_id, department FROM public.employees) AS e",
        ),
        ("select discount(2)", "SELECT public.discount(2) AS discount"),
        ("select 'sad'::mood", "SELECT CAST('sad' AS public.mood) AS mood"),
        ("select pg_typeof(1)", "SELECT CAST(pg_catalog.pg_typeof(1) AS text) AS pg_typeof"),
    ],
)
def test_the_printed_text_says_what_was_judged(sql: str, printed: str):
    assert judge(sql, VIEW).statement.text == printed


def without_hidden() -> SchemaView:
    whole = shop_snapshot()
    relations = {
        key: replace(r, columns=tuple(c for c in r.columns if (r.name, c.name) not in HIDDEN_COLUMNS))
        for key, r in whole.relations.items()
        if r.name not in HIDDEN_TABLES
    }
    functions = {key: f for key, f in whole.functions.items() if key[1] not in HIDDEN_FUNCTIONS}
    return view_of(replace(whole, relations=relations, functions=functions))


# A hidden column cannot be named by a row type or a plan, and a bare name binds to it although it is hidden.
_TELLING = ("row type of a table with hidden columns", "explains", "an alias does not cover", "past a function of unknown columns")


@pytest.mark.parametrize("case", [c for c in cases("refuse") if not any(t in c.title for t in _TELLING)], ids=lambda c: c.title)
def test_what_is_hidden_is_refused_as_if_it_were_not_there(case: Case):
    assert refusal(case.sql) == refusal(case.sql, without_hidden())


def test_the_audited_text_and_the_fingerprint_carry_no_constant():
    one = judge("select id from orders where note = 'canary' and total > 12.5 and id = 7 and status like E'x\\'%'", VIEW)
    other = judge("select id from orders where note = 'other' and total > 99.1 and id = 8 and status like 'z'", VIEW)
    assert (
        one.redacted == other.redacted == "SELECT id FROM public.orders WHERE note = ? AND total > ? AND id = ? AND status LIKE ?"
    )
    assert one.fingerprint == other.fingerprint


def test_parameters_are_counted_and_the_kind_is_told():
    judged = judge("explain select id from orders where id = $2 or total > $1 or id = $2", VIEW)
    assert (judged.kind, judged.parameter_count) == ("explain", 2)


@pytest.mark.parametrize(
    "sql",
    [
        " union all ".join(f"select {n}" for n in range(100)),
        "select " + " || ".join(["'a'"] * 101),
        "select count(*) from orders t0 " + " ".join(f"join orders t{n} on t{n}.id = t0.id" for n in range(1, 61)),
        "select * from " + "(select * from " * 30 + "orders" + "".join(f") s{n}" for n in range(30)),
        "select id from orders where " + "id in (select id from orders where " * 30 + "true" + ")" * 30,
        "select id from orders where " + " and ".join(["id = 1"] * 1500),
        "select id from orders where id in (" + ", ".join(map(str, range(5000))) + ")",
        "values " + ", ".join(f"({n}, 'x')" for n in range(3000)),
        "select " + "upper(" * 60 + "'a'" + ")" * 60,
        "select " + ", ".join(f"case when id = {n} then {n} else 0 end" for n in range(60)) + " from orders",
    ],
    ids=[
        "100 arms",
        "100 concatenations",
        "60 joins",
        "30 subselects",
        "30 nested IN",
        "1500 conditions",
        "5000 constants",
        "3000 rows",
        "60 calls",
        "60 cases",
    ],
)
def test_a_long_honest_statement_passes(sql: str):
    assert judge(sql, VIEW).kind == "select"


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("select '" + "x" * 100_001 + "'", "size"),
        ("select a" + " isnull" * 20_000, "size"),
        ("select 1" + "||1" * 30_000, "size"),
        ("select 1" + " union select 1" * 6_000, "size"),
        ("select a.and" + "||a.and" * 12_000, "size"),
        ("select * from orders" + " natural join orders" * 4_000, "size"),
        ("select " + "(" * 20_000 + "1", "size"),
        ("select " + "not " * 20_000 + "true", "size"),
        ("select " + "case when true then " * 4_000 + "1" + " end" * 4_000, "size"),
        ("select " + " and ".join(["1 = 1"] * 12_000), "size"),
        ("select " + "(select " * 300 + "1" + ")" * 300, "size"),
        ("select 1\0", "syntax"),
        ("select '\ud800'", "syntax"),
    ],
)
def test_what_would_exhaust_the_process_is_refused(sql: str, rule: str):
    assert refusal(sql)[0] == rule


@pytest.mark.parametrize(
    "sql",
    [
        "select a" + " isnull" * 1490,
        "select 1" + " union select 1" * 745,
        "select a" + " at local" * 745,
        "select 1" + " || 1" * 240,
        "select 1" + " union all select 1" * 240,
        "select " + "upper(" * 120 + "'a'" + ")" * 120,
        "select id from orders where " + "id in (select id from orders where " * 60 + "true" + ")" * 60,
    ],
    ids=["isnull", "union", "at local", "240 operators", "240 arms", "120 calls", "60 subselects"],
)
def test_the_deepest_tree_let_in_fits_the_small_stack_of_a_worker_thread(sql: str):
    ended: list[bool] = []

    def work() -> None:
        with suppress(Refused):
            judge(sql, VIEW)
        ended.append(True)

    before = threading.stack_size(512 * 1024)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    threading.stack_size(before)
    thread.join(60)
    assert ended == [True]


def test_a_plan_behind_a_view_is_told_only_to_those_who_may_read_everything():
    snapshot = shop_snapshot()
    everything = sees_everything(snapshot)
    salary = next(c for c in snapshot.relations["public", "employees"].columns if c.name == "salary")
    unread = snapshot.relations["public", "employees"].column_resource("shop", salary)
    limited = SchemaView(snapshot, everything.visible, everything.readable - {unread})
    judge("explain select * from order_totals", everything)
    judge("explain select * from orders", limited)
    with pytest.raises(Refused, match="behind a view"):
        judge("explain select * from order_totals", limited)
