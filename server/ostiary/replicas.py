"""Statements that policy lets run on a replica only: where they run, and the refusal where there is no such place."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from ostiary_tools.datasources.port import Datasource, Reader, ReadLimits
from ostiary_tools.errors import NotOnReplica, ReplicaUnavailable
from ostiary_tools.snapshot import Mark, MarkKey

_RULE = "policy lets this run on a replica only"


@asynccontextmanager
async def on_replica(
    datasource: Datasource, limits: ReadLimits, relied: Mapping[MarkKey, Mark], rules: tuple[str, ...]
) -> AsyncIterator[Reader]:
    """A transaction of the datasource's replica. The datasource itself is not touched.

    `rules`: the policies that demand it. Raises NotOnReplica, also when what runs loses its connection.
    """
    if datasource.replica is None:
        hint = "ask for something else, or tell the operator: `replica_dsn` of the datasource names one"
        raise NotOnReplica(f"{_RULE}, and datasource `{datasource.name}` has none", hint, rules)
    try:
        async with datasource.replica.read(limits, relied) as reader:
            yield reader
    except ReplicaUnavailable as error:
        raise NotOnReplica(f"{_RULE}, and {error.message}", error.hint, rules) from error
