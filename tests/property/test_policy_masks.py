"""What must hold of masks whatever the policies are: no change that is meant to take away shows more."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary_policies.actions import Action
from ostiary_policies.cedar import PolicySet
from ostiary_policies.engine import Engine
from ostiary_policies.masks import Mask, parse, strictest
from ostiary_policies.model import Access, Column, Principal

COLUMNS = [
    Column("shop", "public", table, name, frozenset(tags), frozenset(table_tags))
    for table, table_tags in (("t", ()), ("u", ("secret",)))
    for name, tags in (("a", ()), ("b", ("pii",)), ("c", ("pii", "secret")))
]
PRINCIPALS = st.builds(
    Principal, st.sampled_from(["a", "b"]), st.frozensets(st.sampled_from("rs"), max_size=2).map(lambda r: tuple(sorted(r)))
)
MASKS = (
    "null",
    "constant:x",
    "constant:y",
    "redact",
    "shape",
    "hash",
    "year",
    "month",
    "bucket:10",
    "bucket:9",
    "email",
    "first:1",
    "first:3",
)
MASKED, READ = 1, 2

_WHERE = (
    "resource",
    "resource is Column",
    'resource in Table::"shop.public.t"',
    'resource == Column::"shop.public.t.b"',
    'resource == Column::"shop.public.u.c"',
)
_WHO = st.sampled_from(['principal in Role::"r"', 'principal in Role::"s"', 'principal == Agent::"b"'])
_WHEN = st.sampled_from(
    [
        "",
        'when { principal in Role::"s" }',
        'unless { resource has table_tags && resource.table_tags.contains("secret") }',
        'when { resource.tags.contains("pii") }',
    ]
)
MASKING = st.builds(
    '@mask("{}") permit ({}, action == Action::"read_masked", {}) {};'.format,
    st.sampled_from(MASKS),
    _WHO,
    st.sampled_from(_WHERE[1:]),
    _WHEN,
)
READING = st.builds('permit ({}, action == Action::"read", {}) {};'.format, _WHO, st.sampled_from(_WHERE), _WHEN)
FORBIDDING = st.builds(
    "forbid ({}, {}, {}) {};".format,
    st.just("principal") | _WHO,
    st.sampled_from(
        ['action == Action::"read"', 'action == Action::"read_masked"', 'action in [Action::"read", Action::"read_masked"]']
    ),
    st.sampled_from(_WHERE),
    _WHEN,
)
# Tables are read and seen, so that columns have something to differ by.
_FIRST = 'permit (principal in Role::"r", action in [Action::"see", Action::"read"], resource is Table);'
_SEES = 'permit (principal in Role::"r", action == Action::"see", resource);'
SETS = st.lists(MASKING | READING | FORBIDDING, max_size=5).map(lambda policies: [_FIRST, _SEES, *policies])


def _engine(policies: list[str]) -> Engine:
    return Engine(PolicySet.parse({"f": "\n".join(f'@id("p{n}") {policy}' for n, policy in enumerate(policies))}))


def _shown(engine: Engine, who: Principal) -> list[tuple[int, Mask | None]]:
    """How much of each column there is for the agent, and its mask."""
    found: list[tuple[int, Mask | None]] = []
    for column in COLUMNS:
        mask = engine.mask(who, column)
        found.append((READ, None) if engine.allows(who, Access(Action.READ, column)).allowed else (MASKED if mask else 0, mask))
    return found


@settings(deadline=None, max_examples=40)
@given(SETS, FORBIDDING, PRINCIPALS)
def test_adding_a_forbid_never_shows_more_of_a_column_nor_under_a_weaker_mask(
    policies: list[str], forbid: str, who: Principal
) -> None:
    for (before, mask), (after, other) in zip(
        _shown(_engine(policies), who), _shown(_engine([*policies, forbid]), who), strict=True
    ):
        assert after <= before
        assert other is None or before == READ or other == mask


@settings(deadline=None, max_examples=40)
@given(SETS, MASKING | READING, PRINCIPALS)
def test_removing_a_permit_never_shows_a_column_that_was_not_shown_nor_a_value_that_was_masked(
    policies: list[str], permit: str, who: Principal
) -> None:
    """Of several masks the strictest holds, so without its permit a weaker one may: a mask is a term, as a limit is."""
    for (before, _), (after, _) in zip(_shown(_engine([*policies, permit]), who), _shown(_engine(policies), who), strict=True):
        assert after <= before


@settings(deadline=None, max_examples=40)
@given(SETS, MASKING, PRINCIPALS)
def test_adding_a_mask_never_takes_the_place_of_a_stricter_one(policies: list[str], permit: str, who: Principal) -> None:
    for (before, mask), (after, other) in zip(
        _shown(_engine(policies), who), _shown(_engine([*policies, permit]), who), strict=True
    ):
        assert after == max(before, after)
        assert (before, after) == (MASKED, MASKED) or before != MASKED
        if mask is not None and other is not None:
            assert strictest([mask, other]) == other


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(MASKS).map(parse), min_size=1))
def test_the_strictest_of_masks_does_not_depend_on_their_order(masks: list[Mask]) -> None:
    assert strictest(masks) == strictest(reversed(masks)) == strictest([*masks, *masks])
    assert strictest(masks) in masks
