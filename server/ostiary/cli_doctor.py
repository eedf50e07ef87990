"""`ostiary doctor`: what the logins of the datasources could do, and the login that could do less."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit
from ostiary_tools.backup.remembered import Vanished

if TYPE_CHECKING:
    from ostiary.config import Config
    from ostiary.doctor import Diagnosis, Part, Unreachable
    from ostiary.log_doctor import LogFinding
    from ostiary_tools.datasources.opening import PostgresSettings
    from ostiary_tools.powers import Finding, Power

_SHOWN = 3
"""Pieces of evidence shown of one power."""


def doctor(
    datasource: Annotated[str | None, typer.Argument(metavar="[DATASOURCE]", help="The one to look at; else all.")] = None,
    *,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print only the SQL that makes a login which may do no more than read.")
    ] = False,
    changes: Annotated[
        bool, typer.Option("--changes", help="Look only at the login for changes; with --sql, print what makes one.")
    ] = False,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what the login of each datasource could do besides reading, and print the SQL for one that could not.

    A power that is neither a note nor named by `accepted_powers` keeps a datasource from being served; the exit code is then 1.
    """
    loaded = configured(config)
    found = asyncio.run(_diagnosed(loaded, datasource, sql=sql, changes=changes))
    logs = [] if sql or changes else asyncio.run(_logs(loaded, datasource))
    gone = [] if sql or changes or datasource is not None else asyncio.run(_vanished(loaded))
    if json_:
        print_json([*map(_as_data, found), *map(_log_as_data, logs), *map(asdict, gone)])
    else:
        for one in found:
            _print(one, sql=sql)
        for log in logs:
            _print_log(log)
        for each in gone:
            typer.echo(one_line(f"backups: {each.words}; {each.hint}"))
    _leave(found, told_only=sql)


async def _diagnosed(config: "Config", only: str | None, *, sql: bool, changes: bool) -> "list[Diagnosis | Unreachable]":
    from ostiary.app import load_policies, open_sources
    from ostiary.doctor import Part, diagnose

    policies = await load_policies(config)
    async with open_sources(config, say) as sources:
        known = [source.name for source in sources]
        if only is not None and only not in known:
            names = ", ".join(f"`{name}`" for name in known)
            raise CommandFailed(f"there is no datasource `{only}`", f"choose among {names}", Exit.USAGE)
        asked = [source for source in sources if only in (None, source.name)]
        every = (Part.WRITER,) if changes else (Part.ITSELF,) if sql else tuple(Part)
        each = [(source, part) for source in asked for part in every if sql or part in _parts(source)]
        return [await diagnose(config, policies.engine, source, part) for source, part in each]


async def _logs(config: "Config", only: str | None) -> "Sequence[LogFinding]":
    from ostiary.app import open_backups
    from ostiary.log_doctor import examined

    if all(plan.wal == "none" for plan in config.plans.values()):
        return ()
    async with open_backups(config, say) as vault:
        return await examined(config.plans, vault, only)


async def _vanished(config: "Config") -> "Sequence[Vanished]":
    """As the last look of a worker found it: the doctor looks at logins, and not through a repository."""
    from ostiary.app import open_register
    from ostiary_tools.control.connect import JournalError

    try:
        async with open_register(config) as register:
            return await register.missing() if register is not None else ()
    except JournalError as error:
        return [Vanished("", "backup", f"the control database cannot be asked what has vanished: {error}", "look why")]


def _log_as_data(one: "LogFinding") -> dict[str, Any]:
    problems = [{"problem": message, "mend": hint} for message, hint in one.problems]
    return {"datasource": one.plan, "log": {"fit": not problems, "problems": problems}}


def _print_log(one: "LogFinding") -> None:
    if not one.problems:
        typer.echo(f"log of {one.plan}: it can be kept")
    for message, hint in one.problems:
        typer.secho(f"log of {one.plan}: ", nl=False)
        typer.echo(one_line(f"{message}; {hint}"))


def _parts(source: "PostgresSettings") -> "Sequence[Part]":
    from ostiary.doctor import Part

    there = {Part.ITSELF: source.dsn, Part.REPLICA: source.replica_dsn, Part.WRITER: source.writer_dsn}
    return [part for part, dsn in there.items() if dsn]


