"""How rows behind a collection are looked up for one caller: what it is given, and what it is refused."""

from dataclasses import replace

import pytest
from fix_sql import sees_everything, shop_snapshot

from ostiary_policies.masks import Mask, MaskKind
from ostiary_policies.model import Column
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Name
from ostiary_tools.sql.judge import judge
from ostiary_tools.vectors.collection import Source
from ostiary_tools.vectors.sources import Lookup, lookup_of
from ostiary_tools.view import RowTerms, SchemaView

REFUSED = "the texts of this collection are made of what you may not read as it is"


def _typed() -> SchemaView:
    snapshot = shop_snapshot()
    made = {
        name: replace(one, columns=tuple(replace(c, kind=("pg_catalog", "text"), deterministic=True) for c in one.columns))
        for name, one in snapshot.relations.items()
    }
    return sees_everything(replace(snapshot, relations=made))


EVERYTHING = _typed()


def view(masked: str = "", hidden: str = "", ruled: tuple[Name, ...] = ()) -> SchemaView:
    """All of the shop but these columns, and of these tables the rows that a rule leaves."""
    columns = [one for one in EVERYTHING.visible if isinstance(one, Column)]
    mask, gone = ({one for one in columns if _path(one) in words.split()} for words in (masked, hidden))
    return replace(
        EVERYTHING,
        visible=EVERYTHING.visible - gone,
        readable=EVERYTHING.readable - gone - mask,
        masked=dict.fromkeys(mask, Mask(MaskKind.REDACT)),
        rows=dict.fromkeys(ruled, RowTerms("TRUE", ("rule",))),
        kept={},
    )


def _path(column: Column) -> str:
    return f"{column.table}.{column.name}"


def looked_up(sql: str, template: str, metadata: str = "", *, key: str = "id", by: SchemaView = EVERYTHING) -> Lookup:
    """The source as its creator, who sees everything, has made it; looked up by somebody."""
    made = judge(sql, EVERYTHING).statement.text
    return lookup_of(Source(EVERYTHING.datasource, made, key, template, tuple(metadata.split())), by)


CUSTOMERS = "select id, name, email, city, lower(email) as mail from customers where city <> 'x' order by name"


def test_rows_are_looked_up_by_their_key_in_the_select_itself() -> None:
    found = looked_up(CUSTOMERS, "{name} of {city}", "email")
    assert found.statement.text == "SELECT id, name, city, email FROM public.customers WHERE city <> 'x' AND id = ANY($1)"
    assert (found.columns, found.masked, found.hidden) == (("id", "name", "city", "email"), frozenset(), frozenset())


@pytest.mark.parametrize(
    "sql",
    [
        "select id, max(name) as name from customers group by id",
        "select distinct id, name from customers",
        "select id, name from customers order by id limit 10",
        "select id, name from customers union all select id, name from products",
        "select id, name, row_number() over (order by id) as n from customers",
        "select abs(id) as id, name from customers",
        "select 1 as id, name from customers",
    ],
)
def test_where_a_row_is_no_row_of_a_table_the_lookup_stands_around_it(sql: str) -> None:
    assert ") AS s WHERE s.id = ANY($1)" in looked_up(sql, "{name}").statement.text


@pytest.mark.parametrize(
    ("title", "sql", "template"),
    [
        ("shown", CUSTOMERS, "{name} {email}"),
        ("renamed", "select id, email as name from customers", "{name}"),
        ("computed", CUSTOMERS, "{mail}"),
        ("in WHERE", "select id, name from customers where email like '%vip%'", "{name}"),
        ("in a join", "select a.id, a.name from customers a join customers b on a.email = b.name", "{name}"),
        ("in a CTE", "with c as (select id, email as e from customers) select id, e as name from c", "{name}"),
        ("of a star", "select * from customers", "{email}"),
        ("gathered", "select city as id, string_agg(email, ' ') as name from customers group by city", "{name}"),
        ("a sublink", "select id, (select email from customers c where c.id = o.id) as name from orders o", "{name}"),
        ("behind a subselect", "select s.id, s.e as name from (select id, email as e from customers) s", "{name}"),
        ("a union", "select id, name from products union all select id, email from customers", "{name}"),
        ("a whole row", "select id, customers::text as name from customers", "{name}"),
    ],
)
@pytest.mark.parametrize("kind", ["masked", "hidden"])
def test_what_the_texts_are_made_of_must_be_readable_as_it_is(title: str, sql: str, template: str, kind: str) -> None:
    by = view(masked="customers.email") if kind == "masked" else view(hidden="customers.email")
    with pytest.raises(Refused, match=REFUSED) as caught:
        looked_up(sql, template, by=by)
    assert (caught.value.__cause__ is None) is (kind == "masked")


