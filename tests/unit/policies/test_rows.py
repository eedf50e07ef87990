"""Row rules: what is accepted, what is left of them for one agent, and what is refused with the policy's place."""

from decimal import Decimal
from typing import Any

import pytest

from ostiary_policies import cedar, rows
from ostiary_policies.actions import Action
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.cedar import PolicySet
from ostiary_policies.conditions import (
    FALSE,
    TRUE,
    Among,
    And,
    Arithmetic,
    Attribute,
    Comparison,
    Condition,
    Constant,
    Has,
    If,
    Like,
    Not,
    Or,
    RowFilter,
    Type,
)
from ostiary_policies.errors import PolicyError
from ostiary_policies.model import Access, Principal, Schema, Table
from ostiary_policies.rows import RowColumn, RowRules, RowTable
from ostiary_policies.table_rules import against

DECLARED = {
    "region": AttributeType.TEXT,
    "regions": AttributeType.TEXTS,
    "level": AttributeType.INTEGER,
    "staff": AttributeType.BOOLEAN,
}
TABLE = RowTable(
    "shop::public::orders",
    {
        "region": RowColumn(Type.STRING, optional=True),
        "status": RowColumn(Type.STRING, optional=False),
        "amount": RowColumn(Type.LONG, optional=False),
        "paid": RowColumn(Type.BOOL, optional=False),
        "price": RowColumn(Type.DECIMAL, optional=False),
        "at": RowColumn(Type.DATETIME, optional=False),
        'odd "name"\\é': RowColumn(Type.LONG, optional=False),
    },
    {"extra": "`jsonb` has no counterpart"},
)
ANA = Principal(
    "ana",
    ("analyst",),
    (
        attribute("level", AttributeType.INTEGER, 7),
        attribute("region", AttributeType.TEXT, "EU"),
        attribute("regions", AttributeType.TEXTS, ["US", "EU"]),
        attribute("staff", AttributeType.BOOLEAN, value=False),
    ),
)
REGION, STATUS, AMOUNT = Attribute("region", Type.STRING), Attribute("status", Type.STRING), Attribute("amount", Type.LONG)
PAID, PRICE, AT = Attribute("paid", Type.BOOL), Attribute("price", Type.DECIMAL), Attribute("at", Type.DATETIME)


def text(value: str) -> Constant:
    return Constant(Type.STRING, value)


def number(value: int) -> Constant:
    return Constant(Type.LONG, value)


def moment(value: int) -> Constant:
    return Constant(Type.DATETIME, value)


def rule(body: str, effect: str = "permit", name: str = "r") -> str:
    head = 'principal in Role::"analyst", action == Action::"read_row", resource is shop::public::orders'
    return f'@id("{name}")\n{effect}({head})\nwhen {{ {body} }};\n'


def parsed(*texts: str) -> RowRules:
    return PolicySet.parse({"rows.cedar": "".join(texts)}, declared=DECLARED).row_rules


