"""The cost gate: what a statement is estimated at, against the terms of its permit, before it runs."""

from ostiary_policies.engine import Engine
from ostiary_policies.model import Permit, Statement
from ostiary_tools.api import World
from ostiary_tools.datasources.port import Prepared, Reader, RowStream
from ostiary_tools.plans.terms import has_terms, refuse_beyond


async def prepared(reader: Reader, statement: Statement, permit: Permit, world: World, engine: Engine) -> Prepared:
    """The statement, analysed and within the permit's terms. Nothing of it runs.

    A permit without terms of cost asks the server nothing more. Raises TooCostly, and
    ToolError as the server answers: an estimate that fails is a refusal.
    """
    ready = await reader.prepare(statement)
    await _hold(ready, permit, world, engine)
    return ready


async def streamed(reader: Reader, statement: Statement, permit: Permit, world: World, engine: Engine) -> RowStream:
    """Likewise, to be read as a stream."""
    ready = await reader.stream(statement)
    await _hold(ready, permit, world, engine)
    return ready


async def _hold(ready: Prepared | RowStream, permit: Permit, world: World, engine: Engine) -> None:
    """Hold what would run to the permit's terms."""
    if has_terms(permit.obligations):
        view = world.view(permit.intent.datasource)
        plan = await ready.estimate()
        refuse_beyond(permit.obligations, plan, view, permit.intent.accesses, lambda term: engine.stating(permit, term))
