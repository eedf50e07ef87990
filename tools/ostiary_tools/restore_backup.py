"""The `restore_backup` tool: something new out of a backup; putting it in the place of what lives is for people."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit
from ostiary_tools.api import AboutBackups, Args, Hints, KnownBackup, Refused, Session, Surface, Text, World
from ostiary_tools.backup.custody import TARGETS, Target, Wanted, tables_written
from ostiary_tools.backup.known import UNPROVEN, clusters, known, resources
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.moment import parsed, written

CONTROL = "control"
"""What backups call the control database."""


class RestoreBackupArgs(Args):
    """Arguments of `restore_backup`."""

    backup: Annotated[
        str | None,
        AboutBackups(),
        Field(max_length=64, description="As `list_backups` gives it. Without it, name a moment."),
    ] = None
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Of the new thing; nothing may have it yet.")]
    target: Annotated[
        Literal["instance", "database", "schema", "file"] | None,
        Field(description="A new `instance` of the server, `database`, or, of tables, `schema` or `file`. Without it, the usual."),
    ] = None
    tables: Annotated[
        tuple[Annotated[str, Field(max_length=260)], ...],
        Field(max_length=100, description="Only these, as `schema.table`, to a schema or file."),
    ] = ()
    datasource: Annotated[str | None, AboutBackups(), Field(max_length=200, description="Whose cluster, with `moment`.")] = None
    moment: Annotated[
        str | None,
        Field(max_length=80, description="2026-01-31T12:00:00Z, name:…, lsn:0/3000060, xid:7342 or latest; where the log is kept."),
    ] = None
    timeline: Annotated[
        int | None, Field(ge=1, lt=1 << 32, description="With `moment`: which history of the cluster. Without it, the newest.")
    ] = None


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
        if (args.backup is None) == (args.moment is None) or (
            args.backup is not None and (args.datasource, args.timeline) != (None, None)
        ):
            raise Refused("backup", "it is not clear what is to be restored", "name a `backup`, or a `datasource` and a `moment`")
        arguments: dict[str, Any] = {"name": args.name, "tables": list(args.tables)}
        if args.backup is not None:
            found = known(args.backup, world.backups)
            made_of, target = resources(found.manifest), _target(args, found.manifest)
            arguments |= {"backup": args.backup}
        else:
            made_of, target = clusters(args.datasource, world.backups), _of_moment(args)
            arguments |= {"datasource": made_of[0].datasource, "moment": written(parsed(args.moment or ""))}
            arguments |= {"timeline": args.timeline} if args.timeline is not None else {}
        accesses = tuple(Access(Action.RESTORE, one) for one in made_of)
        return Intent(self.name, arguments | {"target": target.value}, accesses, durable=f"restore {args.name}")

    async def run(self, permit: Permit, session: Session) -> Text:
        """Make it. Raises ToolError."""
        args = RestoreBackupArgs.model_validate(permit.intent.arguments)
        made = await session.custody.restore(_wanted(args))
        proven = next((one.proven for one in _listed(session.world) if one.manifest.id == made.manifest.id), "")
        unproven = "" if proven else f"; the backup is {UNPROVEN}"
        lines = [f"restored to {made.what}: {made.compared}{unproven}"]
        return Text("\n".join((*lines, *(f"note: {note}" for note in made.notes))))


def _wanted(args: RestoreBackupArgs) -> Wanted:
    moment = parsed(args.moment) if args.moment else None
    of = (args.datasource or "", moment, args.timeline)
    return Wanted(args.backup or "", args.name, Target(args.target or ""), args.tables, *of)


def _listed(world: World) -> Sequence[KnownBackup]:
    return world.backups.backups if world.backups else ()


def _of_moment(args: RestoreBackupArgs) -> Target:
    """Raises Refused."""
    if args.tables or args.target not in (None, Target.INSTANCE):
        raise Refused("target", "at a moment a whole cluster is restored, to an instance", "leave out `target` and `tables`")
    return Target.INSTANCE


def _target(args: RestoreBackupArgs, made: Manifest) -> Target:
    """Raises Refused for what is not made of such a backup."""
    kind = made.kind
    able = TARGETS[kind]
    usual = Target.SCHEMA if args.tables and Target.SCHEMA in able else able[0]
    target = Target(args.target) if args.target else usual
    if target not in able:
        raise Refused("target", f"of a {kind} backup no {target} is made", f"choose {' or '.join(f'`{one}`' for one in able)}")
    if args.tables and target not in (Target.SCHEMA, Target.FILE):
        raise Refused("target", f"single tables are not restored to a {target}", "choose `schema` or `file`, or leave out `tables`")
    if target in (Target.SCHEMA, Target.FILE) and kind != "sqlite" and not args.tables:
        raise Refused("tables", f"a {target} is made of tables", "name them, or choose another target")
    if target is not Target.INSTANCE and made.datasource == CONTROL:
        raise Refused("target", "the control database is restored to an instance of its own", "choose `instance`")
    if target is Target.SCHEMA and args.name.startswith("pg_"):
        raise Refused("target", "no schema is called so", "choose a name that does not begin with `pg_`")
    tables_written(args.tables)
    return target
