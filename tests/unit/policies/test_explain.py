import pytest

from ostiary_policies.actions import Action
from ostiary_policies.explain import because, explain
from ostiary_policies.model import (
    Access,
    AuditLog,
    Column,
    Datasource,
    Denial,
    Function,
    Intent,
    Obligations,
    Permit,
    Principal,
    Reason,
    Resource,
    Table,
    Tool,
)

ANALYST = Principal("a", ("analyst",))
EMAIL = Column("shop", "public", "customers", "email")


def test_a_permit_is_told_with_its_rules_and_terms() -> None:
    terms = Obligations(limit_rows=1000, limit_bytes=16_000, timeout_s=2.5, max_cost=1e6, max_rows_scanned=5_000_000)
    assert explain(Permit(ANALYST, Intent("query"), terms, ("analyst-queries", "analyst-reads"), "sha256:")) == [
        "`analyst` may call `query` like this: permitted by `analyst-queries`, `analyst-reads`",
        "at most 1,000 rows",
        "at most 16,000 bytes of text",
        "at most 2.5 seconds in the database",
        "at most a cost of 1,000,000 as the planner estimates it",
        "at most 5,000,000 rows scanned as the planner estimates them",
    ]


def test_a_denial_is_told_with_every_reason() -> None:
    reasons = (
        Reason(Access(Action.READ, EMAIL), ("analyst-no-pii",)),
        Reason(Access(Action.EXECUTE, Function("shop", "public", "f")), ()),
        Reason(Access(Action.READ, Table("shop", "public", "a.b")), (), ("integer overflow",)),
    )
    assert explain(Denial(ANALYST, Intent("query"), reasons, "sha256:")) == [
        "`analyst` may not call `query` like this",
        "`analyst` may not read column `shop.public.customers.email`: forbidden by `analyst-no-pii`",
        "`analyst` may not execute function `shop.public.f()`: no policy permits it",
        '`analyst` may not read table `shop.public."a.b"`: it could not be decided (integer overflow)',
    ]


@pytest.mark.parametrize(
    ("roles", "action", "resource", "said"),
    [
        ((), Action.CALL, Tool("query"), "agent `a`, which has no role, may not call `query`: no policy permits it"),
        (("x", "y"), Action.SEE, Datasource("shop"), "`x` with `y` may not see datasource `shop`: no policy permits it"),
        (("x",), Action.READ_AUDIT, AuditLog(), "`x` may not read the audit log: no policy permits it"),
    ],
)
def test_who_and_what_are_named_in_words(roles: tuple[str, ...], action: Action, resource: Resource, said: str) -> None:
    assert because(Principal("a", roles), Reason(Access(action, resource), ())) == said
