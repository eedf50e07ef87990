"""`ostiary backup …`: begin a repository of backups, make them, look at them, and delete one.

Making, listing and verifying are calls of the tools that agents have, through the gate. To begin a repository, to prove its
recovery key and to delete a backup are acts of a person, which no agent has, and which are recorded as such.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from ostiary.cli_administered import account_name
from ostiary.cli_backup_status import status
from ostiary.cli_options import ConfigOption, JsonOption, RoleOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.audit.recorder import Recorder
    from ostiary.config import Config
    from ostiary.discarding import Doomed
    from ostiary.founding import Begun
    from ostiary.local_calls import LocalCalls
    from ostiary.progress import Tell
    from ostiary.vault import Vault

T = TypeVar("T")

app = typer.Typer(help="Encrypted backups: begin a repository, make, list, verify and delete them.", no_args_is_help=True)
app.command(epilog="Example: ostiary backup status --json")(status)

Id = Annotated[str, typer.Argument(metavar="BACKUP", help="Its id, or a datasource: the newest of it.")]
Key = Annotated[Path | None, typer.Option("--recovery-key", metavar="FILE", help="The file of the recovery key.")]
_PAGE = 100


@app.command(epilog="Example: ostiary backup init --recovery-key /media/stick/recovery.key")
def init(
    *,
    recovery_key: Annotated[
        Path | None, typer.Option("--recovery-key", metavar="FILE", help="A new file for a new recovery key, which you take away.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option("--recovery-recipient", metavar="age1…", help="The public part of one that lies elsewhere.")
    ] = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Begin the repository of backups, and make its keys.

    Backups are encrypted to two keys: this installation's own, and a recovery key for the day when this machine is gone.
    """
    if (recovery_key is None) == (recipient is None):
        hint = "`--recovery-key FILE` makes one to take away; `--recovery-recipient age1…` names one that age-keygen made"
        raise CommandFailed("say which recovery key the backups have", hint, Exit.USAGE)
    loaded = configured(config)
    begun = _begun(loaded, recovery_key, recipient)
    if json_:
        print_json({
            "repository": begun.place, "operational_recipient": begun.operational, "recovery_recipient": begun.recovery,
            "recovery_key": str(recovery_key) if recovery_key else None, "proven": not begun.probe, "probe": begun.probe or None,
        })  # fmt: skip
        return
    typer.echo(f"backups are kept in {begun.place}")
    if recovery_key is not None:
        typer.echo(f"the recovery key is in {recovery_key} and nowhere else, and was seen to decrypt")
        say("take it away from this machine now: whoever has it reads every backup, and without it and this machine nobody does")
    else:
        typer.echo("prove the recovery key before the first backup; where it lies, run")
        typer.echo(f"  echo {begun.probe} | base64 -d | age -d -i recovery.key | base64")
        typer.echo("and here, with what that prints: ostiary backup prove ANSWER")


def _begun(config: "Config", file: Path | None, recipient: str | None) -> "Begun":
    from ostiary import founding

    place = founding.key_place(file, config) if file is not None else None

    async def act(vault: "Vault", recorder: "Recorder") -> "Begun":
        await asyncio.to_thread(founding.vacant, vault)
        # On record before: who chooses the recovery key can read every backup.
        await recorder.note("backups_beginning", {"person": account_name(), "repository": vault.where})
        if place is not None:
            begun = await asyncio.to_thread(founding.begin, vault, place)
        else:
            begun = await asyncio.to_thread(founding.begin_for, vault, recipient or "")
        await recorder.note("backups_begun", {"person": account_name(), "recovery_recipient": begun.recovery})
        return begun

    return recorded(config, act)


