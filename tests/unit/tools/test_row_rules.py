"""Row rules against snapshots: what they govern, and what is wrong with them, by the policy's place."""

from dataclasses import replace

import pytest
from fix_sql import shop_snapshot

from ostiary_policies.cedar import PolicySet
from ostiary_policies.errors import Problem
from ostiary_policies.model import Principal
from ostiary_policies.rows import RowRules
from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind, Snapshot
from ostiary_tools.sql.row_rules import Governed, findings, governing
from ostiary_tools.view import RowTerms

ANA = Principal("ana", ("analyst",))
COLUMNS = {"region": "text", "day": "date", "moment": "timestamptz", "amount": "int4"}


def snapshot(name: str = "orders", **kinds: str) -> Snapshot:
    columns = tuple(
        ColumnInfo(column, kind, not_null=True, kind=("pg_catalog", kind), deterministic=True)
        for column, kind in {**COLUMNS, **kinds}.items()
    )
    tables = {("public", table): Relation("public", table, RelationKind.TABLE, columns) for table in (name, "customers")}
    return replace(shop_snapshot(), datasource="shop", relations=tables)


def rules(*bodies: str) -> RowRules:
    head = 'principal in Role::"analyst", action == Action::"read_row", resource is shop::public::orders'
    text = "".join(f'@id("r{place}") permit({head}) when {{ {body} }};\n' for place, body in enumerate(bodies))
    return PolicySet.parse({"rows.cedar": text}).row_rules


def test_a_table_that_a_rule_names_is_governed_and_no_other():
    governed = governing(rules("resource.amount == 1", 'resource.region == "EU"'), snapshot())
    assert set(governed) == {("public", "orders")}
    orders = governed["public", "orders"]
    assert (orders.problems, orders.closed) == ((), "")
    terms = orders.terms(ANA)
    assert (terms.rules, terms.refusal) == (("r0", "r1"), "")
    assert terms.predicate == (
        "amount OPERATOR(pg_catalog.=) CAST('1' AS bigint) OR region OPERATOR(pg_catalog.=) CAST('EU' AS pg_catalog.text)"
    )


def test_who_has_no_permit_has_no_rows():
    terms = governing(rules("true"), snapshot())["public", "orders"].terms(Principal("eve", ("guest",)))
    assert terms == RowTerms("FALSE", ())


@pytest.mark.parametrize(
    ("body", "kinds", "message"),
    [
        ('resource.regin == "EU"', {}, "`regin`"),
        ('resource.region == "EU"', {"region": "int4"}, ""),
        ('resource.region == "EU"', {"region": "jsonb"}, "region"),
        ("resource.day < resource.moment", {}, "only one of them is a date"),
    ],
)
def test_rules_that_do_not_fit_close_the_table_and_say_where(body: str, kinds: dict[str, str], message: str):
    governed = governing(rules("true", body), snapshot(**kinds))["public", "orders"]
    assert {(p.file, p.line, p.policy) for p in governed.problems} == {("rows.cedar", 2, "r1")}
    assert all(message in str(problem) for problem in governed.problems)
    assert governed.terms(ANA) == RowTerms("FALSE", ("r0", "r1"), "the row rules of `orders` do not fit the table as it is now")


def test_what_another_server_holds_may_be_null_whatever_its_foreign_table_says():
    given = snapshot()
    foreign = replace(given.relations["public", "orders"], kind=RelationKind.FOREIGN_TABLE)
    governed = governing(rules('resource.region == "EU"'), replace(given, relations={("public", "orders"): foreign}))
    assert "optional attribute `region`" in governed["public", "orders"].problems[0].message


def test_what_was_held_against_a_table_is_held_again_only_where_rules_and_columns_are_the_same():
    name = ("public", "orders")
    given, first = rules("resource.amount == 1"), snapshot()
    before = governing(given, first)

    def again(rules: RowRules, snapshot: Snapshot) -> Governed:
        return governing(rules, snapshot, before)[name]

    assert again(given, replace(snapshot(), version="2")).held[0] is before[name].held[0]
    assert again(rules("resource.amount == 1"), first).held[0] is before[name].held[0]
    assert again(rules("resource.amount == 2"), first).terms(ANA).predicate.count("'2'") == 1
    assert again(given, snapshot(amount="jsonb")).problems
    view = replace(first.relations[name], kind=RelationKind.VIEW)
    assert again(given, replace(first, relations={name: view})).held[0] is not before[name].held[0]


def test_a_table_that_is_in_no_datasource_is_a_problem():
    hint = "the names are those of the datasource, the schema and the table, as the database spells them"
    expected = Problem("rows.cedar", 1, "r0", "there is no table `shop::public::orders`", hint)
    assert findings(rules("true"), [snapshot("order"), replace(snapshot(), datasource="stock")]).problems == (expected,)
    assert findings(rules("true"), [snapshot()]).problems == ()
    assert findings(rules("true"), [replace(snapshot(), datasource="stock")], unseen=["shop"]).problems == ()


def test_what_is_left_of_a_rule_is_refused_when_it_is_not_certain():
    governed = governing(rules("true"), snapshot())["public", "orders"]
    terms = governed.terms(Principal("line\nbreak", ("analyst",)))
    assert terms == RowTerms("FALSE", ("r0",), "which rows of `orders` you have is not certain")
