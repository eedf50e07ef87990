"""The world of a caller: each datasource's snapshot under today's policy.

Deciding what of a schema is visible takes tens of microseconds a column, so it is done
once per roles, policy set and schema version, away from the event loop, and kept for
as long as those are the same.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

from ostiary.columns import allowed, columns
from ostiary.meanings import MeaningsKept
from ostiary.redaction import one_line
from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Column, Datasource, Obligations, Principal, Resource, Table, Tool
from ostiary_policies.rows import ACTIONS, READ, WRITES, RowRules
from ostiary_tools import ranking
from ostiary_tools.api import Surface, World
from ostiary_tools.datasources.port import Datasource as DatasourcePort
from ostiary_tools.errors import Unavailable
from ostiary_tools.packs import Registry
from ostiary_tools.snapshot import Name, Snapshot
from ostiary_tools.sql.inside import Query, applied
from ostiary_tools.sql.inside import queries as view_queries
from ostiary_tools.sql.row_rules import Governed, governing, missing, opened, terms
from ostiary_tools.view import HashKey, RowTerms, SchemaView

_log = logging.getLogger(__name__)

_KEPT = 64
"""Views kept: (principal, policy, schema version) triples in use at once by one process."""
_PATIENCE_S = 30.0
"""For a view; clients give up a call after a minute."""
_NONE: frozenset[str] = frozenset()
_Governed = Mapping[str, Mapping[Name, Governed]]
"""By action of row rules."""
_Key = tuple[Principal, str, str, str]
"""The principal, the policy's hash, the datasource and the version of its schema."""


class Worlds:
    """Builds a caller's `World`; keeps views and names of tools, and nothing else."""

    def __init__(
        self,
        datasources: Mapping[str, DatasourcePort],
        registry: Registry,
        hash_key: HashKey | None = None,
        *,
        views: Literal["as_tables", "as_queries"] = "as_tables",
    ) -> None:
        self._datasources = datasources
        self._registry = registry
        self._hash_key = hash_key
        self._opens_views = views == "as_queries"
        self._views: OrderedDict[_Key, SchemaView] = OrderedDict()
        self._making: dict[_Key, asyncio.Task[SchemaView]] = {}
        self._callable: OrderedDict[tuple[Principal, str], tuple[str, ...]] = OrderedDict()
        self._governed: OrderedDict[tuple[str, str, str], _Governed] = OrderedDict()
        self._queries: dict[str, tuple[str, Mapping[Name, Query]]] = {}
        self._meanings = MeaningsKept()
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
        meanings = {name: found for name, view in views.items() if (found := self._meanings.of(view.snapshot)) is not None}
        return World(who, views, unavailable, self._names(engine, who), meanings=meanings)

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
            view = await self._made(key, engine, snapshot)
        elif view.snapshot is not snapshot:
            view = replace(view, snapshot=snapshot, kept={})
        self._keep(key, view)
        return view

    def _keep(self, key: _Key, view: SchemaView) -> None:
        self._views[key] = view
        self._views.move_to_end(key)
        while len(self._views) > _KEPT:
            self._views.popitem(last=False)

    async def _made(self, key: _Key, engine: Engine, snapshot: Snapshot) -> SchemaView:
        """A new view, made once for all calls that wait for it; who waits too long is told, and the next call may find it."""
        if (making := self._making.get(key)) is None:
            self._making[key] = making = asyncio.create_task(self._make(key, engine, snapshot))
            making.add_done_callback(lambda _: self._making.pop(key, None))
        done, _ = await asyncio.wait({making}, timeout=_PATIENCE_S)
        if not done:
            raise Unavailable("what you may see of it is still being worked out")
        return making.result()

    async def _make(self, key: _Key, engine: Engine, snapshot: Snapshot) -> SchemaView:
        governed = await self._governing(engine, snapshot)
        queries = await self._queried(snapshot) if self._opens_views else None
        alike = tuple(kept for kept in self._views.values() if kept.snapshot is snapshot)
        view = await asyncio.to_thread(
            _judge_schema, engine, key[0], snapshot, governed, queries=queries, hash_key=self._hash_key, kept=alike
        )
        self._forget_before(snapshot)
        self._keep(key, view)
        return view

    async def _governing(self, engine: Engine, snapshot: Snapshot) -> _Governed:
        """What row rules govern; once for everybody, and whoever asks meanwhile waits for it."""
        rules = engine.policies.row_rules
        if not rules.rules:
            return {}
        key = (engine.policy_hash, snapshot.datasource, snapshot.version)
        async with self._one_at_a_time:
            if key not in self._governed:
                before = [found for known, found in self._governed.items() if known[1] == snapshot.datasource]
                self._governed[key] = found = await asyncio.to_thread(_governing, rules, snapshot, before[-1] if before else {})
                for problem in dict.fromkeys(problem for one in _each(found) for problem in one.problems):
                    _log.warning("a table is closed to everybody, because its row rules do not fit it: %s", one_line(str(problem)))
                for problem in missing(rules, snapshot):
                    _log.warning("row rules govern nothing: %s", one_line(str(problem)))
            self._governed.move_to_end(key)
            while len(self._governed) > _KEPT:
                self._governed.popitem(last=False)
            return self._governed[key]

    async def _queried(self, snapshot: Snapshot) -> Mapping[Name, Query]:
        """The queries of a datasource's views; once for everybody."""
        async with self._one_at_a_time:
            version, found = self._queries.get(snapshot.datasource, ("", {}))
            if version != snapshot.version:
                found = await asyncio.to_thread(view_queries, snapshot)
                self._queries[snapshot.datasource] = (snapshot.version, found)
            return found

    def misfits(self, engine: Engine) -> tuple[str, ...]:
        """What keeps row rules from being kept, of the schemas that were looked at, each in a line."""
        governed = [one for key, found in self._governed.items() if key[0] == engine.policy_hash for one in _each(found)]
        return tuple(dict.fromkeys(one_line(str(problem)) for one in governed for problem in one.problems))

    def _forget_before(self, snapshot: Snapshot) -> None:
        """Views of another version hold their whole snapshot, and no call asks for them again."""
        for key in [key for key in self._views if key[2] == snapshot.datasource and key[3] != snapshot.version]:
            del self._views[key]
        for old in [old for old in self._governed if old[1] == snapshot.datasource and old[2] != snapshot.version]:
            del self._governed[old]


