"""Names that a caller may not know, found in what people wrote."""

import pytest
from fix_sql import shop_snapshot, view_of

from ostiary_tools.sql import judge
from ostiary_tools.sql.hidden_names import hidden_in_prose, hidden_in_sql

VIEW = view_of(shop_snapshot())
"""`secrets`, `employees.salary`, `customers.password_hash` and the function `steal` are hidden."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("How many orders does each employee handle?", ""),
        ("Salaries are elsewhere.", "salary"),
        ("see employees.salary", "salary"),
        ("see employees.SALARY", "salary"),
        ("the password hash of a customer", "password hash"),
        ("the passwordHash", "password hash"),
        ("the password_hashes", ""),
        ("PASSWORD-HASH", "password hash"),
        ("call steal()", "steal"),
        ("order_secret is a word of its own", "secret"),
        ("hashes of passwords", ""),
        ("the vault", "vault"),
    ],
)
def test_a_hidden_name_is_found_however_it_is_written(text: str, found: str) -> None:
    assert hidden_in_prose(VIEW, text, ["vault"]) == found


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("select id, count(*) from orders group by id order by id", ""),
        ("select id as salary from orders", "salary"),
        ("with salaries as (select id from orders) select id from salaries", "salary"),
        ("select id from orders where note = 'of secrets'", "secret"),
        ("select extract(year from placed_at) from orders /* salary */", ""),
    ],
)
def test_aliases_and_constants_of_sql_tell_nothing_hidden(sql: str, found: str) -> None:
    assert hidden_in_sql(VIEW, judge(sql, VIEW).statement.text) == found