@app.command(epilog="Example: ostiary backup prove --recovery-key /media/stick/recovery.key")
def prove(
    answer: Annotated[str | None, typer.Argument(metavar="[ANSWER]", help="What the command that `init` printed gave.")] = None,
    *,
    recovery_key: Key = None,
    config: ConfigOption = None,
) -> None:
    """Record that the recovery key decrypts; before that nothing is backed up. Once a year it shows that you still have it."""
    from ostiary import founding

    given = recovery_key or answer
    if given is None or (recovery_key and answer):
        raise CommandFailed("say what the key is proven by", "give what the probe held, or `--recovery-key FILE`", Exit.USAGE)

    async def act(vault: "Vault", recorder: "Recorder") -> None:
        proven = await asyncio.to_thread(founding.prove, vault, given)
        facts = {"person": account_name(), "recovery_recipient": proven.description.recovery}
        await recorder.note("recovery_key_proven", facts)

    recorded(configured(config), act)
    say("the recovery key decrypts; keep it away from this machine")


@app.command(epilog="Example: ostiary backup create shop --kind full")
def create(
    datasource: Annotated[str | None, typer.Argument(metavar="[DATASOURCE]", help="Needed when there are several.")] = None,
    *,
    kind: Annotated[
        Literal["logical", "full", "incremental", "sqlite"] | None,
        typer.Option(
            "--kind",
            help="One database, its whole cluster, or what changed in that since. Else the usual one.",
        ),
    ] = None,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Make a backup. `control` is the control database, with the audit log."""
    from ostiary.backup_calls import described, known_to, usual_source

    async def act(calls: "LocalCalls", tell: "Tell") -> tuple[str, dict[str, Any]]:
        source = datasource or await usual_source(calls)
        before = {one.manifest.id for one in (await known_to(calls)).backups}
        text = await calls("create_backup", given(datasource=source, kind=kind), tell)
        made = next((one for one in (await known_to(calls)).backups if one.manifest.id not in before), None)
        return text, described(made) if made else {}

    text, made = called(config, role, act)
    print_json(made) if json_ else typer.echo(text)


@app.command("list", epilog="Example: ostiary backup list --json")
def list_(
    datasource: Annotated[str | None, typer.Argument(metavar="[DATASOURCE]", help="Only of this one.")] = None,
    *,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """List the backups that the role knows, the newest first, each proven by a drill, unproven or damaged."""
    from ostiary.local_calls import table_of

    async def act(calls: "LocalCalls", _: "Tell") -> tuple[list[dict[str, str | None]], str]:
        rows: list[dict[str, str | None]] = []
        while True:
            text = await calls("list_backups", given(datasource=datasource, limit=_PAGE, offset=len(rows)))
            page, closing = table_of(text)
            rows += page
            if not page or f"; next: offset {len(rows)}" not in closing:
                return rows, closing.partition("; ")[2]

    rows, closing = called(config, role, act)
    if json_:
        print_json(rows)
        return
    for row in rows:
        size = f"{row['rows']} rows, {row['stored']}" if row["rows"] else row["stored"]
        typer.echo(f"{row['backup']}  {row['datasource']}  {row['kind']}  {row['taken']}  {size}  {row['state']}")
    say(closing)


@app.command(epilog="Example: ostiary backup show shop")
def show(backup: Id, *, role: RoleOption = None, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Say what a backup is made of, what it held, and what its drills found."""
    from ostiary.backup_calls import Shown, described, drill_described, meant, shown

    async def act(calls: "LocalCalls", _: "Tell") -> Shown:
        return await shown(calls, await meant(calls, backup))

    found = called(config, role, act)
    if json_:
        print_json({**described(found.known), "drills": [drill_described(one) for one in found.drills],
                    "log": drill_described(found.log) if found.log else None})  # fmt: skip
        return
    told = described(found.known)
    for name in ("backup", "datasource", "kind", "parent", "server_version", "taken", "state", "database", "tables", "rows"):
        if told.get(name) not in (None, ""):
            typer.echo(f"{name.replace('_', ' ')}: {one_line(str(told[name]))}")
    for member in told["members"]:
        typer.echo(f"member {member['name']}: {member['plain_bytes']:,} bytes, {member['stored_bytes']:,} stored")
    for note in told["notes"]:
        typer.echo(f"note: {one_line(note)}")
    if found.log:
        typer.echo(f"log at {found.log.ended_at:%Y-%m-%d %H:%M:%S}Z: {one_line(found.log.checks[0].words)}")
    for one in found.drills:
        ended = f"failed: `{one_line(one.damage)}` is damaged" if one.damage else "passed"
        typer.echo(f"drill {one.ended_at:%Y-%m-%d %H:%M:%S}Z: {ended}, {len(one.checks)} checks")


@app.command(epilog="Example: ostiary backup verify shop")
def verify(
    backup: Id,
    *,
    level: Annotated[
        Literal["manifest", "wal"], typer.Option("--level", help="`wal`: the kept log that leads on from it, to its end.")
    ] = "manifest",
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Read every byte of a backup and compare it with what was kept. The exit code is 1 when it is damaged."""
    from ostiary.backup_calls import meant

    async def act(calls: "LocalCalls", tell: "Tell") -> tuple[str, str]:
        id_ = await meant(calls, backup)
        return id_, await calls("verify_backup", {"backup": id_, "level": level}, tell)

    id_, text = called(config, role, act)
    print_json({"backup": id_, "intact": True, "found": text.splitlines()}) if json_ else typer.echo(text)


@app.command(epilog="Example: ostiary backup delete 20260102T030405Z-0a1b2c3d")
def delete(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `ostiary backup list` shows it; typed again when asked.")],
    *,
    last: Annotated[bool, typer.Option("--last", help="Also when its datasource has no other that is worth as much.")] = False,
    config: ConfigOption = None,
) -> None:
    """Delete a backup for good. What its drills found stays."""
    from ostiary import discarding

    async def look(vault: "Vault", _: "Recorder") -> "Doomed":
        return await asyncio.to_thread(discarding.doomed, await vault.looking().recalled(), id_)

    async def act(vault: "Vault", recorder: "Recorder") -> None:
        # Looked at again: another may have been deleted while a person was asked.
        found = await asyncio.to_thread(discarding.doomed, await vault.recalled(), id_)
        _refuse_last(found, last=last)
        await discarding.delete(vault, found, account_name(), recorder)

    loaded = configured(config)
    found = recorded(loaded, look)
    _refuse_last(found, last=last)
    _typed(f"This deletes {_of(found)} for good. Type its id to go on", id_)
    if found.last and found.manifest is not None:
        _typed("Then its datasource has nothing left to restore. Type the datasource's name, too", found.manifest.datasource)
    recorded(loaded, act)
    say(f"deleted {one_line(id_)}")


def _refuse_last(found: "Doomed", *, last: bool) -> None:
    if found.last and not last and found.manifest is not None:
        what = "proven backup" if found.proven else "backup"
        hint = "make and drill another one first, or say so with `--last`"
        raise CommandFailed(f"it is the only {what} of `{one_line(found.manifest.datasource)}`", hint)


def _of(found: "Doomed") -> str:
    made = found.manifest
    if made is None:
        return "a damaged backup"
    state = "proven" if found.proven else "unproven"
    return f"the {state} {made.kind} backup of {one_line(made.datasource)}, taken {made.ended_at:%Y-%m-%d %H:%M} UTC,"


def _typed(question: str, wanted: str) -> None:
    if typer.prompt(question, err=True, default="", show_default=False).strip() != wanted:
        raise CommandFailed("that is not it: nothing was deleted", f"type `{one_line(wanted)}`", Exit.USAGE)


def recorded(config: "Config", act: "Callable[[Vault, Recorder], Awaitable[T]]") -> T:
    """An act of a person on the backups, with the audit log at hand."""
    from ostiary.app import open_kept

    async def acted() -> T:
        async with open_kept(config, say, "backup") as (vault, recorder):
            return await act(vault, recorder)

    return asyncio.run(acted())


def called(config: Path | None, role: str | None, act: "Callable[[LocalCalls, Tell], Awaitable[T]]", *, agreed: bool = False) -> T:
    """What the act gives, in a house that is open meanwhile, with its progress shown."""
    from ostiary.bar import told

    loaded = configured(config)
    from ostiary.local_calls import local_calls

    async def acted() -> T:
        async with local_calls(loaded, role, usual="custodian", agreed=agreed) as calls:
            with told() as tell:
                return await act(calls, tell)

    return asyncio.run(acted())


def given(**options: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in options.items() if value is not None}
