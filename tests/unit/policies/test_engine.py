from dataclasses import replace

import pytest

from ostiary_policies.actions import Action
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.model import (
    Access,
    Column,
    Datasource,
    Denial,
    Function,
    Intent,
    Obligations,
    Permit,
    Principal,
    Reason,
    Schema,
    Table,
    Tool,
)

WHO = Principal("a", ("r",))
SHOP = Datasource("shop")
PUBLIC = Schema("shop", "public")
ORDERS = Table("shop", "public", "orders")
TOTAL = Column("shop", "public", "orders", "total")
EMAIL = Column("shop", "public", "orders", "email", frozenset({"pii", "pii:email"}))
ROUND = Function("shop", "public", "round_up", "immutable")
ALL = '@id("all") permit (principal in Role::"r", action, resource);\n'


def engine(*texts: str, base: str = ALL) -> Engine:
    return Engine(PolicySet.parse({"f.cedar": base + "\n".join(texts)}))


def forbid(action: Action, resource: str, name: str = "no") -> str:
    return f'@id("{name}") forbid (principal, action == Action::"{action}", resource == {resource});'


READ_TOTAL = Access(Action.READ, TOTAL)
PRESUPPOSED = [
    (READ_TOTAL, Access(Action.SEE, SHOP), 'Datasource::"shop"'),
    (READ_TOTAL, Access(Action.SEE, PUBLIC), 'Schema::"shop.public"'),
    (READ_TOTAL, Access(Action.SEE, ORDERS), 'Table::"shop.public.orders"'),
    (READ_TOTAL, Access(Action.SEE, TOTAL), 'Column::"shop.public.orders.total"'),
    (READ_TOTAL, Access(Action.READ, ORDERS), 'Table::"shop.public.orders"'),
    (Access(Action.READ, ORDERS), Access(Action.SEE, ORDERS), 'Table::"shop.public.orders"'),
    (Access(Action.READ, ORDERS), Access(Action.SEE, SHOP), 'Datasource::"shop"'),
    (Access(Action.SEE, TOTAL), Access(Action.SEE, ORDERS), 'Table::"shop.public.orders"'),
    (Access(Action.SEE, ORDERS), Access(Action.SEE, PUBLIC), 'Schema::"shop.public"'),
    (Access(Action.SEE, PUBLIC), Access(Action.SEE, SHOP), 'Datasource::"shop"'),
    (Access(Action.EXECUTE, ROUND), Access(Action.SEE, ROUND), 'Function::"shop.public.round_up"'),
    (Access(Action.EXECUTE, ROUND), Access(Action.SEE, PUBLIC), 'Schema::"shop.public"'),
]


@pytest.mark.parametrize(("wanted", "presupposed", "written"), PRESUPPOSED)
def test_an_access_is_refused_with_anything_it_presupposes(wanted: Access, presupposed: Access, written: str) -> None:
    assert engine().allows(WHO, wanted).allowed
    verdict = engine(forbid(presupposed.action, written)).allows(WHO, wanted)
    assert not verdict.allowed
    assert verdict.rules == ("no",)
    assert Reason(presupposed, ("no",)) in verdict.reasons


def test_seeing_a_column_does_not_presuppose_reading_it() -> None:
    verdict = engine(forbid(Action.READ, 'Column::"shop.public.orders.total"')).allows(WHO, Access(Action.SEE, TOTAL))
    assert verdict.allowed
    assert verdict.rules == ("all",)


def test_a_forbid_on_a_schema_closes_everything_in_it_and_nothing_beside_it() -> None:
    judge = engine('@id("no") forbid (principal, action, resource in Schema::"shop.public");')
    for access in (READ_TOTAL, Access(Action.SEE, ORDERS), Access(Action.EXECUTE, ROUND), Access(Action.SEE, PUBLIC)):
        assert judge.allows(WHO, access).rules == ("no",)
    assert judge.allows(WHO, Access(Action.READ, Table("shop", "sales", "orders"))).allowed
    assert judge.allows(WHO, Access(Action.SEE, SHOP)).allowed


def test_an_id_is_matched_whole_and_no_name_can_pretend_to_be_another() -> None:
    judge = engine('@id("no") forbid (principal, action, resource in Table::"shop.public.orders");')
    pretenders = [Table("shop", "public.orders", "x"), Table("shop.public", "orders", "x"), Table("shop", "public", "Orders")]
    pretenders += [Table("shop", "public", '"orders"'), Table("shop", '"public".orders', "")]
    assert [judge.allows(WHO, Access(Action.SEE, table)).allowed for table in pretenders] == [True] * 5
    assert not judge.allows(WHO, Access(Action.SEE, ORDERS)).allowed


