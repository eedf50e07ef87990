"""Attributes of agents: what a policy may ask, whom it tells apart, and that no memory mixes them up."""

from typing import Any

import pytest

from ostiary_policies.actions import Action
from ostiary_policies.attributes import Attribute, AttributeType, attribute, digest, usable
from ostiary_policies.cases import run_table
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.errors import PolicyError, TableError
from ostiary_policies.model import Access, Principal, Table

TEXT, INTEGER, BOOLEAN, TEXTS = AttributeType
DECLARED = {"region": TEXT, "clearance": INTEGER, "staff": BOOLEAN, "teams": TEXTS}
ORDERS = Access(Action.SEE, Table("shop", "public", "orders"))
ALL = '@id("all") permit (principal in Role::"r", action, resource);'
CONDITIONS: tuple[tuple[str, str, Any, tuple[Any, ...]], ...] = (
    ('principal has region && principal.region == "eu"', "region", "eu", ("us", "", "EU", "eu ")),
    ("principal has clearance && principal.clearance >= 1", "clearance", 1, (0, -1)),
    ("principal has staff && principal.staff", "staff", True, (False,)),
    ('principal has teams && principal.teams.contains("sales")', "teams", ["ops", "sales"], ([], ["Sales"], ["sales,ops"])),
)


def engine(*texts: str, declared: dict[str, AttributeType] = DECLARED) -> Engine:
    return Engine(PolicySet.parse({"f.cedar": "\n".join(texts)}, declared=declared))


def who(agent: str = "a", **values: Any) -> Principal:
    return Principal(agent, ("r",), tuple(attribute(name, DECLARED[name], values[name]) for name in sorted(values)))


@pytest.mark.parametrize(("condition", "name", "right", "wrong"), CONDITIONS, ids=[c[1] for c in CONDITIONS])
def test_a_permit_holds_for_the_value_it_asks_for_and_no_other(condition: str, name: str, right: Any, wrong: Any) -> None:
    judge = engine(f'@id("x") permit (principal in Role::"r", action, resource) when {{ {condition} }};')
    assert judge.allows(who(**{name: right}), ORDERS).allowed
    for value in wrong:
        assert not judge.allows(who(**{name: value}), ORDERS).allowed, value
    assert not judge.allows(who(), ORDERS).allowed


def test_the_answer_to_one_caller_is_not_remembered_for_another_with_the_same_roles() -> None:
    """The attack: let a caller who may ask first, then ask as one who may not, through every memory there is."""
    for order in (("eu", "us"), ("us", "eu")):
        judge = engine(
            ALL, '@id("no") forbid (principal, action, resource) unless { principal has region && principal.region == "eu" };'
        )
        for region in order:
            judge.judge_many(who(region=region), [ORDERS])
        assert judge.allows(who(region="eu"), ORDERS).allowed
        assert judge.allows(who(region="us"), ORDERS).rules == ("no",)
        assert judge.allows(who(), ORDERS).rules == ("no",)


def test_one_and_true_are_different_callers() -> None:
    """Python takes them for equal, and a memory by value would answer one with the verdict of the other."""
    one, true = Attribute("x", INTEGER, 1), Attribute("x", BOOLEAN, value=True)
    assert Principal("a", ("r",), (one,)) != Principal("a", ("r",), (true,))
    assert digest([one]) != digest([true])


def test_an_attribute_no_policy_asks_for_makes_no_memory_of_its_own() -> None:
    judge = engine('@id("x") permit (principal in Role::"r", action, resource) when { principal has staff && principal.staff };')
    for number in range(20):
        judge.allows(who(f"agent-{number}", staff=True, region=f"r{number}"), ORDERS)
    assert len(judge._memories) == 1
    judge.allows(who(staff=False), ORDERS)
    assert len(judge._memories) == 2


def test_principals_that_come_without_end_are_forgotten() -> None:
    judge = engine(
        ALL, '@id("no") forbid (principal, action, resource) when { principal has clearance && principal.clearance == -1 };'
    )
    for number in range(2_500):
        assert judge.allows(who(clearance=number), ORDERS).allowed
    assert len(judge._memories) <= 1_001


