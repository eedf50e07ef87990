"""What a fence adds to a statement."""

from dataclasses import replace

import pytest
from fix_sql import sees_everything, shop_snapshot

from ostiary_policies.masks import Mask, MaskKind
from ostiary_tools.errors import Refused
from ostiary_tools.sql.judge import judge
from ostiary_tools.view import SchemaView


def masking() -> SchemaView:
    """E-mail addresses of customers masked."""
    snapshot = shop_snapshot()
    customers = snapshot.relations["public", "customers"]
    columns = tuple(replace(c, kind=("pg_catalog", "text"), deterministic=True) for c in customers.columns)
    customers = replace(customers, columns=columns)
    view = sees_everything(replace(snapshot, relations={**snapshot.relations, ("public", "customers"): customers}))
    email = next(customers.column_resource(view.datasource, column) for column in columns if column.name == "email")
    return replace(view, readable=view.readable - {email}, masked={email: Mask(MaskKind.EMAIL)}, kept={})


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT coalesce({', '.join(['a'] * 480)}) FROM (SELECT coalesce({', '.join(['email'] * 400)}) AS a FROM customers) AS s",
        f"SELECT {', '.join(['email'] * 9_000)} FROM customers",
    ],
)
def test_a_mask_weighs_as_often_as_the_server_writes_it_down(sql: str) -> None:
    assert judge(sql, sees_everything(shop_snapshot())).statement.fenced == ""
    with pytest.raises(Refused, match="grows too large"):
        judge(sql, masking())


def test_a_name_that_is_a_keyword_or_holds_quotes_is_fenced_as_it_is() -> None:
    view = masking()
    odd = view.snapshot.relations["public", "Weird Name"]
    columns = tuple(replace(c, kind=("pg_catalog", "text"), deterministic=True) for c in odd.columns)
    odd = replace(odd, columns=columns)
    view = replace(view, snapshot=replace(view.snapshot, relations={**view.snapshot.relations, ("public", "Weird Name"): odd}))
    masked = {odd.column_resource(view.datasource, column): Mask(MaskKind.REDACT) for column in columns}
    view = replace(view, readable=view.readable - frozenset(masked), masked=masked, kept={})
    text = judge('select "Select", "a""b" from "Weird Name"', view).statement.fenced
    assert text.count("'***'::pg_catalog.text") == len(columns)
    assert 'AS "a""b"' in text


def test_a_statement_without_a_fenced_table_runs_as_it_was_judged() -> None:
    assert judge("select id from products", masking()).statement.fenced == ""
