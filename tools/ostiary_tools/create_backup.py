"""The `create_backup` tool: one backup, as a job that outlives the server."""

from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Backup, Intent, Permit
from ostiary_tools.api import AboutBackups, Args, Hints, Session, Surface, Text, World
from ostiary_tools.backup.known import UNPROVEN, source, usable
from ostiary_tools.backup.telling import bytes_told


class CreateBackupArgs(Args):
    """Arguments of `create_backup`."""

    datasource: Annotated[str | None, AboutBackups(), Field(max_length=200, description="Needed when there is more than one.")] = (
        None
    )
    kind: Annotated[
        Literal["logical", "full", "incremental", "sqlite"] | None,
        Field(description="`logical`: one database; `full`: its cluster; `incremental`: what changed there. Else the usual."),
    ] = None


class CreateBackup:
    """The `create_backup` tool."""

    name = "create_backup"
    title = "Back up"
    description = "Back up a datasource, encrypted, as a job. A backup is unproven until a drill has restored it."
    surface = Surface.TOOL
    hints = Hints(read_only=False, idempotent=False)
    args = CreateBackupArgs

    def plan(self, args: CreateBackupArgs, world: World) -> Intent:
        """What is backed up. Raises Refused."""
        wanted = source(args.datasource, args.kind, world.backups)
        usable(world.backups)
        arguments = {"datasource": wanted.datasource, "kind": wanted.kind}
        # It becomes a full one where it cannot be.
        made = (wanted, Backup(wanted.datasource, "full")) if wanted.kind == "incremental" else (wanted,)
        accesses = tuple(Access(Action.BACK_UP, one) for one in made)
        return Intent(self.name, arguments, accesses, durable=f"backup {wanted.datasource} {wanted.kind}")

    async def run(self, permit: Permit, session: Session) -> Text:
        """Take it. Raises ToolError."""
        arguments = permit.intent.arguments
        made = await session.custody.back_up(arguments["datasource"], arguments["kind"])
        rows = f"{made.fingerprint.rows:,} rows, " if made.fingerprint else ""
        size = f"{bytes_told(made.plain_bytes)}, {bytes_told(made.stored_bytes)} stored"
        took = (made.ended_at - made.started_at).total_seconds()
        lines = [f"backup `{made.id}` of `{made.datasource}` ({made.kind}): {rows}{size}, in {took:.0f} s; {UNPROVEN}: drill it"]
        return Text("\n".join((*lines, *(f"note: {note}" for note in made.notes))))
