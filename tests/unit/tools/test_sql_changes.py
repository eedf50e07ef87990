"""What the judge states of a change: every access, those of foreign keys, triggers and defaults too, and its refusals."""

from dataclasses import replace

import pytest
from fix_sql import shop_snapshot, view_of

from ostiary_policies.actions import Action
from ostiary_policies.masks import Mask, MaskKind
from ostiary_policies.model import Access, Column, Function, Table
from ostiary_tools.details import Constraint, Details, RelationDetail
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import ForeignKey, FunctionInfo, Index, RelationKind, Snapshot, Trigger
from ostiary_tools.sql import bind, judge, judge_change
from ostiary_tools.view import RowTerms, SchemaView

SHOP = shop_snapshot()
VIEW = view_of(SHOP)


def stated(sql: str, view: SchemaView = VIEW) -> set[str]:
    """The accesses in words: `update orders.total`."""
    return {_words(access) for access in judge_change(sql, view).accesses}


def _words(access: Access) -> str:
    match access.resource:
        case Column(table=table, name=name):
            return f"{access.action} {table}.{name}"
        case Table(name=name) | Function(name=name):
            return f"{access.action} {name}"
    raise AssertionError(access)


def rule(sql: str, view: SchemaView = VIEW) -> str:
    """By which rule it is refused."""
    with pytest.raises(Refused) as refusal:
        judge_change(sql, view)
    return refusal.value.rule


def with_relation(name: str, snapshot: Snapshot = SHOP, **changes: object) -> Snapshot:
    """The shop where one table is otherwise."""
    relation = replace(snapshot.relations["public", name], **changes)  # type: ignore[arg-type]
    return replace(snapshot, relations={**snapshot.relations, ("public", name): relation})


@pytest.mark.parametrize(
    ("sql", "accesses"),
    [
        ("insert into orders (id, note) values (1, 'x')", {"insert orders", "insert orders.id", "insert orders.note"}),
        ("insert into products values (1, 'x')", {"insert products", "insert products.id", "insert products.name"}),
        ("insert into orders default values", {"insert orders"}),
        (
            "insert into orders (id) select id from customers",
            {"insert orders", "insert orders.id", "read customers", "read customers.id"},
        ),
        (
            "insert into orders (id) values (1) on conflict (id) do nothing",
            {"insert orders", "insert orders.id", "read orders.id"},
        ),
        (
            "insert into orders (id) values (1) on conflict (id) do update set note = excluded.status where orders.total > 1",
            {"insert orders", "insert orders.id", "read orders.id", "read orders.total", "update orders", "update orders.note"},
        ),
        (
            "update orders set total = total + 1 where id = 1",
            {"update orders", "update orders.total", "read orders.total", "read orders.id"},
        ),
        ("update orders set note = 'x'", {"update orders", "update orders.note"}),
        (
            "update orders o set note = c.name from customers c where c.id = o.customer_id",
            {
                "update orders", "update orders.note", "read customers", "read customers.name", "read customers.id",
                "read orders.customer_id",
            },
        ),
        ("delete from payments", {"delete payments"}),
        (
            "delete from payments using orders where orders.id = order_id",
            {"delete payments", "read orders", "read orders.id", "read payments.order_id"},
        ),
        (
            """merge into payments p using orders o on o.id = p.order_id when matched then update set amount = o.total
            when not matched then insert (id) values (o.id)""",
            {
                "insert payments", "insert payments.id", "update payments", "update payments.amount", "read orders",
                "read orders.id", "read orders.total", "read payments.order_id",
            },
        ),
    ],
)  # fmt: skip
def test_a_change_states_what_it_writes_and_what_it_reads(sql: str, accesses: set[str]):
    assert stated(sql) == accesses


