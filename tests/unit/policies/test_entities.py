import pytest

from ostiary_policies.entities import entity, names_in, resource_id
from ostiary_policies.model import AuditLog, Column, Datasource, Function, Resource, Schema, Table, Tool


@pytest.mark.parametrize(
    ("resource", "written"),
    [
        (Tool("query"), "query"),
        (Datasource("shop"), "shop"),
        (Schema("shop", "public"), "shop.public"),
        (Table("shop", "public", "customers"), "shop.public.customers"),
        (Column("shop", "public", "customers", "email"), "shop.public.customers.email"),
        (Function("shop", "public", "f"), "shop.public.f"),
        (AuditLog(), "audit"),
        (Table("shop", "public", "With Space"), "shop.public.With Space"),
        (Table("shop", "a.b", "c"), 'shop."a.b".c'),
        (Table("shop", "a", "b.c"), 'shop.a."b.c"'),
        (Table("shop", "a", 'say "hi"'), 'shop.a."say ""hi"""'),
        (Table("shop", "a", ""), 'shop.a.""'),
    ],
)
def test_an_id_is_the_names_joined_by_dots_quoted_as_in_sql_where_needed(resource: Resource, written: str) -> None:
    assert resource_id(resource) == written
    assert len(names_in(type(resource).__name__, written)) == written.replace('"a.b"', "x").replace('"b.c"', "x").count(".") + 1


@pytest.mark.parametrize(
    ("kind", "written", "why"),
    [
        ("Table", "customers", "datasource.schema.table"),
        ("Table", "public.customers", "datasource.schema.table"),
        ("Column", "shop.public.customers", "datasource.schema.table.column"),
        ("Schema", "shop.public.customers", "datasource.schema"),
        ("Table", "shop.public.", "datasource.schema.table"),
        ("Table", "shop..customers", "datasource.schema.table"),
        ("Table", 'shop.public."customers', "datasource.schema.table"),
        ("Table", 'shop.public."customers"', "spelt `shop.public.customers`"),
        ("Tool", "", "its name"),
        ("AuditLog", "log", 'AuditLog::"audit"'),
    ],
)
def test_an_id_that_no_resource_has_is_refused_with_its_right_spelling(kind: str, written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace(".", r"\.")):
        names_in(kind, written)


def test_a_column_is_described_with_its_tags_below_its_table() -> None:
    column = Column("shop", "public", "customers", "email", frozenset({"pii:email", "pii"}), frozenset({"crm"}))
    assert entity(column) == {
        "uid": {"type": "Column", "id": "shop.public.customers.email"},
        "attrs": {
            "datasource": "shop",
            "schema": "public",
            "table": "customers",
            "name": "email",
            "tags": ["pii", "pii:email"],
            "table_tags": ["crm"],
        },
        "parents": [{"type": "Table", "id": "shop.public.customers"}],
    }
