"""`ostiary dr …`: how one would stand on the worst day, and what is then to be done, for who operates this installation."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli_administered import account_name
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit
from ostiary_tools.errors import ToolError

if TYPE_CHECKING:
    from ostiary.audit.recorder import Recorder
    from ostiary.config import Config
    from ostiary.externals import Told
    from ostiary.recovery.facts import Facts
    from ostiary.recovery.report import Report
    from ostiary.vault import Vault
    from ostiary_tools.backup.evidence import Evidence
    from ostiary_tools.backup.remembered import Remembered

app = typer.Typer(help="Disaster recovery: what could be restored, how fast, and what to do then.", no_args_is_help=True)


@app.command(epilog="Example: ostiary dr report --json")
def report(
    *,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with a picture; it opens without a network.")
    ] = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what could be restored now, up to when, how long that takes, and what is wrong.

    Objectives of `[plans]` are held against what the last drill and the kept log measured.
    The exit code is 1 when one is missed, or nothing measured it, or something that was kept is not there.
    """
    made = _made(config)
    if html is not None:
        from ostiary.recovery.page import page

        _written(html, page(made))
    if json_:
        from ostiary.recovery.as_json import document

        print_json(document(made))
    elif html is None:
        from ostiary.recovery.as_text import lines

        for line in lines(made):
            typer.echo(line)
    raise typer.Exit(Exit.FAILED if made.missed or made.vanished else Exit.OK)


@app.command(epilog="Example: ostiary dr runbook --output runbook.md")
def runbook(
    *,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write it there, for its owner alone.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write what to do when data is lost, for this installation: Markdown for paper, whose commands run as they stand."""
    from ostiary.config import environment, find
    from ostiary.recovery import judging
    from ostiary.recovery.gathering import installation
    from ostiary.recovery.runbook import runbook as written
    from ostiary.vault import open_vault

    loaded = configured(config)
    vault = open_vault(loaded, None).looking()
    facts, file = _known(loaded, vault), find(config, environment())
    text = written(judging.report(facts), installation(loaded, vault, file and file.absolute(), facts))
    if output is None:
        typer.echo(text, nl=False)
    else:
        _written(output, text)


@app.command(epilog="Example: ostiary dr drill main")
def drill(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `[external.NAME]` calls it.")],
    backup: Annotated[str | None, typer.Argument(metavar="[BACKUP]", help="As its tool calls it. Else the newest.")] = None,
    *,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Prove that a backup of another tool restores: it does so in private, and the copy is started, looked through and deleted.

    What was found is kept among our own backups, signed. The exit code is 1 when the backup is damaged.
    """
    from ostiary.backup_calls import drill_described
    from ostiary.bar import told
    from ostiary.cli_backup import recorded
    from ostiary.cli_restore import print_drill
    from ostiary.externals import drill as hold

    loaded = configured(config)

    async def act(vault: "Vault", recorder: "Recorder") -> "Evidence":
        await recorder.note("external_drill_beginning", {"person": account_name(), "external": name})
        with told() as tell:
            held = await hold(loaded, vault, name, backup, tell)
        facts = {"person": account_name(), "external": name, "backup": held.backup, "passed": held.passed}
        await recorder.note("external_drill_held", facts)
        return held

    held = recorded(loaded, act)
    print_json(drill_described(held)) if json_ else print_drill(held)
    if not held.passed:
        raise CommandFailed(f"the drill of `{one_line(name)}` failed", "choose another backup, and look at the tool's own log")


def _made(config: Path | None) -> "Report":
    from ostiary.recovery import judging
    from ostiary.vault import open_vault

    loaded = configured(config)
    return judging.report(_known(loaded, open_vault(loaded, None)))


def _known(config: "Config", vault: "Vault") -> "Facts":
    from ostiary.recovery.gathering import gathered

    told, remembered = asyncio.run(_told(config))
    return gathered(config, vault, told, remembered)


async def _told(config: "Config") -> "tuple[Told, Remembered | None]":
    """By other tools, and by the control database; on the worst day that one is gone, too."""
    from ostiary.app import open_register
    from ostiary.externals import told
    from ostiary_tools.control.connect import JournalError

    try:
        async with open_register(config) as register:
            remembered = await register.recall() if register is not None else None
    except (JournalError, ToolError, OSError):
        remembered = None
    return await told(config), remembered


def _written(file: Path, text: str) -> None:
    """For its owner alone, whole or not at all: it says where everything lies."""
    made = file.with_name(f".{file.name}.new")
    try:
        made.unlink(missing_ok=True)
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as sink:
            sink.write(text)
        made.replace(file)
    except OSError as error:
        made.unlink(missing_ok=True)
        message = f"`{one_line(str(file))}` cannot be written: {(error.strerror or 'failed').lower()}"
        raise CommandFailed(message, "name a file in a folder that you may write to", Exit.USAGE) from None
    say(f"written to {one_line(str(file))}")