@pytest.mark.parametrize(
    "sql",
    [
        "insert into orders (id) values ($1) on conflict (id) do update set note = $2 || orders.note",
        "update only orders as o set (note, status) = (select 'x', o.note), total = default from customers c where c.id = o.id",
        "with few as (select 1 as id) delete from orders using few where few.id = orders.id and (status = 'a' or note = 'b')",
        """merge into orders o using (select 1 as i) s on o.id = s.i when matched and o.total > 1 then delete
        when not matched then insert values (s.i) when not matched by source then do nothing""",
    ],
)
def test_what_is_printed_is_judged_the_same(sql: str):
    judged = judge_change(sql, VIEW)
    assert judge_change(judged.statement.text, VIEW) == judged


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select 1", "statement"),
        ("explain delete from orders", "statement"),
        ("truncate orders", "truncate"),
        ("copy orders from stdin", "copy"),
        ("delete from orders returning id", "returning"),
        ("delete from orders where current of c", "cursor"),
        ("with d as (delete from orders) delete from payments", "read_only"),
        ("delete from payments where id in (with d as (delete from orders) select 1)", "read_only"),
        ("update orders set note = 'x' where exists (select from customers for update)", "locking"),
        ("delete from order_totals", "target"),
        ("delete from secrets", "unknown_table"),
        ("update employees set salary = 1", "unknown_column"),
        ("insert into employees (salary) values (1)", "unknown_column"),
        ("update employees set name = salary", "unknown_column"),
        ("update employees set name = employees::text", "whole_row"),
        ("update employees set name = (select row_to_json(employees)::text)", "whole_row"),
        ("update customers set tags[1] = 'x'", "assignment"),
        ("insert into orders (id) values (1) on conflict on constraint orders_pkey do nothing", "conflict"),
        ("insert into products values (1, 2, 3, 4, 5, 6, 7)", "columns"),
        ("insert into orders (note) select relname from pg_class", "catalog"),
        ("update orders set note = (select note from payments as orders where total > 1)", "ambiguous"),
        ("update orders set note = xmin::text", "system_column"),
    ],
)
def test_what_is_no_plain_change_is_refused(sql: str, told: str):
    assert rule(sql) == told


@pytest.mark.parametrize(
    "sql",
    [
        "insert into orders (id) values (1)",
        "update orders set id = 1",
        "delete from orders",
        "merge into orders using customers on true when matched then delete",
    ],
)
def test_a_statement_that_is_read_still_changes_nothing(sql: str):
    for text in (sql, f"with x as ({sql}) select 1", f"explain {sql}"):
        with pytest.raises(Refused):
            judge(text, VIEW)


def _cascading(on_delete: str, on_update: str = "a") -> SchemaView:
    keys = (ForeignKey("of", ("order_id",), "public", "orders", ("id",), on_delete=on_delete, on_update=on_update),)
    return view_of(with_relation("payments", foreign_keys=keys))


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("a", set[str]()),
        ("r", set[str]()),
        ("c", {"delete payments"}),
        ("n", {"update payments", "update payments.order_id"}),
        ("d", {"update payments", "update payments.order_id"}),
    ],
)
def test_a_foreign_key_that_acts_is_stated(action: str, more: set[str]):
    assert stated("delete from orders", _cascading(action)) == {"delete orders", *more}
    updated = {word.replace("delete payments", "update payments") for word in more} | (
        {"update payments.order_id"} if more else set()
    )
    assert stated("update orders set id = 1", _cascading("a", action)) == {"update orders", "update orders.id", *updated}
    assert stated("update orders set note = 'x'", _cascading("a", action)) == {"update orders", "update orders.note"}


def test_a_foreign_key_that_reaches_what_is_hidden_is_refused_without_its_name():
    hidden = with_relation("secrets", foreign_keys=(ForeignKey("of", ("id",), "public", "orders", ("id",), on_delete="c"),))
    assert rule("delete from orders", view_of(hidden)) == "reach"
    assert stated("update orders set note = 'x'", view_of(hidden)) == {"update orders", "update orders.note"}


def test_foreign_keys_in_a_circle_are_followed_once():
    keys = (ForeignKey("up", ("manager_id",), "public", "employees", ("id",), on_delete="c"),)
    assert stated("delete from employees", view_of(with_relation("employees", foreign_keys=keys))) == {"delete employees"}


def test_a_trigger_of_what_is_changed_is_executed():
    made = FunctionInfo("public", "noted", "", "trigger", "function", "volatile", "plpgsql")
    snapshot = replace(SHOP, functions={**SHOP.functions, ("public", "noted"): (made,)})
    triggers = (Trigger("noted", ("public", "noted"), frozenset({"update"})),)
    view = view_of(with_relation("orders", snapshot, triggers=triggers))
    assert stated("delete from orders", view) == {"delete orders"}
    assert stated("update orders set note = 'x'", view) == {"update orders", "update orders.note", "execute noted"}
    [function] = (
        access.resource for access in judge_change("update orders set note = 'x'", view).accesses if access.action is Action.EXECUTE
    )
    assert isinstance(function, Function)
    assert function.trigger
    assert not snapshot.function_resource("public", "discount").trigger


def test_what_checks_and_defaults_run_is_executed():
    columns = tuple(
        replace(column, fills=(("public", "discount"), ("pg_catalog", "nextval"))) if column.name == "total" else column
        for column in SHOP.relations["public", "orders"].columns
    )
    view = view_of(with_relation("orders", columns=columns, writes=(("public", "series"),)))
    assert stated("insert into orders (total) values (1)", view) == {"insert orders", "insert orders.total", "execute series"}
    assert "execute discount" in stated("insert into orders (id) values (1)", view)
    assert "execute discount" in stated("insert into orders (total) values (default)", view)
    assert "execute discount" in stated("update orders set total = default", view)
    assert "execute discount" not in stated("update orders set total = 1", view)
    assert stated("delete from orders", view) == {"delete orders"}


