"""Whether this process can answer calls now, and in words what is wrong. For operators: an agent is told none of it."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ostiary.audit.recorder import RecorderState
from ostiary_tools.datasources.port import Datasource, PoolState
from ostiary_tools.errors import Unavailable

_LOOK_S = 2.0
"""How long one look may take: a probe has a time limit of its own, often a few seconds."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a probe is answered."""

    ready: bool
    problems: tuple[str, ...]
    """Sentences without secrets; also of what is wrong and stops nothing."""


def readiness(
    audit: RecorderState,
    pools: Iterable[tuple[str, PoolState]],
    policies: str = "",
    examples: str = "",
    misfits: Sequence[str] = (),
) -> Readiness:
    """Ready is who records and reaches a datasource: one that is away is no reason to take the others from their agents.

    `policies` says why what is in the policy files is not in force, which is no reason either: the set before them is.
    `examples` says the same of the files of examples. `misfits` are row rules that do not fit their tables, which are closed.
    """
    found = dict(pools)
    serving = any(pool.healthy for pool in found.values())
    return Readiness(
        audit.recording and serving,
        (*_of_audit(audit), *_of_files(policies, examples), *_of_rules(misfits), *_of_pools(found.items())),
    )


def _of_audit(audit: RecorderState) -> Iterator[str]:
    words = "every call is refused, because the audit log cannot be written" if not audit.recording else "the audit log"
    yield from (f"{words}: {problem}" for problem in audit.problems[:1])
    yield from (f"the audit log: {problem}" for problem in audit.problems[1:])
    if not audit.guards.shape:
        yield "the audit log: its tables, rights or triggers are not as its migration left them"
    if not audit.guards.event_triggers:
        yield "the audit log: no event triggers guard its schema; only a superuser can make them"


def _of_files(policies: str, examples: str) -> Iterator[str]:
    if policies:
        yield f"the policy files are not what is in force: {policies}"
    if examples:
        yield f"the files of examples are not what is in force: {examples}"


def _of_rules(misfits: Sequence[str]) -> Iterator[str]:
    if misfits:
        more = f"; and {len(misfits) - 1} more" if len(misfits) > 1 else ""
        yield f"tables are closed, because row rules do not fit them: {misfits[0]}{more}"


def _of_pools(pools: Iterable[tuple[str, PoolState]]) -> Iterator[str]:
    for name, pool in pools:
        if not pool.healthy:
            yield f"datasource `{name}`: {pool.problem}"
        if pool.replica is not None and not pool.replica.healthy:
            yield f"the replica of datasource `{name}`: {pool.replica.problem}"


async def look(datasources: Collection[Datasource]) -> None:
    """Have each datasource look at its database again if it has not for a while, so that a quiet one is not believed for ever."""
    with suppress(TimeoutError, Unavailable):
        async with asyncio.timeout(_LOOK_S):
            for datasource in [one for each in datasources for one in (each, each.replica) if one is not None]:
                if datasource.state().healthy:
                    await datasource.snapshot()
