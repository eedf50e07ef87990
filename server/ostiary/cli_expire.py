"""`ostiary backup expire`: delete what no plan keeps any more. A person's act, which no agent has."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli_administered import account_name
from ostiary.cli_backup import recorded
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.audit.recorder import Recorder
    from ostiary.config import Config
    from ostiary.expiring import Due
    from ostiary.vault import Vault


def expire(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Delete the backups that no plan keeps any more, once they were marked long enough, and the log before the oldest that stays.

    `ostiary worker` marks them, and `ostiary backup list` says so. What the last good backup is, or what another one is built
    on, never goes.
    """
    loaded = configured(config)
    found = _due(loaded)
    if json_:
        print_json(_described(found))
    else:
        _listed(found)
    if dry_run or not (found.backups or found.log or found.left):
        return
    _typed(found)
    done = _expired(loaded, found)
    say(f"deleted {_counted(done)}")


def _due(config: "Config") -> "Due":
    from ostiary.expiring import due

    async def look(vault: "Vault", _: "Recorder") -> "Due":
        return await asyncio.to_thread(due, await vault.looking().recalled(), config.plans, datetime.now(UTC))

    return recorded(config, look)


def _expired(config: "Config", shown: "Due") -> "Due":
    from ostiary import expiring

    async def act(vault: "Vault", recorder: "Recorder") -> "Due":
        by = expiring.Expiry(account_name(), recorder.note, vault)
        return await expiring.expire(await vault.recalled(), config.plans, shown, by)

    return recorded(config, act)


def _listed(found: "Due") -> None:
    from ostiary_tools.backup.telling import bytes_told

    for one in found.backups:
        made = one.manifest
        state = "proven" if one.proven else "failed its drill" if one.failed else "unproven"
        taken = f"{made.ended_at:%Y-%m-%d %H:%M:%S}Z"
        typer.echo(f"{made.id}  {one_line(made.datasource)}  {made.kind}  {taken}  {bytes_told(made.stored_bytes)}  {state}")
    for trimmed in found.log:
        first, last = trimmed.folders[0].rpartition("/")[2], trimmed.folders[-1].rpartition("/")[2]
        typer.echo(f"log of cluster {trimmed.system_identifier}: {len(trimmed.folders)} segments, {first} to {last}")
    if not (found.backups or found.log):
        say("nothing is to be deleted now; `ostiary backup list` says what goes later")


def _described(found: "Due") -> dict[str, object]:
    return {
        "backups": [one.id for one in found.backups],
        "log": [
            {"cluster": one.system_identifier, "segments": [folder.rpartition("/")[2] for folder in one.folders]}
            for one in found.log
        ],
    }


def _counted(found: "Due") -> str:
    backups, segments = len(found.backups), found.segments
    return f"{backups} backup{'s' * (backups != 1)} and {segments} segment{'s' * (segments != 1)} of the log"


def _typed(found: "Due") -> None:
    if not (found.backups or found.log):
        return
    wanted = f"delete {len(found.backups)}"
    question = f"This deletes {_counted(found)} for good. Type `{wanted}` to go on"
    if typer.prompt(question, err=True, default="", show_default=False).strip() != wanted:
        raise CommandFailed("that is not it: nothing was deleted", f"type `{wanted}`", Exit.USAGE)
