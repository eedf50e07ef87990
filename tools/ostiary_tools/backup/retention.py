"""Which backups stay, and why; pure.

Whatever nobody has a reason to let go stays: what no plan is about, what is dated in the future, what another one is built on. What
was good last stays however old it is, so that time alone never leaves a datasource without a backup. To delete what may go, in any
part, changes nothing of what stays.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import Manifest

_AHEAD = timedelta(minutes=5)
"""By which clocks may differ."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long backups of a datasource stay."""

    last: int
    """The newest of each kind."""
    days: int
    weekly: int = 0
    """Of so many weeks in which there was one, the last of each kind that stands alone."""
    monthly: int = 0
    yearly: int = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """A backup, and what its newest drill said."""

    manifest: Manifest
    proven: bool = False
    failed: bool = False

    @property
    def id(self) -> str:
        """Of the backup."""
        return self.manifest.id


Reasons = Mapping[str, str]
"""By id, why a backup stays."""
_PERIODS: tuple[tuple[str, Callable[[datetime], object]], ...] = (
    ("weekly", lambda at: at.isocalendar()[:2]),
    ("monthly", lambda at: (at.year, at.month)),
    ("yearly", lambda at: at.year),
)


def staying(backups: Sequence[Tried], plans: Mapping[str, Terms], now: datetime) -> Reasons:
    """Those of all backups of a repository that stay, under the terms of each datasource; every other one may go."""
    found: dict[str, str] = {}
    for one in backups:
        if one.manifest.datasource not in plans:
            found[one.id] = "no plan says that it goes"
        elif one.manifest.started_at > now + _AHEAD:
            found[one.id] = "it is dated in the future"
    dated = sorted((one for one in backups if one.id not in found), key=_age, reverse=True)
    for datasource, terms in plans.items():
        for id_, why in _wanted([one for one in dated if one.manifest.datasource == datasource], terms, now):
            found.setdefault(id_, why)
    return _with_ancestors(found, backups)


def deletable(due: Iterable[str], backups: Sequence[Tried]) -> Sequence[str]:
    """Those on which only others of them are built, leaf to root."""
    parents = {one.id: one.manifest.parent for one in backups}
    found = set(due)
    needed = {above for one in backups if one.id not in found for above in _above(one.id, parents)}
    return leaf_to_root(found - needed, backups)


def leaf_to_root(ids: Iterable[str], backups: Sequence[Tried]) -> Sequence[str]:
    """These, each before the one that it is built on, the oldest first otherwise."""
    parents = {one.id: one.manifest.parent for one in backups}
    return sorted(ids, key=lambda id_: (-len(_above(id_, parents)), id_))


def log_needed(manifests: Iterable[Manifest]) -> Mapping[str, int]:
    """By cluster the LSN from which on its log is needed: where its oldest base begins. Of one without a base all of it is."""
    found: dict[str, int] = {}
    for made in manifests:
        if made.cluster is not None:
            begin = wal.position(made.cluster.start_lsn)
            found[made.cluster.system_identifier] = min(begin, found.get(made.cluster.system_identifier, begin))
    return found


def _wanted(newest_first: Sequence[Tried], terms: Terms, now: datetime) -> Iterator[tuple[str, str]]:
    for one in newest_first:
        if now - one.manifest.started_at < timedelta(days=terms.days):
            yield one.id, f"it is younger than {terms.days} days"
    for kind in dict.fromkeys(one.manifest.kind for one in newest_first):
        of_kind = [one for one in newest_first if one.manifest.kind is kind]
        yield from ((one.id, f"it is among the newest {terms.last} {kind} ones") for one in of_kind[: terms.last])
        yield _best(of_kind).id, f"it is the last good {kind} one"
        alone = [one for one in of_kind if one.manifest.parent is None]
        for name, period in _PERIODS:
            yield from ((one.id, f"it is kept as a {name} one") for one in _last_of_each(alone, period, getattr(terms, name)))


def _best(newest_first: Sequence[Tried]) -> Tried:
    """The newest that is proven; where none is, the newest that has not failed; else the newest."""
    proven = (one for one in newest_first if one.proven)
    untried = (one for one in newest_first if not one.failed)
    return next(proven, None) or next(untried, None) or newest_first[0]


def _last_of_each(newest_first: Sequence[Tried], period: Callable[[datetime], object], count: int) -> Iterator[Tried]:
    """Of the newest periods in which there was one."""
    grouped: dict[object, list[Tried]] = {}
    for one in newest_first:
        grouped.setdefault(period(one.manifest.started_at), []).append(one)
    return (_best(group) for group in list(grouped.values())[:count])


def _with_ancestors(found: dict[str, str], backups: Sequence[Tried]) -> Reasons:
    parents = {one.id: one.manifest.parent for one in backups}
    for id_ in tuple(found):
        for above in _above(id_, parents):
            if above in parents:
                found.setdefault(above, "another one is built on it")
    return found


def _above(id_: str, parents: Mapping[str, str | None]) -> Sequence[str]:
    """What it is built on, the nearest first; a chain that comes back to itself ends there."""
    found: list[str] = []
    while (parent := parents.get(id_)) is not None and parent not in found:
        found.append(parent)
        id_ = parent
    return found


def _age(one: Tried) -> tuple[datetime, str]:
    return one.manifest.started_at, one.id