def _leave(found: "list[Diagnosis | Unreachable]", *, told_only: bool) -> None:
    from ostiary.doctor import Diagnosis

    if not told_only and any(isinstance(one, Diagnosis) and not one.served for one in found):
        raise typer.Exit(Exit.FAILED)
    if not all(isinstance(one, Diagnosis) for one in found):
        raise typer.Exit(Exit.UNAVAILABLE)


def _as_data(one: "Diagnosis | Unreachable") -> dict[str, Any]:
    from ostiary.doctor import Unreachable

    if isinstance(one, Unreachable):
        return {"datasource": one.datasource, "served": False, "problem": one.message}
    findings = [
        {**asdict(finding), "severity": "over-privileged" if finding.over_privileged else "note"} for finding in one.findings
    ]
    return {
        "datasource": one.datasource,
        "replica": one.replica,
        "writer": one.writer,
        "served": one.served,
        "login": one.login,
        "database": one.database,
        "unaccepted": list(one.unaccepted),
        "accepted": sorted(one.accepted),
        "findings": findings,
        "value_logs": [{"because": each.because, "fix": each.fix(one.login)} for each in one.value_logs],
        "sql": one.sql,
    }


def _print(one: "Diagnosis | Unreachable", *, sql: bool) -> None:
    from ostiary.doctor import Unreachable

    if isinstance(one, Unreachable):
        say(f"error: {one.message}")
        say(f"hint: {one.hint}")
        return
    if sql:
        # `color`: otherwise what looks like a colour is cut out of names, and what remains may be the name of another table.
        typer.echo(one.sql, nl=False, color=True)
        return
    typer.echo(one_line(f"{_part(one)}{one.datasource}: login `{one.login}` in database `{one.database}`"))
    for power, group in groupby(one.findings, key=lambda finding: finding.power):
        _print_power(one, power, list(group))
    _print_value_logs(one)
    _print_end(one)


def _part(one: "Diagnosis") -> str:
    return "replica of " if one.replica else "changes of " if one.writer else ""


def _print_value_logs(one: "Diagnosis") -> None:
    """The key of hashes travels as a bound value. That is no power of the login, and it is served."""
    for each in one.value_logs:
        typer.secho("  note: values are logged", fg=typer.colors.YELLOW, nl=False)
        typer.echo(f", and the key of `hash` masks with them: {each.because}")
        typer.echo(one_line(f"      as a superuser: {each.fix(one.login)}"))


def _print_power(one: "Diagnosis", power: "Power", found: "list[Finding]") -> None:
    from ostiary_tools.powers import MEANINGS

    if not found[0].over_privileged:
        word, colour = "note", typer.colors.BLUE
    elif power in one.unaccepted:
        word, colour = "over-privileged", typer.colors.RED
    else:
        word, colour = "accepted", typer.colors.YELLOW
    typer.secho(f"  {word}: {power}", fg=colour, nl=False)
    typer.echo(f", {MEANINGS[power]}")
    for line in _evidence(found):
        typer.echo(one_line(f"      {line}"))


def _evidence(found: "list[Finding]") -> Iterator[str]:
    for finding in found[:_SHOWN]:
        yield f"{finding.evidence} (by {finding.through})"
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more, see --json"


def _print_end(one: "Diagnosis") -> None:
    accepted = "writer_powers" if one.writer else "accepted_powers"
    if one.idle:
        typer.echo(f"  `{accepted}` names what the login cannot do: {', '.join(one.idle)}; take it out")
    if one.served:
        typer.secho("  it is served", fg=typer.colors.GREEN)
        return
    typer.secho("  it is not served", fg=typer.colors.RED)
    if one.replica and not one.standby:
        typer.echo("  it is no standby: let `replica_dsn` name one")
    if not one.unaccepted:
        return
    setting = "replica_dsn" if one.replica else "writer_dsn" if one.writer else "dsn"
    may = "write only what policies let agents change" if one.writer else "only read"
    typer.echo(f"  next: make a login that may {may}, give it a password, and put it into `{setting}`:")
    typer.echo(f"      ostiary doctor {one.datasource} --sql{' --changes' if one.writer else ''} | psql …")
    names = ", ".join(f'"{power}"' for power in one.unaccepted)
    typer.echo(f"  or take the risk, in [datasources.{one.datasource}]:")
    typer.echo(f"      {accepted} = [{names}]")
