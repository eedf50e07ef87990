"""`ostiary audit open-epoch`: a person has the audit log go on that was put back to an earlier moment."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli_administered import account_name
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.audit.opening import Standing
    from ostiary.config import Config
    from ostiary_tools.control.epochs import Ended

CHECK = (
    "tokens revoked since are valid again, and those made since are unknown: `ostiary tokens list`",
    "taints that agents got since are gone: end the sessions of agents that have read what they should not act on",
    "budgets count anew what was used since; plans make backups and drills once more",
    "collections dropped or made since are as they were: `ostiary vectors list`",
    "backups let go since are told as missing, and those made since are not known to have been kept: `ostiary dr report`",
    "migrations run since are not on record: `ostiary migrate list`",
)
"""What an epoch does not end, because nobody can tell what it was."""


def open_epoch(
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why it was put back; on record for ever.")],
    anchor: Annotated[
        list[Path] | None,
        typer.Option("--anchor", metavar="FILE", help="More evidence: a copy of the anchors, or an export. May be repeated."),
    ] = None,
    unproven: Annotated[bool, typer.Option("--unproven", help="Also when nothing but you says that it was put back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what was lost, put that on record for ever, end what came back to life, and let calls run again.

    Stop servers and workers first. Until this is done every call is refused (rule `audit_put_back`).
    What contradicts the log in another way than by a missing end stays tampering.
    """
    from ostiary.audit.notes import Unreadable
    from ostiary_tools.control.connect import JournalError

    loaded = configured(config)
    if not reason.strip():
        raise CommandFailed("the reason is empty", "say why the log was put back", Exit.USAGE)
    if loaded.control.dsn is not None and loaded.control.admin_dsn is None:
        raise CommandFailed("only the administrator of the control database opens an epoch", "set `control.admin_dsn`", Exit.USAGE)
    try:
        stands, ended = asyncio.run(_opened(loaded, reason, anchor or [], unproven=unproven, yes=yes))
    except JournalError as error:
        hint = "stop servers and workers, see that the database runs and `ostiary audit install` was run, and open it again"
        raise CommandFailed(f"the audit log cannot be used: {error}", hint, Exit.UNAVAILABLE) from error
    except Unreadable as error:
        raise CommandFailed(str(error), "give the installation its own public key back", Exit.USAGE) from error
    except OSError as error:
        why = (error.strerror or "failed").lower()
        raise CommandFailed(f"a file of keys or anchors cannot be used: {why}", "name another, or bring it back") from error
    if json_:
        lost = {str(number): {"after": end.seq, "up_to": end.known} for number, end in stands.ends.items() if end.known}
        told = {"lost": lost, "ended": asdict(ended), "tampered": list(stands.tampered), "check": list(CHECK)}
        print_json({"epoch": stands.number, **told})
        return
    _print_ended(stands.number, ended)


async def _opened(config: "Config", reason: str, copies: Sequence[Path], *, unproven: bool, yes: bool) -> "tuple[Standing, Ended]":
    from ostiary.app import open_administered, open_audit
    from ostiary.audit.opening import opened, standing
    from ostiary_tools.control.tokens import TokenTable

    async with open_audit(config, say) as place:
        stands = await standing(place, copies)
        if not stands.known and not unproven:
            hint = "give copies of the anchors, or exports, by `--anchor`; `--unproven` where you know that it was put back"
            raise CommandFailed("nothing outside of the log says more than it does", hint)
        _say_what(stands)
        if not yes:
            typer.confirm(f"Open epoch {stands.number}?", abort=True, err=True)
        ended = await opened(place, stands, account_name(), reason)
    # Whoever records first anchors the epoch's first record.
    async with open_administered(config, say, TokenTable, "audit open-epoch"):
        return stands, ended


def _say_what(stands: "Standing") -> None:
    from ostiary.audit.opening import stretches

    say("the audit log was put back to an earlier moment:")
    for line in stretches(stands.ends):
        say(f"  {line}")
    for number in stands.known.begun:
        say(f"  epoch {number} was opened, or begun, and is not here")
    for line in stands.tampered:
        say(one_line(f"  tampered with, which no epoch covers: {line}"))
    say("what waits for approval, changes that were proposed or applied, jobs and cursors of before end now. See to the rest:")
    for line in CHECK:
        say(f"  {line}")


def _print_ended(number: int, ended: "Ended") -> None:
    what = f"{ended.approvals} approvals, {ended.changes} changes, {ended.jobs} jobs and {ended.cursors} cursors"
    typer.echo(f"epoch {number} is open; ended: {what}")
    if ended.tokens:
        typer.echo(f"{ended.tokens} tokens are valid, and some may have been revoked since: see `ostiary tokens list`")