GOLDEN: list[tuple[str, Condition]] = [
    ("true", TRUE),
    ('principal in Role::"other" || resource.paid', Or(FALSE, PAID)),
    ("resource.paid", PAID),
    ("!resource.paid", Not(PAID)),
    ('resource.status == "new"', Comparison("==", STATUS, text("new"))),
    ('resource.status != "new"', Not(Comparison("==", STATUS, text("new")))),
    (
        "principal has region && resource has region && resource.region == principal.region",
        And(Has(REGION), Comparison("==", REGION, text("EU"))),
    ),
    ("resource.amount < 3", Comparison("<", AMOUNT, number(3))),
    ("resource.amount <= 3", Comparison("<=", AMOUNT, number(3))),
    # Cedar has two orders of its own and writes the others as their opposites.
    ("resource.amount > 3", Not(Comparison("<=", AMOUNT, number(3)))),
    ("resource.amount >= 3", Not(Comparison("<", AMOUNT, number(3)))),
    (
        "principal has level && resource.amount + 5 * principal.level == -resource.amount",
        Comparison("==", Arithmetic("+", AMOUNT, number(35)), Arithmetic("-", number(0), AMOUNT)),
    ),
    # What fails for the agent alone is left as it stands, with the agent in it.
    (
        "principal has level && principal.level + 9223372036854775807 < resource.amount",
        Comparison("<", Arithmetic("+", number(7), number(2**63 - 1)), AMOUNT),
    ),
    ('["a", "b"].contains(resource.status)', Among(STATUS, (text("a"), text("b")))),
    ("principal has regions && principal.regions.contains(resource.status)", Among(STATUS, (text("EU"), text("US")))),
    ("[1, 2].contains(resource.amount)", Among(AMOUNT, (number(1), number(2)))),
    (r'resource.status like "a*\*%"', Like(STATUS, ("a", None, "*%"))),
    ('resource.price.lessThan(decimal("1.50"))', Comparison("<", PRICE, Constant(Type.DECIMAL, Decimal("1.50")))),
    ('resource.price.greaterThanOrEqual(decimal("1.50"))', Comparison("<=", Constant(Type.DECIMAL, Decimal("1.50")), PRICE)),
    ('resource.price == decimal("1.50")', Comparison("==", PRICE, Constant(Type.DECIMAL, Decimal("1.50")))),
    ('resource.at < datetime("1970-01-02")', Comparison("<", AT, moment(86_400_000))),
    ('resource.at < datetime("1970-01-01T01:00:00.007+0100")', Comparison("<", AT, moment(7))),
    ('resource.at < datetime("1969-12-31T23:00:00.007-0100")', Comparison("<", AT, moment(7))),
    ('resource.at < datetime("1970-01-01").offset(duration("-1d2h3m4s5ms"))', Comparison("<", AT, moment(-93_784_005))),
    (
        "if resource.paid then resource has region else resource.amount == 1",
        If(PAID, Has(REGION), Comparison("==", AMOUNT, number(1))),
    ),
    ("principal has staff && resource.paid == principal.staff", Comparison("==", PAID, FALSE)),
    ("resource.paid || (principal has level && principal.level == 7)", Or(PAID, TRUE)),
    ('resource["odd \\"name\\"\\\\\\u{e9}"] == 1', Comparison("==", Attribute('odd "name"\\é', Type.LONG), number(1))),
]


@pytest.mark.parametrize(("body", "expected"), GOLDEN, ids=[body for body, _ in GOLDEN])
def test_what_is_left_of_a_rule_is_this_condition(body: str, expected: Condition):
    """Partial evaluation is experimental upstream: a release that changes the shapes fails here and not in front of data."""
    found = against(parsed(rule(body)), TABLE).filter(ANA)
    assert (found.permits, found.forbids, found.rules) == ((expected,), (), ("r",))


def test_rules_that_do_not_apply_to_the_agent_are_gone():
    rules = against(parsed(rule("resource.paid"), rule("true", "forbid", "no")), TABLE)
    assert rules.filter(Principal("eve", ("guest",))) == RowFilter((), (), ())


def test_forbids_are_kept_apart_from_permits():
    found = against(parsed(rule("resource.paid"), rule("resource.amount == 1", "forbid", "no")), TABLE).filter(ANA)
    assert found == RowFilter((PAID,), (Comparison("==", AMOUNT, number(1)),), ("no", "r"))


@pytest.mark.parametrize("name", ["a b", 'say "hi"', "back\\slash", "Zoë", "日本", "a::b", '"'])
def test_an_agents_name_never_becomes_part_of_the_question(name: str):
    assert against(parsed(rule("resource.paid")), TABLE).filter(Principal(name, ("analyst",))).permits == (PAID,)


REFUSED_BY_TABLE = [
    ('resource has regin && resource.regin == "EU"', "regin"),
    ('resource.region == "EU"', "unable to guarantee safety of access to optional attribute `region`"),
    ('resource.extra == "x"', "extra"),
    ("resource.amount == resource.status", ""),
    ('resource.at.toDate() == datetime("2024-01-01")', "`toDate`"),
    ('resource.at.offset(duration("1d")) == datetime("2024-01-01")', "`.`"),
    ("principal has regions && [resource.status].containsAny(principal.regions)", "`containsAny`"),
    ('["a", resource.status].contains("a")', "a set that depends on the row"),
    ("[true].contains(resource.paid)", "a set of booleans"),
    ("(if resource.paid then 1 else 2) == resource.amount", "neither true nor false"),
    ("resource == resource", "`resource` has no counterpart"),
    ('resource in Datasource::"shop"', ""),
    ("context has x", ""),
]


@pytest.mark.parametrize(("body", "said"), REFUSED_BY_TABLE, ids=[body for body, _ in REFUSED_BY_TABLE])
def test_what_cannot_be_asked_of_the_table_is_refused_with_the_policys_place(body: str, said: str):
    rules = parsed("// a comment\n", rule("true", name="fine"), rule(body, name="bad"))
    with pytest.raises(PolicyError) as caught:
        against(rules, TABLE)
    assert {(p.file, p.line, p.policy) for p in caught.value.problems} == {("rows.cedar", 5, "bad")}
    assert said in str(caught.value)


