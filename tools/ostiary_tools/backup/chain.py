"""The backups that one is made of: a full one, and after it each that holds what has changed since the one before.

A link that does not fit is damage: what is put together of such backups could be started, and would hold what never was.
"""

from collections.abc import Mapping
from typing import TypeVar

from ostiary_tools.backup.manifest import ClusterFacts, Manifest
from ostiary_tools.backup.port import Kept
from ostiary_tools.backup.wal import position
from ostiary_tools.errors import Damaged

K = TypeVar("K", bound=Kept)
_HINT = "use another backup, and take a full one"


def chain(kept: K) -> tuple[K, ...]:
    """The full one first, the backup itself last; one that needs no other is alone. Blocking. Raises Damaged where it is broken."""
    found = [kept]
    while (parent := found[0].parent()) is not None:
        _fit(parent.manifest, found[0].manifest)
        found.insert(0, parent)
    return tuple(found)


def stated(manifest: Manifest, others: Mapping[str, Manifest]) -> tuple[Manifest, ...]:
    """Likewise by what these say of themselves, by id."""
    found = [manifest]
    while (id_ := found[0].parent) is not None:
        if id_ not in others:
            raise Damaged(id_, f"the backup `{id_}`, which it needs, is missing or damaged", _HINT)
        _fit(others[id_], found[0])
        found.insert(0, others[id_])
    return tuple(found)


def _fit(parent: Manifest, child: Manifest) -> None:
    """The log goes on from one to the next, so that no chain comes back to where it began."""
    before, after = parent.cluster, child.cluster
    fits = (
        before is not None
        and after is not None
        and parent.kind.physical
        and parent.datasource == child.datasource
        and _history(before) == _history(after)
        and _major(parent) == _major(child)
        and position(before.start_lsn) < position(after.start_lsn)
    )
    if not fits:
        raise Damaged(child.id, f"the backup `{child.id}` does not go on from `{parent.id}`, which it names", _HINT)


def _history(facts: ClusterFacts) -> tuple[str, int]:
    return facts.system_identifier, facts.timeline


def _major(manifest: Manifest) -> str:
    return manifest.server_version.partition(".")[0]
