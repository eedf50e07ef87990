"""A denial in words: what was refused, under which rule, and what is allowed instead."""

from dataclasses import replace
from datetime import UTC, datetime

from ostiary.refusal import refusal
from ostiary_policies.actions import Action
from ostiary_policies.masks import Mask, MaskKind
from ostiary_policies.model import Access, AuditLog, Column, Denial, Function, Intent, Principal, Reason, Resource, Table
from ostiary_tools.snapshot import ColumnInfo, ForeignKey, Relation, RelationKind, Snapshot
from ostiary_tools.view import SchemaView, World

WHO = Principal("a", ("analyst",))
COLUMNS = ("id", "email", "phone", "salary")
CUSTOMERS = Relation("public", "customers", RelationKind.TABLE, tuple(ColumnInfo(name, "text", not_null=False) for name in COLUMNS))
ORDERS = Relation(
    "public",
    "orders",
    RelationKind.TABLE,
    tuple(ColumnInfo(name, "text", not_null=False) for name in ("id", "customer_id", "paid_from")),
    foreign_keys=(ForeignKey("of", ("customer_id",), "public", "customers", ("id",)),),
)
ARCHIVE = Relation("public", "archive", RelationKind.TABLE, (ColumnInfo("id", "text", not_null=False),))
SECRETS = Relation("public", "secrets", RelationKind.TABLE, ())
SNAPSHOT = Snapshot(
    "shop",
    datetime(2026, 1, 1, tzinfo=UTC),
    180000,
    ("public",),
    {"public": ""},
    {("public", "customers"): CUSTOMERS, ("public", "secrets"): SECRETS},
    {},
)


PAID_FROM = Column("shop", "public", "orders", "paid_from")
LAST = Mask(MaskKind.LAST, "4")


def column(name: str) -> Column:
    return Column("shop", "public", "customers", name)


TABLE = Table("shop", "public", "customers")
WORLD = World(WHO, {"shop": SchemaView(SNAPSHOT, frozenset({TABLE, *map(column, COLUMNS[:3])}), frozenset({TABLE, column("id")}))})


def told(
    *refused: tuple[Action, Resource],
    rules: tuple[str, ...] = ("no-pii",),
    errors: tuple[str, ...] = (),
    world: World | None = None,
) -> tuple[str, str, tuple[str, ...]]:
    reasons = tuple(Reason(Access(action, resource), rules, errors) for action, resource in refused)
    error = refusal(Denial(WHO, Intent("query"), reasons, "sha256:0"), world or WORLD)
    return error.message, error.hint, error.rules


def test_columns_of_one_table_are_named_together_with_those_that_may_be_read():
    assert told((Action.READ, column("email")), (Action.READ, column("phone"))) == (
        "you may not read columns `email`, `phone` of `public.customers`",
        "columns of `public.customers` you may read: `id`",
        ("no-pii",),
    )


def test_a_refusal_without_a_forbidding_rule_names_the_default():
    message, hint, rules = told((Action.READ, TABLE), rules=())

    assert message == "you may not read table `public.customers`"
    assert hint == "tables you may read: `public.customers`"
    assert rules == ("default-deny",)


def test_a_closed_table_is_told_without_its_columns_and_with_those_joined_to_it_first():
    every: list[Resource] = [Table("shop", "public", one.name) for one in (CUSTOMERS, ORDERS, ARCHIVE)]
    columns: list[Resource] = [
        one.column_resource("shop", column) for one in (CUSTOMERS, ORDERS, ARCHIVE) for column in one.columns
    ]
    relations = {("public", one.name): one for one in (CUSTOMERS, ORDERS, ARCHIVE)}
    readable = frozenset({*every[1:], *columns[len(COLUMNS) :]} - {PAID_FROM})
    view = SchemaView(replace(SNAPSHOT, relations=relations), frozenset({*every, *columns}), readable, masked={PAID_FROM: LAST})
    world = World(WHO, {"shop": view})

    refused = told((Action.READ, column("email")), (Action.READ_MASKED, column("phone")), (Action.READ, TABLE), world=world)
    assert refused[:2] == (
        "you may not read table `public.customers`",
        "tables you may read: `public.orders`, which foreign keys join to it; `public.archive`",
    )
    assert told((Action.READ, columns[-3]), world=world)[1] == (
        "columns of `public.orders` you may read: `id`, `customer_id`; through a mask: `paid_from`"
    )


def test_of_a_closed_table_one_that_has_the_columns_asked_for_is_named_first_and_nothing_hidden_counts():
    by_city = Relation(
        "public",
        "by_city",
        RelationKind.VIEW,
        tuple(ColumnInfo(name, "text", not_null=False) for name in ("email", "phone", "salary", "city")),
    )
    every = (CUSTOMERS, ORDERS, ARCHIVE, by_city)
    tables: list[Resource] = [Table("shop", "public", one.name) for one in every]
    columns: list[Resource] = [one.column_resource("shop", each) for one in every for each in one.columns]
    relations = {("public", one.name): one for one in every}
    unseen = by_city.column_resource("shop", by_city.columns[2])
    readable = frozenset({*tables[1:], *columns[len(COLUMNS) :]} - {unseen})

    def hint(*names: str) -> str:
        visible = frozenset({*tables, *columns} - {column("salary"), unseen})
        world = World(WHO, {"shop": SchemaView(replace(SNAPSHOT, relations=relations), visible, readable)})
        accesses = (Access(Action.READ, TABLE), *(Access(Action.READ, column(name)) for name in names))
        reasons = (Reason(Access(Action.READ, TABLE), ("closed",)),)
        return refusal(Denial(WHO, Intent("query", accesses=accesses), reasons, "sha256:0"), world).hint

    rest = "tables you may read: `public.orders`, which foreign keys join to it; `public.archive`, `public.by_city`"
    assert hint("id", "email", "phone") == f"`public.by_city` has `email`, `phone`; {rest}"
    assert hint("email", "salary") == hint("id", "email") == hint() == rest


def test_what_is_hidden_is_unknown():
    message, hint, _ = told((Action.READ, column("salary")), (Action.READ, Table("shop", "public", "secrets")))

    assert message == "unknown column `public.customers.salary`; unknown table `public.secrets`"
    assert "secrets" not in hint


def test_a_hidden_function_is_unknown():
    assert told((Action.EXECUTE, Function("shop", "public", "steal")))[0] == "unknown function `public.steal`"


def test_the_audit_log_has_no_name_to_hide():
    assert told((Action.READ_AUDIT, AuditLog()))[0] == "you may not read the audit log"


def test_a_policy_that_cannot_be_decided_refuses_without_its_error():
    message, _, _ = told((Action.READ, column("email")), errors=("type error in canary",))

    assert message == "a policy could not be decided, which refuses the call"