def test_a_column_that_is_left_out_is_refused_with_the_reason():
    for body in ('resource.extra == "x"', 'resource has extra && resource.extra == "x"', "!(resource has extra)"):
        rules = parsed(rule(body))
        with pytest.raises(PolicyError, match="of column `extra`, `jsonb` has no counterpart"):
            against(rules, TABLE)


HEAD = 'principal in Role::"analyst", action == Action::"read_row", resource is shop::public::orders'
REFUSED_AT_ONCE = [
    (f"permit({HEAD});", "no usable `@id`"),
    (f'@id("x") @limit_rows("3") permit({HEAD});', "`@limit_rows` says nothing of rows"),
    ('@id("x") permit(principal, action == Action::"read_row", resource is a::b::c);', "permits every principal"),
    ('@id("x") permit(principal in Role::"r", action == Action::"read_row", resource);', "which table's rows"),
    ('@id("x") permit(principal in Role::"r", action == Action::"read_row", resource is orders);', "`orders` is no table"),
    ('@id("x") permit(principal in Role::"r", action == Action::"read_row", resource == a::b::c::"1");', "which table's rows"),
    (
        '@id("x") permit(principal in Role::"r", action in [Action::"read_row", Action::"read"], resource is a::b::c);',
        "something else",
    ),
    ('@id("x") permit(principal in Role::"", action == Action::"read_row", resource is a::b::c);', "can never match"),
    ('@id("x") permit(principal == ?principal, action == Action::"read_row", resource is a::b::c);', "templates"),
    (f'@id("x") permit({HEAD}) when {{ ', "cannot be parsed"),
    (f'@id("x") permit({HEAD}) when {{ {"(" * 30}true{")" * 30} }};', "nests or chains too much"),
]


@pytest.mark.parametrize(("written", "said"), REFUSED_AT_ONCE)
def test_what_is_wrong_whatever_the_table_is_refused_at_once(written: str, said: str):
    with pytest.raises(PolicyError) as caught:
        parsed(written)
    assert said in str(caught.value)


def test_rules_of_writing_govern_by_themselves():
    deleting = rule("!resource.paid", name="d").replace("read_row", "delete_row")
    rules = parsed(rule("resource.paid"), deleting)
    assert [(one.id, one.action) for one in rules.rules] == [("r", "read_row"), ("d", "delete_row")]
    assert [one.id for one in rules.of("delete_row").rules] == ["d"]
    assert rules.of("update_row").rules == ()
    [left] = against(rules.of("delete_row"), TABLE).filter(ANA).permits
    assert left == Not(PAID)


@pytest.mark.parametrize("action", rows.ACTIONS)
def test_every_action_on_rows_is_refused_beside_another(action: str):
    with pytest.raises(PolicyError, match="something else"):
        parsed(f'@id("x") permit(principal in Role::"r", action in [Action::"{action}", Action::"read"], resource is a::b::c);')


def test_a_rule_about_a_table_that_is_not_there_is_a_problem():
    rules = parsed(rule("true"))
    assert [(p.line, p.policy) for p in rows.unknown(rules, {"shop::public::order"})] == [(1, "r")]
    assert rows.unknown(rules, {"shop::public::orders"}) == ()
    assert rules.governed == {"shop::public::orders"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("shop", "public", "orders"), "shop::public::orders"),
        (("shop", "public", "Orders_2"), "shop::public::Orders_2"),
        (("shop", "public", "order items"), None),
        (("shop-2", "public", "orders"), None),
        (("shop", "public", "if"), None),
        (("shop", "__cedar", "orders"), None),
        (("shop", "public", "Agent"), None),
        (("shop", "public", "a::b"), None),
        (("shop", "public", "größe"), None),
        (("shop", "public", "x }; entity y"), None),
        (("shop", "public", "orders\n"), None),
        (("shop", "", "orders"), None),
        (("shop", "public", "String"), "shop::public::String"),
    ],
)
def test_only_a_table_that_cedar_can_spell_has_a_type(names: tuple[str, str, str], expected: str | None):
    assert rows.entity_type(*names) == expected


@pytest.mark.parametrize("name", ["Long", "String", "Record", "entity", "type", "namespace", "action", "principal", "decimal"])
def test_a_table_called_like_a_word_of_the_schema_can_be_governed(name: str):
    table = RowTable(f"shop::{name}::{name}", {name: RowColumn(Type.LONG, optional=False)})
    written = rule(f"resource.{name} == 1").replace("shop::public::orders", table.type)
    assert against(parsed(written), table).filter(ANA).permits == (Comparison("==", Attribute(name, Type.LONG), number(1)),)


