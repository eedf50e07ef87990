"""What must hold of every policy set and every intent, whatever they are."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary_policies.actions import Action
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine, asked, presupposes
from ostiary_policies.entities import entity, names, names_in, resource_id, uid
from ostiary_policies.model import (
    Access,
    AuditLog,
    Column,
    Datasource,
    Denial,
    Function,
    Intent,
    Permit,
    Principal,
    Resource,
    Schema,
    Table,
    Tool,
)

NAMES = st.sampled_from(["shop", "public", "t", "u", "a.b", 'q"', ""])
TAGS = st.frozensets(st.sampled_from(["pii", "pii:email", "secret"]), max_size=2)
RESOURCES: st.SearchStrategy[Resource] = st.one_of(
    st.builds(Tool, NAMES),
    st.builds(Datasource, NAMES),
    st.builds(Schema, NAMES, NAMES),
    st.builds(Table, NAMES, NAMES, NAMES, TAGS),
    st.builds(Column, NAMES, NAMES, NAMES, NAMES, TAGS, TAGS),
    st.builds(Function, NAMES, NAMES, NAMES, st.sampled_from(["immutable", "stable", "volatile"]), st.booleans(), NAMES),
    st.just(AuditLog()),
)
ACCESSES = st.builds(Access, st.sampled_from(Action), RESOURCES)
PRINCIPALS = st.builds(
    Principal,
    st.sampled_from(["", "a", "b"]),
    st.frozensets(st.sampled_from("rs"), max_size=2).map(lambda roles: tuple(sorted(roles))),
)
INTENTS = st.builds(
    Intent,
    st.sampled_from(["query", "t"]),
    accesses=st.lists(ACCESSES, max_size=6).map(tuple),
    datasource=st.none() | NAMES,
)

_TARGETS = [
    'action == Action::"call", resource',
    *(
        f"{action}, {resource}"
        for action in ("action", 'action == Action::"see"', 'action == Action::"read"')
        for resource in (
            "resource",
            "resource is Column",
            'resource in Schema::"shop.public"',
            'resource == Table::"shop.public.t"',
        )
    ),
]
_CONDITIONS = [
    "",
    'when { principal in Role::"s" }',
    'unless { resource has tags && resource.tags.contains("pii") }',
    'when { resource has table_tags && resource.table_tags.contains("secret") }',
    'when { resource has name && resource.name like "t*" }',
    "when { 9223372036854775807 + 1 > 0 }",
]


def _policy(effect: str, who: str, target: str, condition: str) -> str:
    return f"{effect} ({who}, {target}) {condition};"


PERMITS = st.builds(
    _policy,
    st.just("permit"),
    st.sampled_from(['principal in Role::"r"', 'principal in Role::"s"', 'principal == Agent::"a"']),
    st.sampled_from(_TARGETS),
    st.sampled_from(_CONDITIONS),
)
FORBIDS = st.builds(
    _policy,
    st.just("forbid"),
    st.sampled_from(["principal", 'principal in Role::"r"', 'principal == Agent::"b"']),
    st.sampled_from(_TARGETS),
    st.sampled_from(_CONDITIONS),
)
# Most generated sets would permit next to nothing: this permit makes both answers frequent.
_WIDE = 'permit (principal in Role::"r", action, resource);'
SETS = st.lists(PERMITS | FORBIDS, max_size=4).map(lambda policies: [_WIDE, *policies])


def _engine(policies: list[str]) -> Engine:
    return Engine(PolicySet.parse({"f": "\n".join(f'@id("p{n}") {policy}' for n, policy in enumerate(policies))}))


@settings(deadline=None, max_examples=200)
@given(SETS, PRINCIPALS, INTENTS)
def test_every_intent_is_decided_and_a_permit_has_every_access_allowed(policies: list[str], who: Principal, intent: Intent) -> None:
    engine = _engine(policies)
    decision = engine.decide(who, intent)
    verdicts = [engine.allows(who, access) for access in asked(intent)]
    match decision:
        case Permit():
            assert all(verdict.allowed for verdict in verdicts)
            assert engine.covers(decision, intent.accesses)
        case Denial():
            assert not all(verdict.allowed for verdict in verdicts)
            assert decision.reasons


@settings(deadline=None, max_examples=200)
@given(SETS, FORBIDS, PRINCIPALS, INTENTS)
def test_adding_a_forbid_never_allows_more(policies: list[str], forbid: str, who: Principal, intent: Intent) -> None:
    if isinstance(_engine(policies).decide(who, intent), Denial):
        assert isinstance(_engine([*policies, forbid]).decide(who, intent), Denial)


@settings(deadline=None, max_examples=200)
@given(SETS, PERMITS, PRINCIPALS, INTENTS)
def test_removing_a_permit_never_allows_more_unless_it_failed(
    policies: list[str], permit: str, who: Principal, intent: Intent
) -> None:
    with_it = _engine([*policies, permit]).decide(who, intent)
    if isinstance(with_it, Denial) and not any(reason.errors for reason in with_it.reasons):
        assert isinstance(_engine(policies).decide(who, intent), Denial)


@settings(deadline=None, max_examples=200)
@given(SETS, st.sampled_from([PERMITS, FORBIDS]).flatmap(lambda kind: kind), PRINCIPALS, ACCESSES)
def test_an_error_always_denies(policies: list[str], extra: str, who: Principal, access: Access) -> None:
    verdict = _engine([*policies, extra]).allows(who, access)
    assert not (verdict.allowed and verdict.errors)
    # The plainest failing forbid applies to everything, so nothing is left that could be allowed.
    failing = "forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };"
    broken = _engine([*policies, extra, failing]).allows(who, access)
    assert not broken.allowed
    assert broken.errors


@settings(deadline=None, max_examples=200)
@given(SETS, PRINCIPALS, st.lists(ACCESSES, min_size=1, max_size=12))
def test_what_is_judged_together_or_once_for_all_alike_is_what_cedar_says_of_each_alone(
    policies: list[str], who: Principal, accesses: list[Access]
) -> None:
    engine = _engine(policies)
    engine.judge_many(who, accesses)
    for access in accesses:
        (alone,) = engine.policies.judge(who, [access])
        presupposed = [engine.allows(who, other).allowed for other in presupposes(access)]
        assert engine.allows(who, access).allowed is (alone.allowed and all(presupposed))


@settings(deadline=None, max_examples=200)
@given(RESOURCES, RESOURCES)
def test_two_resources_share_an_id_only_when_they_share_every_name(one: Resource, other: Resource) -> None:
    assert (uid(one) == uid(other)) is (type(one) is type(other) and names(one) == names(other))
    assert names_in(type(one).__name__, resource_id(one)) == names(one)
    assert entity(one)["uid"] == uid(one)