def test_what_a_definition_does_besides_changing_rows_is_refused():
    view = view_of(with_relation("orders", writes=(("pg_catalog", "pg_read_file"),)))
    assert rule("insert into orders (id) values (1)", view) == "definition"


def test_a_table_that_rules_rewrite_or_that_is_a_part_is_no_target():
    assert rule("delete from orders", view_of(with_relation("orders", rewritten=True))) == "target"
    part = replace(
        SHOP, details=replace(SHOP.details, relations={("public", "payments"): RelationDetail(parents=(("public", "orders"),))})
    )
    assert rule("delete from payments", view_of(part)) == "target"
    assert stated("delete from orders", view_of(part)) == {"delete orders"}
    foreign = with_relation("payments", part, kind=RelationKind.FOREIGN_TABLE)
    assert rule("delete from orders", view_of(foreign)) == "target"


def _masking(name: str) -> SchemaView:
    unique = (Index("customers_email", "btree (email)", ("email",), unique=True),)
    checked = (Constraint("c", "c", "CHECK (name <> email)", ("name", "email")),)
    columns = tuple(replace(one, kind=("pg_catalog", "text")) for one in SHOP.relations["public", "customers"].columns)
    snapshot = with_relation("customers", indexes=unique, columns=columns)
    details = Details(catalogs=SHOP.details.catalogs, constraints={("public", "customers"): checked})
    view = view_of(replace(snapshot, details=details))
    column = next(r for r in view.visible if isinstance(r, Column) and (r.table, r.name) == ("customers", name))
    return replace(view, masked={column: Mask(MaskKind.NULL)}, readable=view.readable - {column}, kept={})


def test_what_a_key_or_a_check_would_tell_of_a_masked_value_is_not_written():
    view = _masking("email")
    assert rule("insert into customers (email) values ('x')", view) == "key"
    assert rule("update customers set email = 'x'", view) == "key"
    assert rule("update customers set name = 'x'", view) == "check"
    assert "insert customers.name" in stated("insert into customers (name) values ('x')", view)
    assert "update customers.city" in stated("update customers set city = 'x'", view)
    assert "update customers.name" in stated("update customers set name = 'x'", _masking("city"))


def test_a_key_of_a_table_with_row_rules_is_left_to_its_default():
    indexed = with_relation("orders", indexes=(Index("orders_pkey", "btree (id)", ("id",), unique=True),))
    view = replace(view_of(indexed), rows={("public", "orders"): RowTerms("status = 'eu'", ("eu",))}, kept={})
    assert rule("insert into orders (id) values (1)", view) == "key"
    assert rule("insert into orders values (1, 2)", view) == "key"
    assert stated("insert into orders (note) values ('x')", view) == {"insert orders", "insert orders.note"}


def test_a_table_whose_rows_are_not_certain_is_not_changed():
    view = replace(VIEW, rows={("public", "orders"): RowTerms("FALSE", (), "nobody knows")}, kept={})
    assert rule("delete from orders", view) == "row_rule"
    assert rule("insert into orders (id) values (1)", view) == "row_rule"


def test_the_fence_of_what_is_changed_has_names_that_the_statement_has_not():
    view = replace(VIEW, rows={("public", "orders"): RowTerms("status = 'eu'", ("eu",))}, kept={})
    fenced = judge_change("update orders set note = 'own0 row1' where id = 2", view).statement.fenced
    assert fenced.startswith("UPDATE public.orders AS own2 SET note = 'own0 row1' FROM (SELECT ")
    assert 'ctid AS "row2", tableoid AS "part2" FROM public.orders WHERE (status = \'eu\') OFFSET 0) AS "orders"' in fenced
    assert fenced.endswith("WHERE own2.ctid = orders.row2 AND own2.tableoid = orders.part2 AND orders.id = 2")


def test_a_scan_before_the_table_in_the_text_keeps_its_own_fence():
    view = replace(VIEW, rows={("public", "orders"): RowTerms("status = 'eu'", ("eu",))}, kept={})
    fenced = judge_change("update orders set note = (select max(note) from orders o)", view).statement.fenced
    assert fenced.count("ctid AS") == 1
    assert fenced.index(" AS o)") < fenced.index("ctid AS")


def test_a_change_is_bound_like_a_statement_that_is_read():
    judged = judge_change("update orders set note = $1 where id = $2", VIEW)
    assert bind(judged, ["x", 2]).values == ("x", "2")
    with pytest.raises(Refused):
        bind(judged, ["x"])