def test_a_quoted_id_in_a_policy_matches_the_odd_name() -> None:
    judge = engine('@id("no") forbid (principal, action, resource == Table::"shop.public.\\"a.\\"\\"b\\"");')
    assert not judge.allows(WHO, Access(Action.SEE, Table("shop", "public", 'a."b'))).allowed


def test_what_no_policy_permits_is_denied_without_a_rule() -> None:
    decision = engine().decide(Principal("a", ("other",)), Intent("query"))
    assert decision == Denial(
        Principal("a", ("other",)),
        Intent("query"),
        (Reason(Access(Action.CALL, Tool("query")), ()),),
        engine().policy_hash,
    )


def test_an_intent_is_permitted_with_the_rules_and_the_strictest_terms_of_all_it_does() -> None:
    judge = engine(
        '@id("call") @limit_rows("50") @timeout("9s") permit (principal in Role::"r", action == Action::"call", resource);',
        '@id("table") @limit_rows("70") @limit_bytes("100") permit (principal in Role::"r", action == Action::"read", resource);',
        '@id("see") @timeout("3.5") permit (principal in Role::"r", action == Action::"see", resource);',
        '@id("other") @limit_rows("1") permit (principal in Role::"s", action, resource);',
        base="",
    )
    intent = Intent("query", accesses=(Access(Action.READ, ORDERS), READ_TOTAL), datasource="shop")
    permit = judge.decide(WHO, intent)
    assert permit == Permit(
        WHO, intent, Obligations(limit_rows=50, limit_bytes=100, timeout_s=3.5), ("call", "see", "table"), judge.policy_hash
    )


def test_a_term_is_traced_to_the_rules_that_state_it_as_strictly_as_it_is_in_force() -> None:
    judge = engine(
        '@id("call") @max_cost("50") permit (principal in Role::"r", action == Action::"call", resource);',
        '@id("table") @max_cost("5e1") @timeout("9s") permit (principal in Role::"r", action == Action::"read", resource);',
        '@id("see") @max_cost("51") permit (principal in Role::"r", action == Action::"see", resource);',
        base="",
    )
    permit = judge.decide(WHO, Intent("query", accesses=(READ_TOTAL,), datasource="shop"))
    assert isinstance(permit, Permit)
    assert judge.stating(permit, "max_cost") == ("call", "table")
    assert judge.stating(permit, "timeout_s") == ("table",)
    assert judge.stating(permit, "max_rows_scanned") == ()


def test_a_denial_names_every_access_that_was_itself_refused_once() -> None:
    judge = engine(
        '@id("no-pii") forbid (principal, action == Action::"read", resource is Column) when { resource.tags.contains("pii") };',
        forbid(Action.READ, 'Table::"shop.public.orders"', "no-orders"),
    )
    accesses = (Access(Action.READ, ORDERS), READ_TOTAL, Access(Action.READ, EMAIL))
    decision = judge.decide(WHO, Intent("query", accesses=accesses, datasource="shop"))
    assert isinstance(decision, Denial)
    assert set(decision.reasons) == {
        Reason(Access(Action.READ, ORDERS), ("no-orders",)),
        Reason(Access(Action.READ, EMAIL), ("no-pii",)),
    }
    assert len(decision.reasons) == 2


def test_an_intent_needs_its_tool_and_to_see_its_datasource() -> None:
    for access, written in (
        (Access(Action.CALL, Tool("query")), 'Tool::"query"'),
        (Access(Action.SEE, SHOP), 'Datasource::"shop"'),
    ):
        decision = engine(forbid(access.action, written)).decide(WHO, Intent("query", datasource="shop"))
        assert isinstance(decision, Denial)
        assert decision.reasons == (Reason(access, ("no",)),)


OVERFLOW = '@id("broken") forbid (principal, action == Action::"read", resource is Column) when { 9223372036854775807 + 1 > 0 };'


