"""What of a live schema a role gains and loses when other policies come into force: tables and columns, to see and to read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ostiary.worlds import Worlds
from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.entities import resource_id
from ostiary_policies.model import Column, Principal, Resource, Table
from ostiary_tools.api import World

Granted = Mapping[Action, frozenset[Resource]]


@dataclass(frozen=True, slots=True)
class Shift:
    """Of one role: ids of tables and columns, sorted, by what may be done; nothing where nothing changes."""

    role: str
    gained: Mapping[str, tuple[str, ...]]
    lost: Mapping[str, tuple[str, ...]]


async def shifts(worlds: Worlds, datasource: str, before: Engine, after: Engine) -> list[Shift]:
    """Of every role that either set names and for which anything changes; an agent without a name and without attributes."""
    found = []
    for role in sorted(before.roles | after.roles):
        who = Principal("", (role,))
        old, new = [_granted(await worlds.world(engine, who), datasource) for engine in (before, after)]
        shift = Shift(role, _beyond(new, old), _beyond(old, new))
        if shift.gained or shift.lost:
            found.append(shift)
    return found


def _granted(world: World, datasource: str) -> Granted:
    view = world.views.get(datasource)
    if view is None:
        return {Action.SEE: frozenset(), Action.READ: frozenset()}
    return {Action.SEE: _tables(view.visible), Action.READ: _tables(view.readable & view.visible)}


def _tables(resources: Iterable[Resource]) -> frozenset[Resource]:
    return frozenset(resource for resource in resources if isinstance(resource, Table | Column))


def _beyond(more: Granted, less: Granted) -> dict[str, tuple[str, ...]]:
    beyond = {action.value: tuple(sorted(map(resource_id, more[action] - less[action]))) for action in more}
    return {action: ids for action, ids in beyond.items() if ids}
