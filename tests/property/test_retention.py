"""What retention never lets go, whatever there is and whatever the plan says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ostiary_tools.backup.manifest import ClusterFacts, Kind, Manifest
from ostiary_tools.backup.retention import Terms, Tried, deletable, leaf_to_root, log_needed, staying

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KINDS = (Kind.LOGICAL, Kind.FULL)


def backup(number: int, ago: timedelta, kind: Kind = Kind.FULL, datasource: str = "shop", parent: str | None = None) -> Manifest:
    at = NOW - ago
    facts = ClusterFacts("7300", 1, f"0/{number + 1:X}00000", f"0/{number + 1:X}80000", None) if kind is Kind.FULL else None
    id_ = f"{at:%Y%m%dT%H%M%SZ}-{number:08x}"
    return Manifest(id_, kind, datasource, f"job {number}", at, at, "18.6", (), None, facts, parent=parent)


@st.composite
def repositories(draw: st.DrawFn, earliest: int = -100) -> list[Tried]:
    """Chains among them, those of another datasource and those that were dated by a wrong clock."""
    made: list[Tried] = []
    for number in range(draw(st.integers(0, 14))):
        ago = timedelta(hours=draw(st.integers(earliest, 24 * 800)))
        parent = draw(st.none() | st.sampled_from([one.id for one in made])) if made else None
        one = backup(number, ago, draw(st.sampled_from(KINDS)), draw(st.sampled_from(["shop", "crm"])), parent)
        made.append(draw(st.sampled_from([Tried(one), Tried(one, proven=True), Tried(one, failed=True)])))
    return made


TERMS = st.builds(Terms, *(st.integers(1, 20), st.integers(1, 400)), *(st.integers(0, 5),) * 3)
PLANS = st.dictionaries(st.sampled_from(["shop", "crm"]), TERMS)


@given(repositories(), PLANS)
def test_the_last_good_one_of_each_kind_stays_however_old_it_is(backups: list[Tried], plans: Mapping[str, Terms]):
    stays = staying(backups, plans, NOW)
    for datasource in ("shop", "crm"):
        for kind in KINDS:
            of = [one for one in past(backups) if (one.manifest.datasource, one.manifest.kind) == (datasource, kind)]
            for good in ([one for one in of if one.proven], [one for one in of if not one.failed], of):
                if good:
                    assert newest(good).id in stays
                    break


@given(repositories(), PLANS)
def test_nothing_goes_that_another_one_which_stays_is_built_on(backups: list[Tried], plans: Mapping[str, Terms]):
    stays = staying(backups, plans, NOW)
    assert {one.manifest.parent for one in backups if one.id in stays} - {None} <= stays.keys()


@given(repositories(), PLANS)
def test_what_is_new_what_has_no_plan_and_what_is_dated_in_the_future_stays(backups: list[Tried], plans: Mapping[str, Terms]):
    stays = staying(backups, plans, NOW)
    for one in backups:
        terms = plans.get(one.manifest.datasource)
        if terms is None or NOW - one.manifest.started_at < timedelta(days=terms.days):
            assert one.id in stays
    for datasource, terms in plans.items():
        for kind in KINDS:
            of = [one for one in past(backups) if (one.manifest.datasource, one.manifest.kind) == (datasource, kind)]
            assert {one.id for one in sorted(of, key=at)[-terms.last :]} <= stays.keys()


@given(repositories(), PLANS, st.data())
def test_to_delete_some_of_what_may_go_leaf_to_root_changes_nothing_of_what_stays(
    backups: list[Tried], plans: Mapping[str, Terms], data: st.DataObject
):
    stays = staying(backups, plans, NOW)
    goes = leaf_to_root((one.id for one in backups if one.id not in stays), backups)
    gone = set(goes[: data.draw(st.integers(0, len(goes)))])
    left = [one for one in backups if one.id not in gone]
    assert staying(left, plans, NOW) == stays
    ids = {one.id for one in left}
    assert all(one.manifest.parent in ids for one in left if one.manifest.parent is not None)


@given(repositories(), st.data())
def test_of_what_is_due_only_that_goes_on_which_nothing_that_is_not_due_is_built(backups: list[Tried], data: st.DataObject):
    due = set(data.draw(st.lists(st.sampled_from([one.id for one in backups])))) if backups else set()
    gone = set(deletable(due, backups))
    assert gone <= due
    assert all(one.manifest.parent not in gone for one in backups if one.id not in gone)
    assert {id_ for id_ in due if not any(one.manifest.parent == id_ for one in backups)} <= gone, "leaves go"


@given(repositories(), TERMS, st.sampled_from(["last", "days", "weekly", "monthly", "yearly"]), st.integers(1, 30))
def test_more_of_any_term_never_lets_go_more(backups: list[Tried], terms: Terms, name: str, more: int):
    larger = replace(terms, **{name: getattr(terms, name) + more})
    assert staying(backups, {"shop": terms}, NOW).keys() <= staying(backups, {"shop": larger}, NOW).keys()


@given(repositories(earliest=0), PLANS, st.integers(0, 24 * 900))
def test_what_may_go_may_go_later_too(backups: list[Tried], plans: Mapping[str, Terms], hours: int):
    later = staying(backups, plans, NOW + timedelta(hours=hours))
    assert later.keys() <= staying(backups, plans, NOW).keys()


@given(repositories(), PLANS)
def test_the_log_is_needed_from_the_oldest_base_that_there_is(backups: list[Tried], plans: Mapping[str, Terms]):
    stays = staying(backups, plans, NOW)
    bases = [one.manifest for one in backups if one.id in stays and one.manifest.kind is Kind.FULL]
    begins = [int(one.cluster.start_lsn.partition("/")[2], 16) for one in bases if one.cluster]
    assert log_needed(bases) == ({"7300": min(begins)} if begins else {})


def test_a_chain_that_comes_back_to_itself_ends():
    one, other = backup(1, timedelta(days=900)), backup(2, timedelta(days=901))
    ring = [Tried(replace(one, parent=other.id)), Tried(replace(other, parent=one.id))]
    assert len(staying(ring, {"shop": Terms(1, 1)}, NOW)) == 2
    assert sorted(leaf_to_root([one.id, other.id], ring)) == sorted([one.id, other.id])


def test_fathers_and_grandfathers_are_the_last_of_their_weeks_months_and_years_that_did_not_fail():
    daily = [Tried(backup(n, timedelta(days=n)), failed=n == 22) for n in range(800)]
    stays = staying(daily, {"shop": Terms(last=1, days=2, weekly=3, monthly=2, yearly=3)}, NOW)
    days = sorted((at(one) for one in daily if one.id in stays), reverse=True)
    assert [f"{day:%Y-%m-%d}" for day in days] == [
        *("2026-11-22", "2026-11-21"),  # young, the newest, this week, month and year
        *("2026-11-15", "2026-11-08"),  # weeks
        "2026-10-30",  # of October the 31st failed
        *("2025-12-31", "2024-12-31"),
    ]


def past(backups: Sequence[Tried]) -> list[Tried]:
    return [one for one in backups if at(one) <= NOW]


def newest(backups: Sequence[Tried]) -> Tried:
    return max(backups, key=lambda one: (at(one), one.id))


def at(one: Tried) -> datetime:
    return one.manifest.started_at
