"""The `propose_change` tool: what statements or rows would change, seen in a transaction that is rolled back."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, Hints, Redacted, Refused, Session, Surface, World
from ostiary_tools.change_report import report
from ostiary_tools.given_rows import GivenRows, as_sql
from ostiary_tools.result import Content
from ostiary_tools.sql import bind, judge_change
from ostiary_tools.view import SchemaView

_MOST = 20


class GivenStatement(BaseModel):
    """One statement with its values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sql: Annotated[str, Field(description="One INSERT, UPDATE, DELETE or MERGE, without RETURNING.")]
    params: Annotated[tuple[str | int | float | bool | None, ...], Field(description="Values of $1, $2 …")] = ()


class ProposeChangeArgs(Args):
    """Arguments of `propose_change`."""

    statements: Annotated[
        tuple[GivenStatement, ...], Redacted(), Field(max_length=_MOST, description="Run in this order, in one transaction.")
    ] = ()
    rows: Annotated[tuple[GivenRows, ...], Redacted(), Field(max_length=_MOST, description="In place of SQL: rows by table.")] = ()
    datasource: Annotated[str | None, Field(description="Needed when there are several.")] = None


class ProposeChange:
    """The `propose_change` tool."""

    name = "propose_change"
    title = "See what a change would do"
    description = "See what a change of rows would do, and get the id that apply_change takes. Nothing of it stays."
    surface = Surface.TOOL
    hints = Hints(idempotent=False)
    args = ProposeChangeArgs

    def plan(self, args: ProposeChangeArgs, world: World) -> Intent:
        """Judge each statement. Raises Refused, Unavailable."""
        if bool(args.statements) == bool(args.rows):
            raise Refused("arguments", "give either `statements` or `rows`", "use `rows` where no SQL is needed")
        view = world.view(args.datasource)
        given = [(one.sql, one.params) for one in args.statements] or [as_sql(one, view) for one in args.rows]
        return changes(self.name, args.model_dump(mode="json"), view, given)

    async def run(self, permit: Permit, session: Session) -> Content:  # noqa: ARG002  the session knows what it was permitted
        """What it would do."""
        return report(await session.propose())


def changes(tool: str, arguments: dict[str, Any], view: SchemaView, given: list[tuple[str, tuple[Any, ...]]]) -> Intent:
    """All that these statements with their values would do. Raises Refused."""
    judged = [(judge_change(sql, view), values) for sql, values in given]
    accesses = tuple(dict.fromkeys(access for one, _ in judged for access in one.accesses))
    return Intent(tool, arguments, accesses, view.datasource, changes=tuple(bind(one, values) for one, values in judged))
