"""The `query` tool: one read-only statement, or the next page of one, judged from its text before anything is touched."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, CursorHandle, Hints, Position, Redacted, Refused, Rows, Session, Surface, World
from ostiary_tools.paging import page
from ostiary_tools.sql import bind, judge, own


class QueryArgs(Args):
    """Arguments of `query`."""

    sql: Annotated[str, Redacted(), Field(description="One SELECT, VALUES, TABLE, WITH or EXPLAIN statement.")] = ""
    params: Annotated[tuple[str | int | float | bool | None, ...], Redacted(), Field(description="Values of $1, $2 …")] = ()
    datasource: Annotated[str | None, Field(description="Needed when there are several.")] = None
    max_rows: Annotated[int | None, Field(ge=1, description="Rows to return at most.")] = None
    cursor: Annotated[
        str, CursorHandle(), Redacted(), Field(description="Of a truncated reply, in place of `sql`: its next page.")
    ] = ""


class Query:
    """The `query` tool."""

    name = "query"
    title = "Run a read-only query"
    description = "Run one read-only PostgreSQL statement. Aggregate or filter in SQL: long results come in pages."
    surface = Surface.TOOL
    hints = Hints()
    args = QueryArgs

    def plan(self, args: QueryArgs, world: World) -> Intent:
        """Judge the statement. Raises Refused, Unavailable."""
        if args.cursor:
            return self._plan_page(args, world)
        if not args.sql:
            raise Refused("arguments", "there is nothing to run", "give `sql`, or the `cursor` of a truncated reply")
        view = world.view(args.datasource)
        judged = judge(args.sql, view)
        statement = bind(judged, args.params)
        return Intent(self.name, args.model_dump(mode="json"), judged.accesses, view.datasource, (statement,))

    def _plan_page(self, args: QueryArgs, world: World) -> Intent:
        if args.sql or args.params or args.datasource:
            raise Refused("arguments", "a cursor knows its statement", "give `cursor` alone, or with `max_rows`")
        if world.position is None:
            raise unknown_cursor()
        view = world.view(world.position.datasource)
        asked = page(world.position)
        judged = judge(asked.text, view)
        statement = bind(judged, asked.parameters)
        return Intent(self.name, args.model_dump(mode="json"), judged.accesses, view.datasource, (statement,))

    async def run(self, permit: Permit, session: Session) -> Rows:
        """The rows, no more than asked for."""
        [statement] = permit.intent.statements
        asked = permit.intent.arguments["max_rows"]
        position = session.world.position
        if position is None:
            view = session.world.view(permit.intent.datasource)
            position = Position(view.datasource, own(statement, view), asked)
        elif asked is not None:
            position = replace(position, max_rows=asked)
        rows = await session.rows(statement)
        if position.max_rows is not None and len(rows.rows) > position.max_rows:
            rows = replace(rows, rows=rows.rows[: position.max_rows], truncated=True)
        # The lines of an EXPLAIN are no rows of a table: they cannot be gone on with.
        return rows if statement.text.startswith("EXPLAIN") else replace(rows, position=position)


def unknown_cursor() -> Refused:
    """The refusal of a cursor that is not the caller's, whether or not it is anybody's."""
    return Refused("cursor", "unknown cursor, or one that has ended", "run the statement again")