@pytest.mark.parametrize(
    "forged",
    [
        Attribute("region", TEXT, 1),
        Attribute("staff", BOOLEAN, 1),
        Attribute("clearance", INTEGER, 2**63),
        Attribute("region", TEXT, "\ud800"),
    ],
)
def test_a_value_of_another_type_decides_nothing(forged: Attribute) -> None:
    conditions = ('region && principal.region == "x"', "staff && principal.staff", "clearance && principal.clearance == 5")
    forbids = [f'@id("no{n}") forbid (principal, action, resource) when {{ principal has {c} }};' for n, c in enumerate(conditions)]
    judge = engine(ALL, *forbids)
    verdict = judge.allows(Principal("a", ("r",), (forged,)), ORDERS)
    assert not verdict.allowed
    assert verdict.errors


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ('principal.region == "eu"', "optional attribute `region`"),
        ('principal has regoin && principal has region && principal.region == "eu"', "an agent never has an attribute `regoin`"),
        ("principal has tags", "an agent never has an attribute `tags`"),
        ("resource has region", "a resource never has an attribute `region`"),
        ("principal has region && principal.region == 1", "types"),
        ('principal has teams && principal.teams == "sales"', "types"),
        ("principal.nothing == 1", "nothing"),
    ],
)
def test_a_condition_that_could_never_hold_as_meant_is_refused(condition: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        engine(ALL, f'@id("x") forbid (principal, action, resource) when {{ {condition} }};')
    assert any(said in problem.message for problem in caught.value.problems), caught.value


def test_a_policy_about_an_attribute_that_is_not_declared_is_refused() -> None:
    text = '@id("x") permit (principal in Role::"r", action, resource) when { principal has region && principal.region == "eu" };'
    with pytest.raises(PolicyError, match="an agent never has an attribute `region`"):
        engine(text, declared={})
    assert engine(text).policies.attributes_asked_for == {"region"}


@pytest.mark.parametrize(
    ("type_", "right", "wrong"),
    [
        (TEXT, ["", "é"], [1, True, None, ["a"], {"a": 1}]),
        (INTEGER, [0, -(2**63), 2**63 - 1], [True, 2**63, -(2**63) - 1, 1.0, "1", None, [1]]),
        (BOOLEAN, [True, False], [0, 1, "true", None, [True]]),
        (TEXTS, [[], ["a", "a"], ("b",)], ["a", [1], [["a"]], [None], {"a": "b"}, None]),
    ],
)
def test_a_value_is_of_its_type_or_refused_without_being_quoted(type_: AttributeType, right: list[Any], wrong: list[Any]) -> None:
    for value in right:
        assert attribute("x", type_, value).type is type_
    for value in wrong:
        with pytest.raises(ValueError, match=f"`x` is declared as {type_.value} and is something else") as caught:
            attribute("x", type_, value)
        assert str(caught.value).endswith("something else")


def test_the_digest_tells_different_attributes_apart_and_nothing_else() -> None:
    different = [
        *(who(region="a", teams=teams) for teams in ([], ["b"], ["a", "b"], ["a,b"], ['a", "b'])),
        *(who(region=region) for region in ("a", "b", '["b"]', "1")),
        who(teams=["a"]),
        who(clearance=1),
        who(staff=True),
        who(),
    ]
    assert len({digest(one.attributes) for one in different}) == len(different)
    assert digest(who(teams=["b", "a"]).attributes) == digest(who(teams=["a", "b", "a"]).attributes)
    assert digest(()) == ""


@pytest.mark.parametrize("name", ["if", "has", "true", "like", "Region", "a-b", "1a", "", "a" * 64, "a b", "region\n"])
def test_a_name_that_no_policy_can_write_is_not_usable(name: str) -> None:
    assert not usable(name)


def test_a_table_of_cases_says_attributes_by_name() -> None:
    judge = engine(
        '@id("x") permit (principal in Role::"r", action, resource) when { principal has teams && principal.teams.contains("s") };'
    )
    row = (
        '[[case]]\ntitle = "t"\nroles = ["r"]\naction = "call"\nresource = {{ tool = "query" }}\nexpected = "{}"\nattributes = {}\n'
    )
    cases = row.format("permit", '{ teams = ["s"] }') + row.format("deny", '{ teams = ["t"] }') + row.format("deny", "{}")
    assert [result.passed for result in run_table(judge, cases)] == [True] * 3
    for wrong, said in (
        ("{ team = 1 }", "unknown attribute `team`"),
        ('{ teams = "s" }', "is declared as texts and is something else"),
    ):
        with pytest.raises(TableError, match=said):
            run_table(judge, row.format("deny", wrong))
