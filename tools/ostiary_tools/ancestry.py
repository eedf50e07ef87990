"""Which relations are parts of which: partitions, and tables that inherit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ostiary_tools.snapshot import Name, Snapshot

Kin = Mapping["Name", Collection["Name"]]
"""Relation → others, near and far."""


def ancestors(snapshot: Snapshot) -> Kin:
    """Each part → all that it is a part of: partitioned tables, and tables that it inherits from."""
    known = snapshot.relations
    parents = {name: [one for one in detail.parents if one in known] for name, detail in snapshot.details.relations.items()}
    found = {name: reached(name, parents) for name, direct in parents.items() if direct and name in known}
    return {name: tops for name, tops in found.items() if tops}


def descendants(above: Kin) -> Kin:
    """The same the other way round."""
    below: defaultdict[Name, list[Name]] = defaultdict(list)
    for part, tops in above.items():
        for top in tops:
            below[top].append(part)
    return below


def reached(start: Name, steps: Kin) -> Collection[Name]:
    """All that is reached from there, the start not among it."""
    seen: dict[Name, None] = {}
    ahead = list(steps.get(start, ()))
    while ahead:
        name = ahead.pop()
        if name not in seen and name != start:
            seen[name] = None
            ahead += steps.get(name, ())
    return seen.keys()
