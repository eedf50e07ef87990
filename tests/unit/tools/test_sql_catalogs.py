"""A scan of a catalog in a judgement: its text, its parameters, its accesses, and what becomes of a hostile spelling."""

import json
from dataclasses import replace
from typing import Any

import pytest
from fix_sql import HIDDEN_TABLES, shop_snapshot, view_of

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Datasource
from ostiary_tools.catalogs import OFFERED
from ostiary_tools.errors import Refused
from ostiary_tools.sql import bind, judge, own

VIEW = view_of(shop_snapshot())
SCAN = "SELECT * FROM pg_catalog.jsonb_populate_recordset(CAST(NULL AS pg_catalog.pg_namespace), ${}) AS pg_namespace"
SEEN = Access(Action.SEE, Datasource("shop"))


def rows(value: str | None) -> list[dict[str, Any]]:
    assert value is not None
    found: list[dict[str, Any]] = json.loads(value)
    return found


def test_a_catalog_is_read_from_a_value_that_follows_the_callers_own():
    judged = judge("select n.nspname from pg_namespace n where n.nspname like $1 or n.oid = $2", VIEW)
    assert judged.statement.text == (f"SELECT n.nspname FROM ({SCAN.format(3)}) AS n WHERE n.nspname LIKE $1 OR n.oid = $2")
    assert judged.parameter_count == 2
    bound = bind(judged, ("x", 7))
    assert bound.parameters[:2] == ("x", "7")
    assert [row["nspname"] for row in rows(bound.parameters[2])] == ["pg_catalog", "information_schema", "public"]
    assert own(bound, VIEW).parameters == ("x", "7")


def test_one_value_is_supplied_for_each_catalog_however_often_it_is_read():
    judged = judge("select 1 from pg_class a, information_schema.tables, pg_class b", VIEW)
    assert judged.catalogs == (("information_schema", "tables"), ("pg_catalog", "pg_class"))
    assert judged.statement.text.count("$2") == 2
    assert len(bind(judged, ()).parameters) == 2


def test_a_caller_gives_values_for_his_own_parameters_only():
    judged = judge("select 1 from pg_class where relname = $1", VIEW)
    for values in ((), ("x", "[]"), ("x", "[]", "y")):
        with pytest.raises(Refused, match="has 1 parameters"):
            bind(judged, values)


@pytest.mark.parametrize("number", [1, 2, 7, 65_535])
def test_who_writes_a_scan_as_the_judge_does_means_the_catalog_and_supplies_nothing(number: int):
    written = f"select x.nspname, $1::text from ({SCAN.format(number)}) as x"
    judged = judge(written, VIEW)
    assert judged.statement.text == f"SELECT x.nspname, CAST($1 AS text) AS text FROM ({SCAN.format(2)}) AS x"
    assert judged.parameter_count == 1
    assert bind(judged, ("[]",)).parameters == ("[]", *bind(judge("select 1 from pg_namespace", VIEW), ()).parameters)


def test_who_names_what_stands_behind_a_function_reads_what_he_may_see():
    judged = judge("select 'orders'::regclass::text", VIEW)
    scan = judged.statement.text.partition("(SELECT * FROM pg_catalog.jsonb_to_recordset(")[2]
    written = f"select x.name from (SELECT * FROM pg_catalog.jsonb_to_recordset({scan.partition(') AS l')[0]}) as x"
    found = bind(judge(written, VIEW), ()).parameters[0]
    assert "orders" in str(found)
    assert not any(name in str(found) for name in HIDDEN_TABLES)


@pytest.mark.parametrize(
    "near_miss",
    [
        "select * from (select * from jsonb_populate_recordset(null::pg_catalog.pg_namespace, '[]') as pg_namespace) as x",
        "select * from (select * from pg_catalog.jsonb_populate_recordset(null::pg_namespace, $1) as pg_namespace) as x",
        f"select * from ({SCAN.format(1)} where true) as x",
        f"select * from ({SCAN.format(1)}, pg_authid) as x",
        f"select * from ({SCAN.format(1)} union all select * from pg_authid) as x",
        f"select * from ({SCAN.format(1)} limit 1) as x",
        f"with x as ({SCAN.format(1)}) select * from x",
        SCAN.format(1),
        f"select * from (with x as (select * from pg_authid) {SCAN.format(1)}) as x",
    ],
)
def test_what_is_not_a_scan_to_the_letter_is_judged_by_its_parts(near_miss: str):
    with pytest.raises(Refused) as refused:
        judge(near_miss, VIEW)
    assert refused.value.rule in ("type", "catalog")


def test_reading_a_catalog_is_seeing_the_datasource_and_no_more():
    assert judge("select relname from pg_class", VIEW).accesses == (SEEN,)
    assert judge("select 1 where 'orders'::regclass::text = 'x'", VIEW).accesses == (SEEN,)
    assert SEEN not in judge("select id from orders", VIEW).accesses


def test_the_memory_of_a_judgement_holds_no_rows_of_another_view():
    snapshot = replace(shop_snapshot(), version="one")
    whole, less = view_of(snapshot), view_of(snapshot)
    orders = snapshot.relations["public", "orders"]
    less = replace(less, visible=less.visible - {orders.resource("shop")}, kept={})
    query = "select relname from pg_class"
    told = [str(bind(judge(query, view), ()).parameters) for view in (whole, less, whole, less)]
    assert ["orders" in each for each in told] == [True, False, True, False]


def test_a_name_in_reach_hides_the_catalog_of_that_name():
    assert judge("with pg_class as (select 1 as relname) select relname from pg_class", VIEW).catalogs == ()
    assert judge("with pg_class as (select 1 as relname) select relname from pg_catalog.pg_class", VIEW).catalogs != ()


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("select 'secrets'::regclass", "unknown_table"),
        ("select relname from pg_class where oid = 'secrets'::regclass", "unknown_table"),
        ("select 'nothing'::regtype", "type"),
        ("select 'nothing'::regnamespace", "type"),
        ("select 'postgres'::regrole", "type"),
        ("select '{orders}'::regclass[]", "type"),
        ("explain verbose select relname from pg_class", "explain"),
    ],
)
def test_names_are_resolved_among_what_the_caller_sees(sql: str, rule: str):
    with pytest.raises(Refused) as refused:
        judge(sql, VIEW)
    assert refused.value.rule == rule


def test_a_hidden_name_has_no_number():
    assert judge("select to_regclass('secrets')", VIEW).statement.text == judge(
        "select to_regclass('no_such')", VIEW
    ).statement.text.replace("no_such", "secrets")


def test_the_closed_are_not_among_the_offered():
    closed = "authid shadow user roles auth_members stats statistic settings file_settings hba_file_rules largeobject locks cursors"
    closed += " prepared_statements stat_activity subscription foreign_server user_mapping trigger rewrite depend policy rules"
    assert not {f"pg_{word}" for word in closed.split()} & {name for _, name in OFFERED}
