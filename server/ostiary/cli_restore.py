"""`ostiary restore` and `ostiary drill`: something new out of a backup, and the proof beforehand that it can be made."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ostiary.cli_backup import Id, called, given
from ostiary.cli_options import ConfigOption, JsonOption, RoleOption, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.local_calls import LocalCalls
    from ostiary.progress import Tell
    from ostiary_tools.backup.custody import Restored
    from ostiary_tools.backup.evidence import Evidence


def restore(
    backup: Id,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the new thing. With `--repository`, a path.")],
    *,
    to: Annotated[
        Literal["instance", "database", "schema", "file"] | None,
        typer.Option("--to", help="A server of its own, a database or schema on the datasource's, or a file. Else the usual."),
    ] = None,
    table: Annotated[list[str] | None, typer.Option("--table", help="Only this one, `schema.table`; may be repeated.")] = None,
    moment: Annotated[
        str | None,
        typer.Option("--moment", help="2026-01-31T12:00:00Z, name:…, lsn:…, xid:… or latest, of the datasource BACKUP."),
    ] = None,
    timeline: Annotated[
        int | None, typer.Option("--timeline", min=1, help="With `--moment`: which history of the cluster. Else the newest.")
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option("--repository", metavar="PLACE", help="From a folder or `s3://…` alone: the installation is lost."),
    ] = None,
    identity: Annotated[Path | None, typer.Option("--identity", metavar="FILE", help="With `--repository`: a key of them.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Restore a backup to something new, never over what lives. Putting it in the place of what lives is yours to do.

    With `--repository` and `--identity` nothing of an installation is needed: no configuration, no policy, no audit log.
    """
    if (repository is None) != (identity is None):
        missing = "--identity" if identity is None else "--repository"
        raise CommandFailed("`--repository` and `--identity` go together", f"add `{missing}`", Exit.USAGE)
    if timeline is not None and moment is None:
        raise CommandFailed("a timeline is of no backup", "say `--moment latest`, or another moment on it", Exit.USAGE)
    if repository is not None and identity is not None:
        if role is not None or config is not None:
            hint = "leave out `--role` and `--config`: whoever has the files and their key may"
            raise CommandFailed("from files alone nothing of an installation is asked", hint, Exit.USAGE)
        if moment is not None and (table or to not in (None, "instance")):
            hint = "leave out `--to` and `--table`"
            raise CommandFailed("at a moment a whole cluster is restored, to an instance", hint, Exit.USAGE)
        made = _salvaged((repository, identity), backup, name, (to, tuple(table or ()), moment, timeline))
        _print_salvaged(made, json_=json_)
        return
    wanted = given(target=to, tables=table, moment=moment, timeline=timeline)
    _restored(backup, name, wanted, (role, config), yes=yes, json_=json_)


def _restored(
    backup: str, name: str, wanted: dict[str, Any], whose: tuple[str | None, Path | None], *, yes: bool, json_: bool
) -> None:
    from ostiary.backup_calls import meant

    async def act(calls: "LocalCalls", tell: "Tell") -> tuple[str, str]:
        if "moment" in wanted:
            return "", await calls("restore_backup", {"datasource": backup, "name": name, **wanted}, tell)
        id_ = await meant(calls, backup)
        return id_, await calls("restore_backup", {"backup": id_, "name": name, **wanted}, tell)

    role, config = whose
    id_, text = called(config, role, act, agreed=yes)
    of = {"backup": id_} if id_ else {"datasource": backup, "moment": wanted["moment"]}
    print_json({**of, "name": name, "made": text.splitlines()}) if json_ else typer.echo(text)


def _salvaged(
    files: tuple[str, Path], backup: str, name: str, wanted: tuple[str | None, tuple[str, ...], str | None, int | None]
) -> "Restored":
    from ostiary.bar import told
    from ostiary.salvage import BELIEVED, Files, salvage, salvage_to
    from ostiary_tools.backup.custody import Target
    from ostiary_tools.backup.moment import parsed

    place, (to, tables, moment, timeline) = Path(os.path.abspath(name)), wanted  # noqa: PTH100 - nothing may be there, a link neither

    async def salvaged() -> "Restored":
        with told() as tell:
            if moment is not None:
                return await salvage_to(Files(*files), backup, place, (parsed(moment), timeline), tell)
            return await salvage(Files(*files), backup, place, (Target(to) if to else None, tables), tell)

    say(BELIEVED)
    return asyncio.run(salvaged())


def _print_salvaged(made: "Restored", *, json_: bool) -> None:
    if json_:
        print_json({"backup": made.manifest.id, "made": made.what, "rows": made.rows, "notes": list(made.notes)})
        return
    typer.echo(one_line(f"restored to {made.what}: {made.compared}"))
    for note in made.notes:
        typer.echo(one_line(f"note: {note}"))


def drill(
    backup: Annotated[
        str | None, typer.Argument(metavar="[BACKUP]", help="Its id, or a datasource: the newest of it. Else the newest of all.")
    ] = None,
    *,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Prove that a backup restores: it is restored in private, started, compared row by row, looked through and deleted.

    What was found is kept beside the backup, signed. The exit code is 1 when the backup is damaged.
    """
    from ostiary.backup_calls import drill_described, drills_of, meant

    async def act(calls: "LocalCalls", tell: "Tell") -> "tuple[str, Evidence | None, CommandFailed | None]":
        id_ = await meant(calls, backup)
        before = len(await drills_of(calls, id_))
        failure = None
        try:
            await calls("verify_backup", {"backup": id_, "level": "drill"}, tell)
        except CommandFailed as failed:
            failure = failed
        held = await drills_of(calls, id_)
        return id_, held[-1] if len(held) > before else None, failure

    id_, held, failure = called(config, role, act)
    if held is None:
        raise failure or CommandFailed(f"no evidence of the drill of `{id_}` was kept", "look at the repository")
    if json_:
        print_json(drill_described(held))
    else:
        print_drill(held)
    if failure is not None:
        raise failure


def print_drill(held: "Evidence") -> None:
    """What a drill found, a line a check."""
    for check in held.checks:
        state = f"DAMAGED {check.damage}: " if check.damage else ""
        typer.echo(one_line(f"{check.name:<10} {check.seconds:8.1f} s  {state}{check.words}"))
    ended = f"{held.ended_at:%Y-%m-%d %H:%M:%S}Z"
    typer.echo(
        f"backup `{held.backup}` {'failed its drill' if held.damage else 'is proven'} {ended}; the evidence is kept and signed"
    )
