"""The `export` tool: the whole result of one read-only statement as a file, judged as a query is."""

from typing import Annotated

from pydantic import Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, AsJob, Exported, ExportFormat, Hints, Redacted, Session, Surface, World
from ostiary_tools.sql import bind, judge


class ExportArgs(Args):
    """Arguments of `export`."""

    sql: Annotated[str, Redacted(), Field(description="One SELECT, VALUES, TABLE or WITH statement.")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Beginning of the file's name, no path.")]
    format: Annotated[ExportFormat, Field(description="Form of the file.")] = "csv"
    params: Annotated[tuple[str | int | float | bool | None, ...], Redacted(), Field(description="Values of $1, $2 …")] = ()
    datasource: Annotated[str | None, Field(description="Needed when there are several.")] = None
    job: Annotated[bool, AsJob(), Field(description="Answer at once, and go on: the tool `job` says how it stands.")] = False


class Export:
    """The `export` tool."""

    name = "export"
    title = "Export rows to a file"
    description = "Write all rows of a query to a new CSV or Parquet file on the server; the reply says where it is, not the rows."
    surface = Surface.TOOL
    hints = Hints(read_only=False, idempotent=False)
    args = ExportArgs

    def plan(self, args: ExportArgs, world: World) -> Intent:
        """Judge the statement. Raises Refused, Unavailable."""
        view = world.view(args.datasource)
        judged = judge(args.sql, view)
        statement = bind(judged, args.params)
        arguments = args.model_dump(mode="json")
        return Intent(self.name, arguments, judged.accesses, view.datasource, (statement,), to_file=True)

    async def run(self, permit: Permit, session: Session) -> Exported:
        """Write the file."""
        arguments = permit.intent.arguments
        [statement] = permit.intent.statements
        return await session.export(statement, name=arguments["name"], format_=arguments["format"])
