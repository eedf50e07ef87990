"""`ostiary policy install`, and `policy check --login`: the policies as a database login's own rights and row security.

Neither changes a database: the one prints SQL for the owner, the other looks.
"""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli_callers import AgentOption, RolesOption, ValuesOption, caller
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.config import Config
    from ostiary.native import Installed, Natively
    from ostiary_policies.model import Principal
    from ostiary_tools.errors import ToolError

LoginOption = Annotated[
    str | None,
    typer.Option("--login", metavar="DB_ROLE", help="A database login: has it natively what the policies let the agent read?"),
]
InstalledOption = Annotated[
    str | None, typer.Option("--datasource", metavar="NAME", help="With --login: the datasource; needed where there are several.")
]
RowsOption = Annotated[
    bool,
    typer.Option(
        "--rows", help="With --login: also read the tables with row security, as the login and as ourselves, and compare the rows."
    ),
]


def install(
    *,
    login: Annotated[
        str, typer.Option("--login", metavar="DB_ROLE", help="The database login, for nothing else; it is made if there is none.")
    ],
    role: RolesOption = None,
    agent: AgentOption = None,
    attribute: ValuesOption = None,
    datasource: Annotated[
        str | None, typer.Option("--datasource", metavar="NAME", help="The datasource; needed where there are several.")
    ] = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Print the SQL by which PostgreSQL itself keeps for a login what the policies in force let an agent read.

    It grants columns and makes policies of row security, in one transaction that may be run again. Masks have no counterpart:
    a masked column is not granted. What else differs is told on stderr and in the SQL.
    """
    loaded = configured(config)
    who = caller(loaded, role, agent, attribute)
    found = asyncio.run(_natively(loaded, who, login, datasource))
    if json_:
        print_json({"login": login, "roles": list(who.roles), "sql": found.sql, "notes": list(found.notes)})
        return
    # `color`: otherwise what looks like a colour is cut out of names, and what remains may be the name of another table.
    typer.echo(found.sql, nl=False, color=True)
    for note in found.notes:
        say(f"note: {one_line(note)}")


def check_installed(loaded: "Config", who: "Principal", login: str, datasource: str | None, *, rows: bool, json_: bool) -> None:
    """Say where the login and the policies do not agree. Exit codes: 0 nowhere; 1 somewhere."""
    found = asyncio.run(_installed(loaded, who, login, datasource, rows=rows))
    if json_:
        differences = list(map(asdict, found.differences))
        print_json(
            {
                "login": login,
                "roles": list(who.roles),
                "agree": not differences,
                "differences": differences,
                "notes": list(found.notes),
            }
        )
    else:
        for difference in found.differences:
            typer.secho(one_line(difference.sentence), fg="red")
            typer.echo(one_line(f"  {difference.hint}"))
        for note in found.notes:
            typer.echo(one_line(f"note: {note}"))
        _print_end(found, login, who)
    if found.differences:
        raise typer.Exit(Exit.FAILED)


def _print_end(found: "Installed", login: str, who: "Principal") -> None:
    whom = ", ".join(who.roles)
    if found.differences:
        typer.secho(one_line(f"`{login}` and the policies for {whom} differ in {len(found.differences)} ways"), fg="red")
    else:
        measure = f"{found.columns} columns of {found.relations} relations, {found.filtered} of them with row security"
        typer.secho(one_line(f"`{login}` has what the policies give {whom}: {measure}"), fg="green")


async def _natively(loaded: "Config", who: "Principal", login: str, datasource: str | None) -> "Natively":
    from ostiary.native import natively
    from ostiary_tools.errors import ToolError

    try:
        return await natively(loaded, who, login, datasource)
    except ToolError as error:
        raise _failed(error) from None


async def _installed(loaded: "Config", who: "Principal", login: str, datasource: str | None, *, rows: bool) -> "Installed":
    from ostiary.native import installed
    from ostiary_tools.errors import ToolError

    try:
        return await installed(loaded, who, login, datasource, rows=rows)
    except ToolError as error:
        raise _failed(error) from None


def _failed(error: "ToolError") -> CommandFailed:
    from ostiary_tools.errors import Unavailable

    return CommandFailed(error.message, error.hint, Exit.UNAVAILABLE if isinstance(error, Unavailable) else Exit.USAGE)