def test_a_forbid_that_fails_while_it_is_evaluated_denies() -> None:
    """Cedar skips a policy that fails and answers Allow: a forbid would be lost."""
    verdict = engine(OVERFLOW).allows(WHO, READ_TOTAL)
    assert not verdict.allowed
    assert verdict.rules == ()
    assert verdict.errors == (
        "error while evaluating policy `broken`: integer overflow while attempting to add the values `9223372036854775807` and `1`",
    )


def test_a_permit_that_fails_while_it_is_evaluated_denies_what_another_permits() -> None:
    broken = OVERFLOW.replace("forbid (principal", 'permit (principal in Role::"r"')
    decision = engine(broken).decide(WHO, Intent("query", accesses=(READ_TOTAL,)))
    assert isinstance(decision, Denial)
    assert [(reason.access, reason.rules, len(reason.errors)) for reason in decision.reasons] == [(READ_TOTAL, (), 1)]


def test_an_access_the_vocabulary_does_not_know_is_an_error_and_denied() -> None:
    verdict = engine().allows(WHO, Access(Action.READ, PUBLIC))
    assert not verdict.allowed
    assert verdict.errors == ('failed to build request: resource type `Schema` is not valid for `Action::"read"`',)


def test_a_name_that_is_no_text_is_refused_and_does_not_decide_about_others() -> None:
    judge = engine()
    odd = Access(Action.SEE, Table("shop", "public", "\ud800"))
    judge.judge_many(WHO, [odd, Access(Action.SEE, ORDERS)])
    assert not judge.allows(WHO, odd).allowed
    assert judge.allows(WHO, odd).errors
    assert judge.allows(WHO, Access(Action.SEE, ORDERS)).allowed


def test_an_agent_whose_name_is_no_text_spoils_nothing_for_others_of_its_role() -> None:
    judge = engine('@id("named") forbid (principal == Agent::"b", action, resource);')
    judge.decide(Principal("\ud800", ("r",)), Intent("query"))
    assert isinstance(judge.decide(WHO, Intent("query")), Permit)


def test_an_agent_that_a_policy_names_is_told_apart_from_others_with_its_roles() -> None:
    judge = engine('@id("not-b") forbid (principal == Agent::"b", action, resource);')
    assert isinstance(judge.decide(WHO, Intent("query")), Permit)
    assert isinstance(judge.decide(Principal("b", ("r",)), Intent("query")), Denial)
    assert isinstance(judge.decide(Principal("c", ("r",)), Intent("query")), Permit)


def test_the_same_table_with_other_tags_is_another_question() -> None:
    judge = engine(
        '@id("no") forbid (principal, action == Action::"read", resource is Table) when { resource.tags.contains("secret") };'
    )
    tagged = Access(Action.READ, replace(ORDERS, tags=frozenset({"secret"})))
    plain = Access(Action.READ, ORDERS)
    judge.judge_many(WHO, [plain, tagged, plain])
    assert judge.allows(WHO, plain).allowed
    assert judge.allows(WHO, tagged).rules == ("no",)


def test_judging_many_changes_no_answer() -> None:
    warm, cold = engine(OVERFLOW.replace("Column", "Table")), engine(OVERFLOW.replace("Column", "Table"))
    accesses = [
        Access(action, Column("shop", "s", f"t{n % 7}", f"c{n}")) for n in range(600) for action in (Action.SEE, Action.READ)
    ]
    warm.judge_many(WHO, accesses)
    assert [warm.allows(WHO, access) for access in accesses] == [cold.allows(WHO, access) for access in accesses]


def test_a_permit_covers_what_it_permits_and_what_that_presupposes_and_nothing_else() -> None:
    judge = engine()
    permit = judge.decide(WHO, Intent("query", accesses=(READ_TOTAL,), datasource="shop"))
    assert isinstance(permit, Permit)
    assert judge.covers(permit, [])
    assert judge.covers(
        permit, [READ_TOTAL, Access(Action.READ, ORDERS), Access(Action.SEE, SHOP), Access(Action.CALL, Tool("query"))]
    )
    for beyond in (Access(Action.READ, EMAIL), Access(Action.EXECUTE, ROUND), Access(Action.CALL, Tool("whoami"))):
        assert not judge.covers(permit, [READ_TOTAL, beyond])


def test_a_permit_of_another_policy_set_covers_nothing() -> None:
    permit = engine().decide(WHO, Intent("query"))
    assert isinstance(permit, Permit)
    assert not engine(forbid(Action.SEE, 'Datasource::"x"')).covers(permit, [Access(Action.CALL, Tool("query"))])
