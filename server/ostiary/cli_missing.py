"""`ostiary backup missing`: what was kept and is not there, and letting go of it, which is a person's act."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli_administered import account_name
from ostiary.cli_backup import recorded
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ostiary.audit.recorder import Recorder
    from ostiary.vault import Vault
    from ostiary_tools.backup.remembered import Vanished
    from ostiary_tools.backup.repository import Repository


def missing(
    *,
    let_go: Annotated[
        str | None, typer.Option("--let-go", metavar="WHAT", help="Of a backup's id, or a cluster's: it need not be there.")
    ] = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what this installation has kept in the repository and is not there, though nobody here deleted it.

    The exit code is 1 when there is something. What is let go of is on record, and not missed any more.
    """
    loaded = configured(config)

    async def look(vault: "Vault", _: "Recorder") -> "Sequence[Vanished]":
        return await asyncio.to_thread(_vanished, await vault.looking().recalled())

    async def act(vault: "Vault", recorder: "Recorder") -> None:
        await _let_go(vault, recorder, let_go or "")

    found = recorded(loaded, look)
    if let_go is None:
        _print(found, json_=json_)
        raise typer.Exit(Exit.FAILED if found else Exit.OK)
    if let_go not in {one.what for one in found}:
        raise CommandFailed("that is not missing", "`ostiary backup missing` shows what is", Exit.USAGE)
    question = "Nobody is told any more that it is gone. Type it again to go on"
    if typer.prompt(question, err=True, default="", show_default=False).strip() != let_go:
        raise CommandFailed("that is not it: it is still missed", f"type `{one_line(let_go)}`", Exit.USAGE)
    recorded(loaded, act)
    say(f"let go of {one_line(let_go)}")


async def _let_go(vault: "Vault", recorder: "Recorder", what: str) -> None:
    """On record before it is done."""
    person, repository = account_name(), await vault.recalled()
    missed = next((one for one in await asyncio.to_thread(_vanished, repository) if one.what == what), None)
    known = repository.remembered.backup(what) if repository.remembered else None
    if missed is None or (missed.of != "log" and (known is None or missed.of == "drill")):
        # What lies there is a backup: it is drilled or deleted, and not forgotten.
        raise CommandFailed("that backup is there", missed.hint if missed else "look again")
    await recorder.note("kept_let_go", {"what": what, "of": missed.of, "person": person})
    of = repository.description.id
    if known is None:
        await vault.note(lambda register: register.forget_log(of, what))
    else:
        how = (known.datasource, known.kind)
        await vault.note(lambda register: register.let_go(of, what, how, "given up", person))


def _vanished(repository: "Repository") -> "Sequence[Vanished]":
    from ostiary_tools.backup.vanished import vanished

    return vanished(repository)


def _print(found: "Sequence[Vanished]", *, json_: bool) -> None:
    if json_:
        print_json([{"what": one.what, "of": one.of, "found": one.words, "hint": one.hint} for one in found])
        return
    for one in found:
        typer.echo(one_line(f"{one.what}: {one.words}; {one.hint}"))
    if not found:
        say("nothing that was kept is missing")