def _governing(rules: RowRules, snapshot: Snapshot, before: _Governed) -> _Governed:
    return {action: governing(rules.of(action), snapshot, before.get(action, {})) for action in ACTIONS}


def _each(governed: _Governed) -> Iterator[Governed]:
    return (one for by_name in governed.values() for one in by_name.values())


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
    engine: Engine,
    who: Principal,
    snapshot: Snapshot,
    governed: _Governed,
    *,
    queries: Mapping[Name, Query] | None,
    hash_key: HashKey | None,
    kept: Iterable[SchemaView],
) -> SchemaView:
    ranking.prepare(snapshot)
    resources = tuple(snapshot.resources())
    readable = allowed(engine, who, Action.READ, (r for r in resources if isinstance(r, Table | Column)))
    found = columns(engine, who, snapshot, readable, hashes=hash_key is not None)
    # Who reads a table knows nothing of what it can read in no way; who only sees the table has its whole outline.
    visible = allowed(engine, who, Action.SEE, resources) - found.hidden
    read = governed.get(READ, {})
    rows = terms(read if queries is None else opened(read), who)
    view = SchemaView(
        snapshot, visible, found.readable, masked=found.masked, rows=rows, writes=_write_terms(governed, who), hash_key=hash_key
    )
    stated = {resource: [engine.allows(who, one).obligations for one in reads] for resource, reads in _reads(view)}
    view = replace(
        view,
        approved=frozenset(one for one, all_terms in stated.items() if any(_asks(each) for each in all_terms)),
        tainting={one: taints for one, all_terms in stated.items() if (taints := _NONE.union(*(t.taints for t in all_terms)))},
        apart=frozenset(one for one, all_terms in stated.items() if any(each.replica is not None for each in all_terms)),
    )
    if queries is not None:
        view = applied(view, queries, frozenset(name for name, one in read.items() if one.rules))
    # Callers who see the same share one view, and with it all that is remembered of it. What it is remembered by is hashed here,
    # since of a hundred thousand columns that takes long enough to hold up others.
    hash((view.visible, view.readable, view.narrowed))
    return next((one for one in kept if one == view), view)


def _asks(terms: Obligations) -> bool:
    """Whether a call that changes nothing waits for a human."""
    return any(approval.above_rows is None for approval in terms.approvals)


def _write_terms(governed: _Governed, who: Principal) -> Mapping[tuple[str, Name], RowTerms]:
    return {
        (word.value, name): one
        for word, action in WRITES.items()
        for name, one in terms(opened(governed.get(action, {})), who).items()
    }


def _reads(view: SchemaView) -> Iterator[tuple[Resource, frozenset[Access]]]:
    """Each table and column that the caller may read, as it is or masked, with what reading it is."""
    for relation in view.snapshot.relations.values():
        if relation.resource(view.datasource) in view.readable:
            reads = (view.reading(relation, column) for column in view.columns(relation))
            for access in (Access(Action.READ, relation.resource(view.datasource)), *reads):
                if access is not None:
                    yield access.resource, view.of_wholes([access])
