"""What of a live schema a role gains and loses when other policies come into force.

Tables and columns, to see and to read; and of which tables it would have other rows,
as far as that can be told without looking at any.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ostiary.worlds import Worlds
from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.entities import resource_id
from ostiary_policies.model import Column, Principal, Resource, Table
from ostiary_policies.rows import WRITES
from ostiary_tools.api import World
from ostiary_tools.snapshot import Name
from ostiary_tools.view import SchemaView

Granted = Mapping[Action, frozenset[Resource]]


@dataclass(frozen=True, slots=True)
class Shift:
    """Of one role: ids of tables and columns, sorted, by what may be done; nothing where nothing changes."""

    role: str
    gained: Mapping[str, tuple[str, ...]]
    lost: Mapping[str, tuple[str, ...]]
    other_rows: tuple[str, ...] = ()
    """Tables that it may read before and after, with other row rules, for reading or for writing, by their ids."""


async def shifts(worlds: Worlds, datasource: str, before: Engine, after: Engine) -> list[Shift]:
    """Of every role that either set names and for which anything changes; an agent without a name and without attributes."""
    found = []
    for role in sorted(before.roles | after.roles):
        who = Principal("", (role,))
        old, new = [await worlds.world(engine, who) for engine in (before, after)]
        held, holds = _granted(old, datasource), _granted(new, datasource)
        shift = Shift(role, _beyond(holds, held), _beyond(held, holds), other_rows(old, new, datasource))
        if shift.gained or shift.lost or shift.other_rows:
            found.append(shift)
    return found


def other_rows(before: World, after: World, datasource: str) -> tuple[str, ...]:
    """Ids of the tables that both may read and of which one may have rows that the other has not, sorted."""
    views = [world.views[datasource] for world in (before, after) if datasource in world.views]
    if len(views) != len((before, after)):
        return ()
    old, new = views
    both = {(one.schema, one.name): resource_id(one) for one in old.readable & new.readable if isinstance(one, Table)}
    return tuple(sorted(id_ for name, id_ in both.items() if _rows(old, name) != _rows(new, name)))


def _rows(view: SchemaView, name: Name) -> str:
    """Equal for equal rows, to read and to write; without rules there is nothing to say."""
    every = (view.rows.get(name), *(view.writes.get((word.value, name)) for word in WRITES))
    return " / ".join("TRUE" if terms is None else terms.predicate for terms in every)


def _granted(world: World, datasource: str) -> Granted:
    view = world.views.get(datasource)
    if view is None:
        return {Action.SEE: frozenset(), Action.READ: frozenset(), Action.READ_MASKED: frozenset()}
    return {
        Action.SEE: _tables(view.visible),
        Action.READ: _tables(view.readable & view.visible),
        Action.READ_MASKED: _tables(view.masked.keys() & view.visible),
    }


def _tables(resources: Iterable[Resource]) -> frozenset[Resource]:
    return frozenset(resource for resource in resources if isinstance(resource, Table | Column))


def _beyond(more: Granted, less: Granted) -> dict[str, tuple[str, ...]]:
    beyond = {action.value: tuple(sorted(map(resource_id, more[action] - less[action]))) for action in more}
    return {action: ids for action, ids in beyond.items() if ids}