def test_no_column_name_breaks_out_of_the_schema():
    names = ['a": String }; entity x = { "b', "", "\\", "\n", "if", "é", "\u2028", "😀"]
    table = RowTable("shop::public::orders", {name: RowColumn(Type.LONG, optional=True) for name in names})
    against(parsed(rule("true")), table)


def test_the_reserved_names_are_the_entity_types_of_the_schema():
    """A table that is called like one would shadow it."""
    schema = cedar._schema_text({})
    for line in schema.splitlines():
        if line.startswith("entity "):
            assert rows.entity_type("shop", "public", line.split()[1].strip(";")) is None


ORDINARY = '@id("see")\npermit(principal in Role::"clerk", action == Action::"see", resource == Schema::"shop.public");\n'


def test_a_policy_set_takes_row_rules_beside_the_others_and_keeps_them_apart():
    asking = rule("principal has region && resource.status == principal.region", name="own")
    forbid = rule("resource.paid", "forbid", "no").replace('principal in Role::"analyst"', 'principal == Agent::"ana"')
    policies = PolicySet.parse({"b.cedar": ORDINARY + forbid, "a.cedar": asking}, declared=DECLARED)
    assert [(p.id, p.file, p.line, p.effect) for p in policies.policies.values()] == [
        ("own", "a.cedar", 1, "permit"),
        ("see", "b.cedar", 1, "permit"),
        ("no", "b.cedar", 3, "forbid"),
    ]
    assert [(r.id, r.type) for r in policies.row_rules.rules] == [("own", TABLE.type), ("no", TABLE.type)]
    assert policies.roles == {"analyst", "clerk"}
    assert policies.agents == {"ana"}
    assert policies.attributes_asked_for == {"region"}
    assert policies.hash != PolicySet.parse({"b.cedar": ORDINARY, "a.cedar": asking}, declared=DECLARED).hash


def test_row_rules_say_nothing_of_other_things():
    """A forbid of rows forbids no table, and it is no reason for anything else."""
    clerk = Principal("ana", ("clerk",))
    schema = Access(Action.SEE, Schema("shop", "public"))
    plain, ruled = (PolicySet.parse({"a.cedar": text}) for text in (ORDINARY, rule("true", "forbid", "no") + ORDINARY))
    assert plain.judge(clerk, [schema]) == ruled.judge(clerk, [schema])
    assert ruled.judge(clerk, [schema])[0].rules == ("see",)


def test_an_error_of_a_policy_is_told_of_the_right_one_behind_row_rules():
    failing = '@id("fails") forbid(principal, action == Action::"see", resource) when { resource.name like "p*" && %s };'
    overflow = "principal has level && principal.level + 9223372036854775807 > 0"
    policies = PolicySet.parse({"a.cedar": rule("true") + ORDINARY + failing % overflow}, declared=DECLARED)
    ana = Principal("ana", ("clerk",), (attribute("level", AttributeType.INTEGER, 7),))
    (judged,) = policies.judge(ana, [Access(Action.SEE, Schema("shop", "public"))])
    assert not judged.allowed
    assert "`fails`" in judged.errors[0]


def test_an_id_is_used_once_over_row_rules_and_others():
    with pytest.raises(PolicyError, match=r"b.cedar:1: policy `see`: its `@id` is already used in a.cedar:1"):
        PolicySet.parse({"a.cedar": ORDINARY, "b.cedar": rule("true", name="see")})


def test_a_set_of_row_rules_alone_permits_nothing_else():
    policies = PolicySet.parse({"a.cedar": rule("true")})
    who = Principal("ana", ("analyst",))
    assert not policies.judge(who, [Access(Action.READ, Table("shop", "public", "orders"))])[0].allowed


def test_a_rule_that_asks_an_agent_for_what_none_has_would_never_apply():
    for body in ("principal has regin", "!(principal has regin) && resource.paid"):
        with pytest.raises(PolicyError, match="an agent never has an attribute `regin`"):
            parsed(rule(body, "forbid"))


def test_only_policies_that_name_the_action_speak_of_rows():
    def tree(scope: str) -> Any:
        return cedar.tree_of(f"permit({scope});")

    assert rows.speaks_of_rows(tree('principal, action == Action::"read_row", resource'))
    assert rows.speaks_of_rows(tree('principal, action in [Action::"read", Action::"read_row"], resource'))
    assert not rows.speaks_of_rows(tree('principal, action == Action::"read", resource == Table::"a.b.read_row"'))
    assert not rows.speaks_of_rows(tree("principal, action, resource"))
