"""`ostiary migrate list | plan | apply | revert | settle`: changes of a schema by people, looked at before they run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ostiary.cli_administered import account_name, administered, looked_at
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.audit.recorder import Recorder
    from ostiary.config import Config
    from ostiary.migrating import Ground, Planned, Standing
    from ostiary_tools.control.migrated import Migrated, MigrationTable
    from ostiary_tools.datasources.migrating import Migrator
    from ostiary_tools.datasources.postgres import PostgresSettings

T = TypeVar("T")

app = typer.Typer(help="Look at changes of a schema before they run, run them, and take them back.", no_args_is_help=True)

_WHAT = "migrations"
Folder = Annotated[Path, typer.Option("--folder", metavar="PATH", help="Where the files `0001_what_it_does.sql` are.")]
Source = Annotated[str | None, typer.Option("--datasource", help="Which one; needed where there are several.")]
Login = Annotated[
    str | None,
    typer.Option("--dsn", metavar="env:NAME", help="Login to run as, as `env:NAME` or `file:PATH`; else `migrations_dsn`."),
]
Wait = Annotated[float, typer.Option("--lock-timeout", min=0.1, max=600, help="Seconds to wait for a lock, each time.")]
Attempts = Annotated[int, typer.Option("--attempts", min=1, max=100, help="How often a lock is tried for.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before it is done.")]
_FOLDER = Path("migrations")


@app.command("list", epilog="Example: ostiary migrate list --folder migrations --json")
def list_(
    *,
    folder: Folder = _FOLDER,
    alembic: Annotated[Path | None, typer.Option("--alembic", help="An Alembic environment, whose revisions are shown.")] = None,
    datasource: Source = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Show the migrations of the folder, and which of them were applied, by whom and when."""
    from ostiary.alembic_files import revisions
    from ostiary.migrating import standings
    from ostiary.migration_files import folder_files

    loaded = configured(config)
    name = _named(loaded, datasource)
    files = folder_files(folder) if alembic is None or folder.exists() else ()
    found = standings(files, _looked_at(loaded, name))
    theirs = revisions(alembic) if alembic is not None else ()
    if json_:
        revised = [{"revision": r.id, "down": list(r.down), "message": r.message, "head": r.is_head} for r in theirs]
        print_json({"datasource": name, "migrations": [_standing_data(one) for one in found], "alembic": revised})
        return
    for one in found:
        typer.echo(one_line(f"{one.title}  {one.state}{_when(one)}"))
    for revision in theirs:
        typer.echo(one_line(f"{revision.id}  {'head  ' if revision.is_head else ''}{revision.message}"))
    if not found and not theirs:
        say("there are no migrations")


def _when(one: "Standing") -> str:
    if one.run is None:
        return ""
    back = "" if not one.run.no_reverse else ", no way back"
    return f" by {one.run.by_person} at {one.run.at:%Y-%m-%d %H:%M %Z}{back}"


def _standing_data(one: "Standing") -> dict[str, Any]:
    run = one.run
    return {
        "migration": one.title,
        "state": one.state,
        "by": run.by_person if run else None,
        "at": run.at.isoformat() if run else None,
        "reversible": not run.no_reverse if run else None,
    }


