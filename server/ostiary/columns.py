"""What a caller gets of each column of the tables it may read: its values, a mask, or nothing.

Rows of a partition, or of a table that inherits, are rows of the whole too. So of a column that a part has from a table
that the caller may read, it shows no more than that table does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.masks import Mask, strictest
from ostiary_policies.model import Access, Column, Principal, Resource
from ostiary_tools.ancestry import ancestors
from ostiary_tools.snapshot import ColumnInfo, Snapshot
from ostiary_tools.sql.masking import takes

_CHUNK = 200
"""Decisions taken before the thread lets others run: about 5 ms."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Of tables that the caller may read."""

    readable: frozenset[Resource]
    """With the tables themselves."""
    masked: Mapping[Column, Mask]
    hidden: frozenset[Column]
    """They do not exist for the caller."""


def columns(engine: Engine, who: Principal, snapshot: Snapshot, readable: frozenset[Resource], *, hashes: bool) -> Columns:
    """What the caller gets, when policies alone let it read these. `hashes` says that there is a key for hash masks."""
    lowered = list(_lowered(snapshot, readable))
    wholes = {column: above for column, _, above in lowered}
    candidates = {**dict(_unread(snapshot, readable)), **{column: info for column, info, _ in lowered}}
    may = allowed(engine, who, Action.READ_MASKED, candidates)
    stated = {column: _mask(engine, who, (column, *wholes.get(column, ()))) for column in candidates if column in may}
    masked = {
        column: mask
        for column, mask in stated.items()
        if mask is not None and takes(mask, candidates[column], snapshot.types, hashes=hashes)
    }
    return Columns(readable - frozenset(wholes), masked, frozenset(candidates.keys() - masked.keys()))


def _mask(engine: Engine, who: Principal, columns: Sequence[Column]) -> Mask | None:
    """The mask that shows least of a column and of the same in its wholes; `None` where one of them has none."""
    masks = [mask for column in columns if (mask := engine.mask(who, column)) is not None]
    return strictest(masks) if len(masks) == len(columns) else None


def allowed(engine: Engine, who: Principal, action: Action, resources: Iterable[Resource]) -> frozenset[Resource]:
    """Those of them of which the caller may do so."""
    accesses = [Access(action, resource) for resource in resources]
    for start in range(0, len(accesses), _CHUNK):
        engine.judge_many(who, accesses[start : start + _CHUNK])
    return frozenset(access.resource for access in accesses if engine.allows(who, access).allowed)


def _unread(snapshot: Snapshot, readable: frozenset[Resource]) -> Iterable[tuple[Column, ColumnInfo]]:
    """Columns of readable tables that are not readable themselves."""
    for relation in snapshot.relations.values():
        if relation.resource(snapshot.datasource) in readable:
            for column in relation.columns:
                resource = relation.column_resource(snapshot.datasource, column)
                if resource not in readable:
                    yield resource, column


def _lowered(snapshot: Snapshot, readable: frozenset[Resource]) -> Iterable[tuple[Column, ColumnInfo, list[Column]]]:
    """Columns of parts, with the same of wholes that are readable where it is not."""
    for name, tops in ancestors(snapshot).items():
        part = snapshot.relations[name]
        if part.resource(snapshot.datasource) not in readable:
            continue
        wholes = [top for top in map(snapshot.relations.__getitem__, tops) if top.resource(snapshot.datasource) in readable]
        for column in part.columns:
            above = [top.column_resource(snapshot.datasource, same) for top in wholes if (same := top.column(column.name))]
            if unread := [one for one in above if one not in readable]:
                yield part.column_resource(snapshot.datasource, column), column, unread
