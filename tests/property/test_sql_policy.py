"""What must hold of a judgement and the decision on it when less is allowed."""

from itertools import islice

from fix_sql import cases, sees_everything, shop_snapshot
from gen_queries import generated
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostiary_policies.actions import Action
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Column, Intent, Permit, Principal, Resource, Table
from ostiary_tools.errors import Refused
from ostiary_tools.sql import Judged, judge
from ostiary_tools.view import SchemaView

SNAPSHOT = shop_snapshot()
EVERYTHING = sees_everything(SNAPSHOT)
RESOURCES = sorted(EVERYTHING.visible, key=repr)
TEXTS = [case.sql for folder in ("honest", "refuse") for case in cases(folder)]
TEXTS += [asked.text for asked in islice(generated(SNAPSHOT, 7, without="xml"), 200)]
WHO = Principal("ada", ("reader",))
READS_ALL = 'permit (principal in Role::"reader", action, resource);'
HIDDEN = st.frozensets(st.sampled_from(RESOURCES), max_size=6)
_ACTIONS = ("action", 'action == Action::"see"', 'action == Action::"read"')
_TARGETS = (
    'resource is Column) when { resource.name like "*a*" }',
    'resource is Column) when { resource.name == "id" }',
    'resource is Table) when { resource.name like "*s" }',
    'resource in Table::"shop.public.employees")',
    'resource in Table::"shop.public.orders")',
    'resource in Schema::"shop.public")',
)
FORBIDS = st.sampled_from(
    [f"forbid (principal, {action}, {target};" for action in _ACTIONS for target in _TARGETS]
    + ["forbid (principal, action, resource is Function);", 'forbid (principal, action == Action::"execute", resource);']
)


def judged(text: str, view: SchemaView) -> Judged | None:
    try:
        return judge(text, view)
    except Refused:
        return None


def view_without(hidden: frozenset[Resource]) -> SchemaView:
    """What is left when these are hidden, and with a table its columns."""
    tables = {(r.schema, r.name) for r in hidden if isinstance(r, Table)}
    columns = {r for r in RESOURCES if isinstance(r, Column) and (r.schema, r.table) in tables}
    seen = EVERYTHING.visible - hidden - columns
    return SchemaView(SNAPSHOT, seen, seen)


@given(st.sampled_from(TEXTS), HIDDEN, HIDDEN)
@settings(max_examples=600, deadline=None)
def test_hiding_more_never_makes_more_judged_or_more_reached(text: str, hidden: frozenset[Resource], more: frozenset[Resource]):
    less = judged(text, view_without(hidden | more))
    if less is not None:
        before = judged(text, view_without(hidden))
        assert before is not None
        assert set(less.accesses) <= set(before.accesses)
        assert not {access.resource for access in less.accesses} & (hidden | more)


def reached(text: str, policies: list[str]) -> frozenset[Access] | None:
    """What the statement accesses where it passes the judge and the decision, its caller's view made by the same policies."""
    engine = engine_of(policies)
    seen = frozenset(r for r in RESOURCES if engine.allows(WHO, Access(Action.SEE, r)).allowed)
    found = judged(text, SchemaView(SNAPSHOT, seen, seen))
    if found is None or not isinstance(engine.decide(WHO, Intent("query", accesses=found.accesses, datasource="shop")), Permit):
        return None
    return frozenset(found.accesses)


def engine_of(policies: list[str]) -> Engine:
    return Engine(PolicySet.parse({"f": "\n".join(f'@id("p{n}") {policy}' for n, policy in enumerate(policies))}))


@given(st.sampled_from(TEXTS), st.lists(FORBIDS, max_size=2), FORBIDS)
@settings(max_examples=200, deadline=None)
@example(
    "select e.* from employees e",
    ['forbid (principal, action == Action::"read", resource is Column) when { resource.name like "*a*" };'],
    'forbid (principal, action, resource is Column) when { resource.name like "*a*" };',
)
def test_adding_a_forbid_never_lets_more_be_reached(text: str, policies: list[str], forbid: str):
    after = reached(text, [READS_ALL, *policies, forbid])
    if after is not None:
        before = engine_of([READS_ALL, *policies])
        assert all(before.allows(WHO, access).allowed for access in after)
        # `*` stands for the columns that are seen: where a forbid hides those that could not be read, what is left passes.
        assert "*" in text or reached(text, [READS_ALL, *policies]) is not None


def test_the_statements_tell_a_forbid_from_none():
    """What is compared above differs often enough to mean something."""
    forbid = 'forbid (principal, action, resource in Table::"shop.public.orders");'
    passed = [text for text in TEXTS[::4] if reached(text, [READS_ALL]) is not None]
    still = [text for text in passed if reached(text, [READS_ALL, forbid]) is not None]
    assert 20 < len(still) < len(passed) - 20
