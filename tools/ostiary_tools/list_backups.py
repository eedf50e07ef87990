"""The `list_backups` tool: the backups that its caller may do something with."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import AboutBackups, Args, Hints, Hits, KnownBackup, Session, Surface, World
from ostiary_tools.backup.known import Backups, nearest
from ostiary_tools.backup.telling import bytes_told

_COLUMNS = ("backup", "datasource", "kind", "taken", "rows", "stored", "state")
_NAMED = 8


class ListBackupsArgs(Args):
    """Arguments of `list_backups`."""

    datasource: Annotated[str | None, AboutBackups(), Field(max_length=200, description="Only of this one.")] = None
    kind: Annotated[Literal["logical", "full", "incremental", "sqlite"] | None, Field(description="Only this kind.")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="How many.")] = 20
    offset: Annotated[int, Field(ge=0, le=1_000_000, description="How many to skip.")] = 0


class ListBackups:
    """The `list_backups` tool."""

    name = "list_backups"
    title = "Backups"
    description = "Backups, newest first, each proven by a drill, unproven, or damaged."
    surface = Surface.TOOL
    hints = Hints()
    args = ListBackupsArgs

    def plan(self, args: ListBackupsArgs, world: World) -> Intent:  # noqa: ARG002 - the protocol's shape
        """Nothing of a backup is read but what it says of itself; whose nobody may do anything with are not known."""
        return Intent(self.name, args.model_dump(mode="json", exclude_none=True))

    async def run(self, permit: Permit, session: Session) -> Hits:
        """One row a backup."""
        args = ListBackupsArgs.model_validate(permit.intent.arguments)
        backups = session.world.backups
        known = [one for one in (backups.backups if backups else ()) if _asked(one, args)]
        shown = known[args.offset : args.offset + args.limit]
        if backups and backups.away:
            notes = [f"which there are is not known now: {backups.unusable}; {backups.hint}"]
        else:
            notes = [f"{len(known)} in all"]
        if backups and backups.unusable and not backups.away:
            notes.append(f"none can be made: {backups.unusable}; {backups.hint}")
        notes += [f"damaged: `{id_}`: {why}" for id_, why in (backups.damaged.items() if backups else ())]
        gone = _gone(backups, args)
        notes += [f"gone: `{id_}` ({kind} of `{of}`), and nobody let go of it" for id_, (of, kind) in gone[-_NAMED:]]
        notes += [f"and {len(gone) - _NAMED} that are gone besides"] if len(gone) > _NAMED else []
        if not known and not (backups and backups.unusable):
            notes.append(nearest(backups))
        return Hits(_COLUMNS, tuple(map(_row, shown)), args.offset, len(known) > args.offset + args.limit, tuple(notes))


def _asked(one: KnownBackup, args: ListBackupsArgs) -> bool:
    made = one.manifest
    return args.datasource in (None, made.datasource) and args.kind in (None, made.kind.value)


def _gone(backups: Backups | None, args: ListBackupsArgs) -> Sequence[tuple[str, tuple[str, str]]]:
    """What would be among these."""
    found = backups.gone.items() if backups else ()
    return [one for one in found if args.datasource in (None, one[1][0]) and args.kind in (None, one[1][1])]


def _row(one: KnownBackup) -> tuple[str | None, ...]:
    made = one.manifest
    rows = str(made.fingerprint.rows) if made.fingerprint else None
    taken = f"{made.ended_at:%Y-%m-%d %H:%M:%S}Z"
    return (made.id, made.datasource, made.kind.value, taken, rows, bytes_told(made.stored_bytes), one.label)
