"""Taints: what a permit leaves on its agent, and what policies may ask of it."""

import pytest

from ostiary_policies.actions import Action
from ostiary_policies.approvals import Approval
from ostiary_policies.attributes import usable
from ostiary_policies.cases import run_table
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.errors import PolicyError, TableError
from ostiary_policies.explain import explain
from ostiary_policies.model import Access, Column, Intent, Obligations, Permit, Principal, Table

ALL = '@id("all") permit (principal in Role::"r", action, resource);\n'
SEEN = '@id("seen") @taint("seen") permit (principal in Role::"r", action == Action::"read", resource is Column);\n'
MORE = '@id("more") @taint("more, seen") permit (principal in Role::"r", action == Action::"read", resource is Column);\n'
READ = Access(Action.READ, Column("shop", "public", "mails", "body"))
CLEAN = Principal("a", ("r",))
TAINTED = Principal("a", ("r",), taints=frozenset({"seen"}))


def engine(*texts: str) -> Engine:
    return Engine(PolicySet.parse({"f.cedar": "".join(texts)}))


def asking(condition: str) -> str:
    return f'@id("no") forbid (principal, action, resource) when {{ {condition} }};'


def test_every_permit_that_decides_leaves_its_taints_and_the_owner_is_told_which() -> None:
    permit = engine(ALL, SEEN, MORE).decide(CLEAN, Intent("query", accesses=(READ,)))
    assert isinstance(permit, Permit)
    assert permit.obligations == Obligations(taints=frozenset({"more", "seen"}))
    assert explain(permit)[1:] == ["tainted from then on with `more`, `seen`"]
    assert engine(ALL, SEEN, MORE).stating(permit, "taints") == ("more", "seen")
    table = engine(ALL, SEEN).allows(CLEAN, Access(Action.READ, Table("shop", "public", "mails")))
    assert table.obligations == Obligations()


@pytest.mark.parametrize(
    "condition",
    [
        'principal.taints.contains("seen")',
        'principal has taints && principal.taints.contains("seen")',
        'principal.taints.containsAny(["seen"])',
        'principal.taints == ["seen"]',
        "!principal.taints.isEmpty()",
    ],
)
def test_a_policy_asks_for_a_taint_and_no_memory_mixes_agents_up(condition: str) -> None:
    for order in ((CLEAN, TAINTED), (TAINTED, CLEAN)):
        judge = engine(ALL, SEEN, asking(condition))
        assert {who.taints: judge.allows(who, READ).allowed for who in order} == {frozenset(): True, frozenset({"seen"}): False}


def test_a_set_that_never_asks_tells_no_agent_by_its_taints() -> None:
    judge = engine(ALL, SEEN)
    assert not judge.policies.asks_for_taints
    assert judge.allows(CLEAN, READ) is judge.allows(TAINTED, READ)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (asking('principal.taints.contains("sen")'), "no policy taints an agent with `sen`"),
        (asking('["seen", "sen"].containsAny(principal.taints)'), "no policy taints an agent with `sen`"),
        (
            asking('principal.taints.contains("seen")').replace('"no")', '"no") @taint("seen")'),
            "`@taint` on a forbid has no effect",
        ),
        (asking("principal.taints.contains(1)"), "not compatible"),
        (asking('principal.tainted.contains("seen")'), "attribute `tainted` on entity type `Agent` not found"),
        *(
            (SEEN.replace('"seen")', f'"two") @taint("{name}")', 1).replace('@taint("seen")', "", 1), "`@taint` is a name such as")
            for name in ("", "Seen", "a b", "a,,b", "1a", "ü", "a\\n", "x" * 64)
        ),
    ],
)
def test_what_would_never_apply_is_refused_when_policies_are_loaded(written: str, complaint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        engine(ALL, SEEN, written)
    assert complaint in str(caught.value)


def test_an_approval_is_by_a_human_or_not_written() -> None:
    for written in ("", "Human", "nobody", "human,"):
        with pytest.raises(PolicyError, match="`@approval` is `human`, `two humans`, or"):
            engine(ALL, f'@id("x") @approval("{written}") permit (principal in Role::"r", action, resource);')
    both = engine(ALL, '@id("x") @approval("human") permit (principal in Role::"r", action, resource is Column);')
    assert both.allows(CLEAN, READ).obligations == Obligations(approvals=(Approval(1),))


def test_no_attribute_of_an_installation_may_be_called_taints() -> None:
    assert not usable("taints")
    assert usable("taint")


def test_a_decision_table_asks_for_taints_and_of_tainted_agents() -> None:
    case = """
[[case]]
title = "t"
roles = ["r"]
taints = [{taints}]
action = "read"
resource = {{ column = "shop.public.mails.body" }}
expected = "{expected}"
{terms}
"""
    judge = engine(ALL, SEEN, asking('principal.taints.contains("seen")'))
    clean = case.format(taints="", expected="permit", terms='terms = { taint = "seen" }')
    tainted = case.format(taints='"seen"', expected="deny", terms="")
    assert [result.differences for result in run_table(judge, clean + tainted)] == [(), ()]
    with pytest.raises(TableError, match="case 2: no policy taints an agent with `sen`"):
        run_table(judge, clean + tainted.replace('"seen"', '"sen"'))
    assert run_table(judge, clean.replace('"seen" }', '"other" }'))[0].differences == (
        "expected the terms taint other, got taint seen",
    )
