"""The `verify_backup` tool: whether a backup is what was kept, and whether it restores."""

from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit
from ostiary_tools.api import AboutBackups, Args, Hints, Session, Surface, Text, World
from ostiary_tools.backup.custody import Level
from ostiary_tools.backup.known import known, resources
from ostiary_tools.backup.telling import bytes_told


class VerifyBackupArgs(Args):
    """Arguments of `verify_backup`."""

    backup: Annotated[str, AboutBackups(), Field(max_length=64, description="As `list_backups` gives it.")]
    level: Annotated[
        Literal["manifest", "wal", "drill"],
        Field(
            description="`manifest`: every byte is as it was kept; `wal`: so is all kept log after it, without a gap; "
            "`drill`: it is restored, started and compared."
        ),
    ] = "manifest"


class VerifyBackup:
    """The `verify_backup` tool."""

    name = "verify_backup"
    title = "Verify a backup"
    description = "Check a backup, as a job. Only a drill proves that it restores."
    surface = Surface.TOOL
    hints = Hints(read_only=False)
    args = VerifyBackupArgs

    def plan(self, args: VerifyBackupArgs, world: World) -> Intent:
        """Which is verified. Raises Refused."""
        found = known(args.backup, world.backups)
        accesses = tuple(Access(Action.VERIFY, one) for one in resources(found.manifest))
        return Intent(self.name, args.model_dump(mode="json"), accesses, durable=f"verify {args.backup} {args.level}")

    async def run(self, permit: Permit, session: Session) -> Text:
        """Read it. Raises ToolError; Damaged names the damage."""
        args = VerifyBackupArgs.model_validate(permit.intent.arguments)
        checked = await session.custody.verify(args.backup, Level(args.level))
        before = f"backup `{args.backup}`"
        if checked.log:
            return Text("\n".join((f"{before}: {checked.log}", *(f"note: {note}" for note in checked.notes))))
        if checked.drilled_at is None:
            found = known(args.backup, session.world.backups)
            said = f"{before}: all {bytes_told(checked.stored_bytes)} are as they were kept; {found.label}"
            return Text("\n".join((said, *(f"note: {note}" for note in checked.notes))))
        said = f"{before} was restored, started and compared: proven {checked.drilled_at:%Y-%m-%d %H:%M:%S}Z"
        return Text("\n".join((said, *checked.notes)))
