"""`ostiary dr …`: how one would stand on the worst day, for whoever operates this installation. It only reads."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ostiary.cli_options import ConfigOption, JsonOption, configured, print_json
from ostiary.exits import Exit

if TYPE_CHECKING:
    from ostiary.recovery.report import Report

app = typer.Typer(help="Disaster recovery: what could be restored, how fast, and what to do then.", no_args_is_help=True)


@app.command(epilog="Example: ostiary dr report --json")
def report(*, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Say what could be restored now, up to when, how long that takes, and what is wrong.

    Objectives of `[plans]` are held against what the last drill and the kept log measured.
    The exit code is 1 when one is missed, or nothing measured it.
    """
    made = _made(config)
    if json_:
        from ostiary.recovery.as_json import document

        print_json(document(made))
    else:
        from ostiary.recovery.as_text import lines

        for line in lines(made):
            typer.echo(line)
    raise typer.Exit(Exit.FAILED if made.missed else Exit.OK)


def _made(config: Path | None) -> "Report":
    from ostiary.recovery import judging
    from ostiary.recovery.gathering import gathered
    from ostiary.vault import open_vault

    loaded = configured(config)
    return judging.report(gathered(loaded, open_vault(loaded, None)))
