"""The world of a caller: each datasource's snapshot under today's policy.

Deciding what of a schema is visible takes tens of microseconds a column, so it is done
once per roles, policy set and schema version, away from the event loop, and kept for
as long as those are the same.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ostiary.columns import allowed, columns
from ostiary.redaction import one_line
from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Column, Datasource, Principal, Resource, Table, Tool
from ostiary_tools import ranking
from ostiary_tools.api import Surface, World
from ostiary_tools.datasources.port import Datasource as DatasourcePort
from ostiary_tools.errors import Unavailable
from ostiary_tools.packs import Registry
from ostiary_tools.snapshot import Name, Snapshot
from ostiary_tools.sql.row_rules import Governed, governing, missing, terms
from ostiary_tools.view import HashKey, SchemaView

_log = logging.getLogger(__name__)

_KEPT = 64
"""Views kept: (principal, policy, schema version) triples in use at once by one process."""


class Worlds:
    """Builds a caller's `World`; keeps views and names of tools, and nothing else."""

    def __init__(self, datasources: Mapping[str, DatasourcePort], registry: Registry, hash_key: HashKey | None = None) -> None:
        self._datasources = datasources
        self._registry = registry
        self._hash_key = hash_key
        self._views: OrderedDict[tuple[Principal, str, str, str], SchemaView] = OrderedDict()
        self._callable: OrderedDict[tuple[Principal, str], tuple[str, ...]] = OrderedDict()
        self._governed: OrderedDict[tuple[str, str, str], Mapping[Name, Governed]] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()

    async def world(self, engine: Engine, who: Principal) -> World:
        """What this caller may look at now. Datasources it may not see are not in it."""
        views: dict[str, SchemaView] = {}
        unavailable: dict[str, str] = {}
        for name, datasource in self._datasources.items():
            if not engine.allows(who, Access(Action.SEE, Datasource(name))).allowed:
                continue
            try:
                views[name] = await self._view(engine, who, await datasource.snapshot())
            except Unavailable as error:
                unavailable[name] = error.message
        return World(who, views, unavailable, self._names(engine, who))

    def _names(self, engine: Engine, who: Principal) -> tuple[str, ...]:
        key = (who, engine.policy_hash)
        if key not in self._callable:
            self._callable[key] = tuple(callable_names(engine, who, self._registry))
            while len(self._callable) > _KEPT:
                self._callable.popitem(last=False)
        return self._callable[key]

    async def _view(self, engine: Engine, who: Principal, snapshot: Snapshot) -> SchemaView:
        key = (who, engine.policy_hash, snapshot.datasource, snapshot.version)
        view = self._views.get(key)
        if view is None:
            governed = await self._governing(engine, snapshot)
            view = await asyncio.to_thread(_judge_schema, engine, who, snapshot, governed, self._hash_key)
            self._forget_before(snapshot)
        elif view.snapshot is not snapshot:
            view = replace(view, snapshot=snapshot, kept={})
        self._views[key] = view
        self._views.move_to_end(key)
        while len(self._views) > _KEPT:
            self._views.popitem(last=False)
        return view

    async def _governing(self, engine: Engine, snapshot: Snapshot) -> Mapping[Name, Governed]:
        """What row rules govern; once for everybody, and whoever asks meanwhile waits for it."""
        rules = engine.policies.row_rules
        if not rules.rules:
            return {}
        key = (engine.policy_hash, snapshot.datasource, snapshot.version)
        async with self._one_at_a_time:
            if key not in self._governed:
                before = [found for known, found in self._governed.items() if known[1] == snapshot.datasource]
                self._governed[key] = found = await asyncio.to_thread(governing, rules, snapshot, before[-1] if before else {})
                for problem in dict.fromkeys(problem for one in found.values() for problem in one.problems):
                    _log.warning("a table is closed to everybody, because its row rules do not fit it: %s", one_line(str(problem)))
                for problem in missing(rules, snapshot):
                    _log.warning("row rules govern nothing: %s", one_line(str(problem)))
            self._governed.move_to_end(key)
            while len(self._governed) > _KEPT:
                self._governed.popitem(last=False)
            return self._governed[key]

    def misfits(self, engine: Engine) -> tuple[str, ...]:
        """What keeps row rules from being kept, of the schemas that were looked at, each in a line."""
        governed = [one for key, found in self._governed.items() if key[0] == engine.policy_hash for one in found.values()]
        return tuple(dict.fromkeys(one_line(str(problem)) for one in governed for problem in one.problems))

    def _forget_before(self, snapshot: Snapshot) -> None:
        """Views of another version hold their whole snapshot, and no call asks for them again."""
        for key in [key for key in self._views if key[2] == snapshot.datasource and key[3] != snapshot.version]:
            del self._views[key]
        for old in [old for old in self._governed if old[1] == snapshot.datasource and old[2] != snapshot.version]:
            del self._governed[old]


def callable_names(engine: Engine, who: Principal, registry: Registry) -> list[str]:
    """Names of the tools, prompts and resources this caller may call, in order."""
    return sorted(
        {
            name
            for surface, name in registry
            if surface in (Surface.TOOL, Surface.PROMPT, Surface.RESOURCE)
            and engine.allows(who, Access(Action.CALL, Tool(name))).allowed
        }
    )


def _judge_schema(
    engine: Engine, who: Principal, snapshot: Snapshot, governed: Mapping[Name, Governed], hash_key: HashKey | None
) -> SchemaView:
    ranking.prepare(snapshot)
    resources = tuple(resources_of(snapshot))
    readable = allowed(engine, who, Action.READ, (r for r in resources if _has_values(r)))
    found = columns(engine, who, snapshot, readable, hashes=hash_key is not None)
    # Who reads a table knows nothing of what it can read in no way; who only sees the table has its whole outline.
    visible = allowed(engine, who, Action.SEE, resources) - found.hidden
    return SchemaView(snapshot, visible, found.readable, masked=found.masked, rows=terms(governed, who), hash_key=hash_key)


def resources_of(snapshot: Snapshot) -> Iterable[Resource]:
    """All that is decided of a schema, once for each caller."""
    for schema in snapshot.schemas:
        yield snapshot.schema_resource(schema)
    for relation in snapshot.relations.values():
        yield relation.resource(snapshot.datasource)
        for column in relation.columns:
            yield relation.column_resource(snapshot.datasource, column)
    for schema, name in snapshot.functions:
        if schema not in ("pg_catalog", "information_schema"):
            yield snapshot.function_resource(schema, name)


def _has_values(resource: Resource) -> bool:
    return isinstance(resource, Table | Column)