def test_a_key_that_is_masked_finds_no_row() -> None:
    with pytest.raises(Refused, match=REFUSED):
        looked_up(CUSTOMERS, "{name}", key="email", by=view(masked="customers.email"))


def test_metadata_that_is_masked_is_shown_so_and_what_is_hidden_drops_out() -> None:
    sql, by = "select id, name, email, lower(email) as mail, mood, city from customers", view("customers.email", "customers.mood")
    found = looked_up(sql, "{name}", "email mail mood city", by=by)
    assert found.columns == ("id", "name", "email", "mail", "city")
    assert (set(found.masked), set(found.hidden)) == ({"email", "mail"}, {"mood"})
    assert "CAST('***'::pg_catalog.text AS text) AS \"email\"" in found.statement.fenced
    assert "mood" not in found.statement.fenced


def test_a_table_that_does_not_exist_for_the_caller_is_not_named() -> None:
    orders = {one for one in EVERYTHING.visible if "orders" in (getattr(one, "table", ""), getattr(one, "name", ""))}
    with pytest.raises(Refused) as caught:
        looked_up("select id, note from orders", "{note}", by=replace(view(), visible=EVERYTHING.visible - orders, kept={}))
    assert "orders" not in caught.value.message + caught.value.hint


ORDERS, CUSTOMER = ("public", "orders"), ("public", "customers")


@pytest.mark.parametrize(
    "sql",
    [
        "select c.id, string_agg(o.note, ' ') as text from customers c join orders o on o.customer_id = c.id group by c.id",
        "select c.id, (select string_agg(o.note, ' ') from orders o where o.customer_id = c.id) as text from customers c",
        "select c.id, o.note as text from customers c left join orders o on o.customer_id = c.id",
        "select c.id, c.name as text from customers c where not exists (select from orders o where o.customer_id = c.id)",
        "select a.id, a.note as text from orders a where not exists (select from orders b where b.id > a.id)",
        "select id, note as text from orders order by id limit 3",
        "select s.id, s.note as text from (select id, note from orders) s",
        "select 'all' as id, string_agg(note, ' ') as text from orders",
        "select max(id) as id, string_agg(note, ' ') as text from orders",
        "select max(id) as id, (select min(name) from customers) || string_agg(note, ' ') as text from orders",
    ],
)
def test_texts_in_which_hidden_rows_may_have_a_part_are_refused(sql: str) -> None:
    assert looked_up(sql, "{text}").columns == ("id", "text")
    with pytest.raises(Refused, match=REFUSED):
        looked_up(sql, "{text}", by=view(ruled=(ORDERS,)))


def test_rows_of_which_each_is_needed_for_its_text_may_be_ruled() -> None:
    joined = "orders o join customers c on c.id = o.customer_id left join products p on p.id = o.id"
    found = looked_up(f"select o.id, o.note as text, c.name from {joined}", "{text} {name}", by=view(ruled=(ORDERS, CUSTOMER)))
    assert found.columns == ("id", "text", "name")


def test_metadata_from_rows_that_may_be_missing_is_shown_and_not_asked_for() -> None:
    sql = "select id, name, (select max(o.status) from orders o where o.customer_id = c.id) as status from customers c"
    found = looked_up(sql, "{name}", "status", by=view(ruled=(ORDERS,)))
    assert found.columns == ("id", "name", "status")
    assert found.masked == {"status"}


def test_a_source_with_values_of_its_own_is_refused() -> None:
    with pytest.raises(Refused, match="cannot be looked up"):
        looked_up("select id, name from customers where city = $1", "{name}")
