"""The `restore_backup` tool: something new out of a backup; putting it in the place of what lives is for people."""

from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit
from ostiary_tools.api import AboutBackups, Args, Hints, KnownBackup, Refused, Session, Surface, Text, World
from ostiary_tools.backup.custody import TARGETS, Target, Wanted, tables_written
from ostiary_tools.backup.known import UNPROVEN, known, resources

CONTROL = "control"
"""What backups call the control database."""


class RestoreBackupArgs(Args):
    """Arguments of `restore_backup`."""

    backup: Annotated[str, AboutBackups(), Field(max_length=64, description="As `list_backups` gives it.")]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Of the new thing; nothing may have it yet.")]
    target: Annotated[
        Literal["instance", "database", "schema", "file"] | None,
        Field(description="A new `instance` of the server, `database`, or, of tables, `schema` or `file`. Without it, the usual."),
    ] = None
    tables: Annotated[
        tuple[Annotated[str, Field(max_length=260)], ...],
        Field(max_length=100, description="Only these, as `schema.table`, to a schema or file."),
    ] = ()


class RestoreBackup:
    """The `restore_backup` tool."""

    name = "restore_backup"
    title = "Restore a backup"
    description = "Restore a backup to something new, never over what lives, as a job."
    surface = Surface.TOOL
    hints = Hints(read_only=False, idempotent=False)
    args = RestoreBackupArgs

    def plan(self, args: RestoreBackupArgs, world: World) -> Intent:
        """What is made of which. Raises Refused."""
        found = known(args.backup, world.backups)
        accesses = tuple(Access(Action.RESTORE, one) for one in resources(found.manifest))
        arguments = {"backup": args.backup, "name": args.name, "target": _target(args, found).value, "tables": list(args.tables)}
        return Intent(self.name, arguments, accesses, durable=f"restore {args.name}")

    async def run(self, permit: Permit, session: Session) -> Text:
        """Make it. Raises ToolError."""
        args = RestoreBackupArgs.model_validate(permit.intent.arguments)
        found = known(args.backup, session.world.backups)
        wanted = Wanted(args.backup, args.name, _target(args, found), args.tables)
        made = await session.custody.restore(wanted)
        compared = f"{made.rows:,} rows are as they were backed up" if made.rows else "no rows were compared"
        unproven = "" if found.proven else f"; the backup is {UNPROVEN}"
        lines = [f"restored to {made.what}: {compared}{unproven}"]
        return Text("\n".join((*lines, *(f"note: {note}" for note in made.notes))))


def _target(args: RestoreBackupArgs, found: KnownBackup) -> Target:
    """Raises Refused for what is not made of such a backup."""
    kind = found.manifest.kind
    able = TARGETS[kind]
    usual = Target.SCHEMA if args.tables and Target.SCHEMA in able else able[0]
    target = Target(args.target) if args.target else usual
    if target not in able:
        raise Refused("target", f"of a {kind} backup no {target} is made", f"choose {' or '.join(f'`{one}`' for one in able)}")
    if args.tables and target not in (Target.SCHEMA, Target.FILE):
        raise Refused("target", f"single tables are not restored to a {target}", "choose `schema` or `file`, or leave out `tables`")
    if target in (Target.SCHEMA, Target.FILE) and kind != "sqlite" and not args.tables:
        raise Refused("tables", f"a {target} is made of tables", "name them, or choose another target")
    if target is not Target.INSTANCE and found.manifest.datasource == CONTROL:
        raise Refused("target", "the control database is restored to an instance of its own", "choose `instance`")
    if target is Target.SCHEMA and args.name.startswith("pg_"):
        raise Refused("target", "no schema is called so", "choose a name that does not begin with `pg_`")
    tables_written(args.tables)
    return target
