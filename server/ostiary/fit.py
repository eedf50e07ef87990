"""Whether row rules fit the databases they speak of: asked of live schemas, before a set comes into force and by its owner."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from ostiary_policies.rows import RowRules
from ostiary_tools.datasources.port import Datasource
from ostiary_tools.errors import Unavailable
from ostiary_tools.snapshot import Snapshot
from ostiary_tools.sql.inside import queries
from ostiary_tools.sql.row_rules import Findings, findings


@dataclass(frozen=True, slots=True)
class Fit:
    """What was found, and where."""

    findings: Findings
    versions: Mapping[str, str]
    """Each datasource that was looked at → the version of its schema."""
    unseen: Mapping[str, str]
    """Datasources that rules name and that cannot be looked at → why."""


async def fit(rules: RowRules, datasources: Mapping[str, Datasource], *, inside_views: bool = False) -> Fit:
    """Hold every rule against the tables as they are now."""
    snapshots, unseen = await _looked_at(rules, datasources, anew=True)
    found = await asyncio.to_thread(findings, rules, snapshots, unseen, inside_views=inside_views)
    return Fit(found, _versions(snapshots), unseen)


async def unjudged(datasources: Mapping[str, Datasource]) -> tuple[str, ...]:
    """Views into whose queries no policy reaches, each with the reason in a line. Raises Unavailable."""
    told: list[str] = []
    for name, datasource in datasources.items():
        found = await asyncio.to_thread(queries, await datasource.snapshot())
        told += [f"`{name}.{'.'.join(view)}`: {query.problem}" for view, query in sorted(found.items()) if query.problem]
    return tuple(told)


async def versions(rules: RowRules, datasources: Mapping[str, Datasource]) -> Mapping[str, str]:
    """Of the schemas that `fit` would look at; as old as a call may take them."""
    snapshots, _ = await _looked_at(rules, datasources, anew=False)
    return _versions(snapshots)


async def _looked_at(
    rules: RowRules, datasources: Mapping[str, Datasource], *, anew: bool
) -> tuple[list[Snapshot], Mapping[str, str]]:
    named = {type_.partition("::")[0] for type_ in rules.governed}
    snapshots: list[Snapshot] = []
    unseen: dict[str, str] = {}
    for name in sorted(named & datasources.keys()):
        try:
            snapshots.append(await (datasources[name].refresh() if anew else datasources[name].snapshot()))
        except Unavailable as error:
            unseen[name] = error.message
    return snapshots, unseen


def _versions(snapshots: list[Snapshot]) -> Mapping[str, str]:
    return {snapshot.datasource: snapshot.version for snapshot in snapshots}
