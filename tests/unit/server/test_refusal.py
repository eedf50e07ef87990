"""A denial in words: what was refused, under which rule, and what is allowed instead."""

from datetime import UTC, datetime

from ostiary.refusal import refusal
from ostiary_policies.actions import Action
from ostiary_policies.model import Access, AuditLog, Column, Denial, Function, Intent, Principal, Reason, Resource, Table
from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind, Snapshot
from ostiary_tools.view import SchemaView, World

WHO = Principal("a", ("analyst",))
COLUMNS = ("id", "email", "phone", "salary")
CUSTOMERS = Relation("public", "customers", RelationKind.TABLE, tuple(ColumnInfo(name, "text", not_null=False) for name in COLUMNS))
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


def column(name: str) -> Column:
    return Column("shop", "public", "customers", name)


TABLE = Table("shop", "public", "customers")
WORLD = World(WHO, {"shop": SchemaView(SNAPSHOT, frozenset({TABLE, *map(column, COLUMNS[:3])}), frozenset({TABLE, column("id")}))})


def told(
    *refused: tuple[Action, Resource], rules: tuple[str, ...] = ("no-pii",), errors: tuple[str, ...] = ()
) -> tuple[str, str, tuple[str, ...]]:
    reasons = tuple(Reason(Access(action, resource), rules, errors) for action, resource in refused)
    error = refusal(Denial(WHO, Intent("query"), reasons, "sha256:0"), WORLD)
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
