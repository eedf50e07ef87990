"""Examples held against the live schema: those that no longer fit, and for each role whether it is shown them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ostiary.examples import Examples, NotShown, fitted
from ostiary.worlds import Worlds
from ostiary_policies.engine import Engine
from ostiary_policies.model import Principal
from ostiary_tools.datasources.port import Datasource, ReadLimits
from ostiary_tools.errors import ToolError, Unavailable
from ostiary_tools.examples import Example
from ostiary_tools.snapshot import Snapshot
from ostiary_tools.sql import bind
from ostiary_tools.view import SchemaView

_MOST_CHARS = 1_000
"""Of an answer that nobody reads: statements are analysed and not run."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of one example."""

    example: Example
    problem: str
    """Why it does not fit the schema; empty when it does."""
    roles: Mapping[str, str]
    """Role → why it is not shown the example; empty where it is. None when the example fits nobody."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What examples are held against."""

    examples: Examples
    datasources: Mapping[str, Datasource]
    worlds: Worlds
    engine: Engine
    callers: Mapping[str, Principal]
    """By role."""
    timeout_s: float


async def check(examples: Iterable[Example], installation: Installation) -> list[Checked]:
    """Check each. Raises Unavailable when a datasource that one of them names cannot be reached."""
    return [await _checked(example, installation) for example in examples]


async def _checked(example: Example, installation: Installation) -> Checked:
    source = installation.datasources.get(example.datasource)
    if source is None:
        known = ", ".join(f"`{name}`" for name in sorted(installation.datasources))
        return Checked(example, f"there is no datasource `{example.datasource}`; there are {known}", {})
    if problem := await _misfit(example, source, installation.timeout_s):
        return Checked(example, problem, {})
    roles = {}
    for role, caller in installation.callers.items():
        try:
            installation.examples.shown(example, installation.engine, await installation.worlds.world(installation.engine, caller))
        except NotShown as why:
            roles[role] = str(why)
        else:
            roles[role] = ""
    return Checked(example, "", roles)


async def _misfit(example: Example, source: Datasource, timeout_s: float) -> str:
    """Why nobody could run it, from the snapshot and then from the server, which analyses it and runs nothing."""
    snapshot = await source.snapshot()
    try:
        judged = fitted(example, _everything(snapshot))
    except NotShown as why:
        return str(why)
    relied = snapshot.relied_on(access.resource for access in judged.accesses)
    try:
        async with source.read(ReadLimits(timeout_s, 1, _MOST_CHARS), relied) as reader:
            await reader.prepare(bind(judged, ()))
    except Unavailable:
        raise
    except ToolError as error:
        return error.message
    return ""


def _everything(snapshot: Snapshot) -> SchemaView:
    """The schema as one who may know and read all of it."""
    resources = frozenset(snapshot.resources())
    return SchemaView(snapshot, resources, resources)
