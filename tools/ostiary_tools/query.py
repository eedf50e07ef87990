"""The `query` tool: one read-only statement, judged from its text before anything is touched."""

from typing import Annotated

from pydantic import Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, Hints, Redacted, Rows, Session, Surface, World
from ostiary_tools.sql import bind, judge


class QueryArgs(Args):
    """Arguments of `query`."""

    sql: Annotated[str, Redacted(), Field(description="One SELECT, VALUES, TABLE, WITH or EXPLAIN statement.")]
    params: Annotated[tuple[str | int | float | bool | None, ...], Redacted(), Field(description="Values of $1, $2 …")] = ()
    datasource: Annotated[str | None, Field(description="Needed when there are several.")] = None
    max_rows: Annotated[int | None, Field(ge=1, description="Rows to return at most.")] = None


class Query:
    """The `query` tool."""

    name = "query"
    title = "Run a read-only query"
    description = "Run one read-only PostgreSQL statement. Aggregate or filter in SQL: long results are cut."
    surface = Surface.TOOL
    hints = Hints()
    args = QueryArgs

    def plan(self, args: QueryArgs, world: World) -> Intent:
        """Judge the statement. Raises Refused, Unavailable."""
        view = world.view(args.datasource)
        judged = judge(args.sql, view)
        statement = bind(judged, args.params)
        return Intent(self.name, args.model_dump(mode="json"), judged.accesses, view.datasource, (statement,))

    async def run(self, permit: Permit, session: Session) -> Rows:
        """The rows, no more than asked for."""
        rows = await session.rows(permit.intent.statements[0])
        wanted = permit.intent.arguments["max_rows"]
        if wanted is None or len(rows.rows) <= wanted:
            return rows
        return Rows(rows.columns, rows.rows[:wanted], truncated=True, clipped=rows.clipped)
