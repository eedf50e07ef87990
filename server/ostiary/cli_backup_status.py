"""`ostiary backup status`: how the logs that plans say are kept."""

from datetime import UTC, datetime

import typer

from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json
from ostiary.exits import Exit


def status(config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Say until when the log of each plan is kept, and what is wrong. The exit code is 1 when something is."""
    from ostiary.log_standing import as_data, lines, log_standings
    from ostiary.vault import open_vault

    loaded = configured(config)
    now = datetime.now(UTC)
    found = log_standings(loaded.plans, open_vault(loaded, None), now)
    if json_:
        print_json([as_data(one) for one in found])
    elif not found:
        typer.echo('no plan says `wal = "kept"`')
    else:
        for one in found:
            for line in lines(one, now):
                typer.echo(one_line(line))
    if any(one.alarms for one in found):
        raise typer.Exit(Exit.FAILED)