@app.command(epilog='Example: ostiary migrate plan "ALTER TABLE orders ALTER COLUMN note SET NOT NULL"')
def plan(
    what: Annotated[
        str | None, typer.Argument(metavar="[FILE|SQL]", help="A file or statements; else all that is pending.")
    ] = None,
    *,
    folder: Folder = _FOLDER,
    datasource: Source = None,
    dsn: Login = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what a migration would do: locks, tables written anew, what is safer, and the way back. Nothing is run.

    Exit codes: 0 nothing speaks against it; 1 something does.
    """
    loaded = configured(config)
    name = _named(loaded, datasource)
    texts = _texts(loaded, name, what, folder)

    async def look(migrator: "Migrator") -> "list[Planned]":
        from ostiary.migrating import planned

        snapshot = await migrator.snapshot()
        return [planned(title, forward, back, snapshot) for title, forward, back in texts]

    plans = asyncio.run(_with_migrator(loaded, name, dsn, look))
    if json_:
        print_json([_plan_data(one) for one in plans])
    else:
        for one in plans:
            _show_plan(one)
    if not plans:
        say("nothing is pending")
    if any(one.dangers for one in plans):
        raise typer.Exit(Exit.FAILED)


def _texts(config: "Config", name: str, what: str | None, folder: Path) -> list[tuple[str, str, str | None]]:
    """Title, statements and their own way back."""
    from ostiary.migrating import pending, standings
    from ostiary.migration_files import folder_files, read_file

    if what is None:
        files = pending(standings(folder_files(folder), _looked_at(config, name)), None)
        return [(one.title, one.forward, one.reverse) for one in files]
    if what.endswith(".sql"):
        one = read_file(Path(what))
        return [(one.title, one.forward, one.reverse)]
    return [("these statements", what, None)]


def _show_plan(plan: "Planned") -> None:
    typer.echo(f"{plan.title}: {len(plan.changes)} statements")
    for verdict, advice in zip(plan.verdicts, plan.advice, strict=True):
        step = verdict.step
        about = " ".join(word for word in (step.kind.value, step.relation, step.name) if word)
        locks = [f"{mode.words} on {'.'.join(name)}, which blocks {mode.blocks}" for name, mode in sorted(verdict.locks.items())]
        typer.echo(one_line(f"  {about}"))
        for line in locks or ["no lock on a table that is there"]:
            typer.echo(one_line(f"    {line}"))
        if verdict.rewrites or verdict.scans:
            typer.echo(f"    every row is {'written anew' if verdict.rewrites else 'read'} meanwhile")
        for finding in verdict.findings:
            typer.echo(one_line(f"    {finding.weight}: {finding.message} [{finding.rule}]"))
            for line in finding.safer:
                typer.echo(one_line(f"      safer: {line}"))
        for stage in advice:
            typer.echo(one_line(f"    {stage.stage}: {stage.words}"))
            for statement in stage.statements:
                for line in statement.split("\n"):
                    typer.echo(one_line(f"      {line}"))
    _show_back(plan)


def _show_back(plan: "Planned") -> None:
    for reason in plan.back.reasons:
        typer.echo(one_line(f"  no way back for {reason}"))
    for statement in plan.back.statements:
        typer.echo(one_line(f"  back: {statement}"))


def _plan_data(plan: "Planned") -> dict[str, Any]:
    return {
        "migration": plan.title,
        "steps": [
            {
                "step": verdict.step.kind.value,
                "relation": ".".join(verdict.step.table) if verdict.step.table else None,
                "name": verdict.step.name or None,
                "locks": {".".join(name): mode.words for name, mode in sorted(verdict.locks.items())},
                "rewrites": verdict.rewrites,
                "scans": verdict.scans,
                "findings": [
                    {"rule": f.rule, "weight": f.weight.value, "message": f.message, "safer": list(f.safer)}
                    for f in verdict.findings
                ],
                "advice": [{"stage": a.stage, "words": a.words, "statements": list(a.statements)} for a in advice],
            }
            for verdict, advice in zip(plan.verdicts, plan.advice, strict=True)
        ],
        "reverse": list(plan.back.statements),
        "no_reverse": list(plan.back.reasons),
    }


@app.command(epilog="Example: ostiary migrate apply --folder migrations --dsn env:SHOP_OWNER_DSN")
def apply(
    *,
    folder: Folder = _FOLDER,
    to: Annotated[int | None, typer.Option("--to", help="The last number to apply; else all.")] = None,
    datasource: Source = None,
    dsn: Login = None,
    lock_timeout: Wait = 2.0,
    attempts: Attempts = 5,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Run what is pending, each migration on record before it begins and when it ended.

    Statements run together in one transaction, but for CONCURRENTLY and those under a line `-- in batches`.
    """
    from ostiary.migrating import pending, planned, run, standings
    from ostiary.migration_files import folder_files

    loaded = configured(config)
    name = _named(loaded, datasource)
    files = folder_files(folder)

    async def act(ground: "Ground") -> int:
        todo = pending(standings(files, await ground.table.all(name)), to)
        for file in todo:
            plan = planned(file.title, file.forward, file.reverse, await ground.migrator.snapshot())
            _show_plan(plan)
            _confirm(f"Apply {file.title} to {name}?", yes=yes)
            await run(file, plan, ground, say)
            say(f"applied {file.title}")
        return len(todo)

    if not _on_ground(loaded, name, dsn, (lock_timeout, attempts), act):
        say("nothing is pending")


@app.command(epilog="Example: ostiary migrate revert --yes")
def revert(
    *,
    datasource: Source = None,
    dsn: Login = None,
    lock_timeout: Wait = 2.0,
    attempts: Attempts = 5,
    yes: Yes = False,
    config: ConfigOption = None,
) -> None:
    """Take the last migration back by the reverse that was kept when it was applied. Rows that are gone do not come back."""
    from ostiary.migrating import take_back

    loaded = configured(config)
    name = _named(loaded, datasource)

    async def act(ground: "Ground") -> None:
        one = _last(await ground.table.all(name))
        if one.state != "applied":
            raise CommandFailed(f"`{one.number:04}_{one.name}` was broken off", "say how it stands with `ostiary migrate settle`")
        for statement in one.reverse:
            typer.echo(one_line(f"  {statement}"))
        _confirm(f"Take {one.number:04}_{one.name} back on {name}?", yes=yes)
        await take_back(one, ground, say)
        say(f"reverted {one.number:04}_{one.name}")

    _on_ground(loaded, name, dsn, (lock_timeout, attempts), act)


@app.command(epilog="Example: ostiary migrate settle 12 --not-applied")
def settle(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Of a migration that was broken off.")],
    *,
    applied: Annotated[bool, typer.Option("--applied/--not-applied", help="What you found: all of it holds, or nothing does.")],
    datasource: Source = None,
    dsn: Login = None,
    config: ConfigOption = None,
) -> None:
    """Say how a migration that was broken off stands, after you looked at the schema and mended it."""
    from ostiary.migrating import settle as settled

    loaded = configured(config)
    name = _named(loaded, datasource)

    async def act(ground: "Ground") -> None:
        found = [one for one in await ground.table.all(name) if one.number == number and one.state == "begun"]
        if not found:
            raise CommandFailed(f"no migration {number:04} of `{name}` was broken off", "see `ostiary migrate list`")
        await settled(found[0], ground, applied=applied)

    _on_ground(loaded, name, dsn, (2.0, 1), act)
    say(f"migration {number:04} is {'applied' if applied else 'pending'}")


def _last(run: "Any") -> "Migrated":
    if not run:
        raise CommandFailed("no migration was applied", "see `ostiary migrate list`")
    last: Migrated = run[-1]
    return last


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not typer.confirm(question):
        raise CommandFailed("nothing was run", "answer yes, or say --yes")


def _named(config: "Config", datasource: str | None) -> str:
    """The datasource that is meant. Raises CommandFailed."""
    from ostiary.sources import SAMPLE

    known = sorted(config.datasources) or [SAMPLE]
    if datasource is None and len(known) == 1:
        return known[0]
    if datasource not in known:
        names = ", ".join(f"`{name}`" for name in known)
        raise CommandFailed("which datasource is not clear", f"name one with `--datasource`: {names}", Exit.USAGE)
    return datasource


def _looked_at(config: "Config", name: str) -> "list[Migrated]":
    from ostiary_tools.control.migrated import MigrationTable

    async def every(table: "MigrationTable") -> "list[Migrated]":
        return list(await table.all(name))

    return looked_at(config, MigrationTable, _WHAT, every)


def _on_ground(
    config: "Config", name: str, dsn: str | None, patience: tuple[float, int], act: "Callable[[Ground], Awaitable[T]]"
) -> T:
    from ostiary.migrating import Ground
    from ostiary_tools.control.migrated import MigrationTable

    async def both(table: "MigrationTable", recorder: "Recorder") -> T:
        async with _migrator(config, name, dsn, patience) as migrator:
            return await act(Ground(name, migrator, table, recorder, account_name()))

    return administered(config, MigrationTable, _WHAT, both)


async def _with_migrator(config: "Config", name: str, dsn: str | None, look: "Callable[[Migrator], Awaitable[T]]") -> T:
    async with _migrator(config, name, dsn, (2.0, 1)) as migrator:
        return await look(migrator)


@asynccontextmanager
async def _migrator(config: "Config", name: str, dsn: str | None, patience: tuple[float, int]) -> "AsyncIterator[Migrator]":
    from ostiary.app import open_sources
    from ostiary_tools.datasources.migrating import Patience, migrator

    async with open_sources(config, say) as sources:
        [settings] = [source for source in sources if source.name == name]
        async with migrator(_login(settings, dsn), name, settings.search_path, Patience(*patience)) as opened:
            yield opened


def _login(settings: "PostgresSettings", dsn: str | None) -> str:
    """The login of people; never an agent's. Raises CommandFailed."""
    from ostiary.config import environment
    from ostiary.config.secrets import is_reference, revealed

    if dsn is not None:
        if not is_reference(dsn):
            raise CommandFailed("a DSN may hold a password, so none is written here", "write `env:NAME`", Exit.USAGE)
        try:
            return revealed(dsn, environment(), Path.cwd())
        except ValueError as failure:
            raise CommandFailed(str(failure), code=Exit.USAGE) from None
    if settings.migrations_dsn is None:
        hint = "set `migrations_dsn` of the datasource, or say `--dsn env:NAME`"
        raise CommandFailed(f"no login for migrations of `{settings.name}` is configured", hint, Exit.USAGE)
    return settings.migrations_dsn
