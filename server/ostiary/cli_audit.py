"""`ostiary audit verify | show | export | prove | seal`: what the log says, and whether it can be believed."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.audit.place import AuditPlace
    from ostiary.audit.verify import Report

T = TypeVar("T")

app = typer.Typer(help="Read, verify, export and seal the audit log.", no_args_is_help=True)


@app.command(epilog="Example: ostiary audit verify --export log.jsonl --public-key audit.pub")
def verify(
    *,
    export: Annotated[Path | None, typer.Option("--export", help="Verify this export; needs no database.")] = None,
    proof: Annotated[Path | None, typer.Option("--proof", help="Check this proof of `audit prove`; needs no database.")] = None,
    public_key: Annotated[Path | None, typer.Option("--public-key", help="Public key to believe; else the installation's.")] = None,
    anchor: Annotated[Path | None, typer.Option("--anchor", help="A copy of the anchor file; else the installation's.")] = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Verify every record against the signed checkpoints.

    Exit codes: 0 all is as it was written; 1 it was tampered with; 2 that cannot be told; 4 as written, but it was put back once,
    which `ostiary audit open-epoch` has put on record.
    """
    from ostiary.audit.verify import verify_database, verify_export

    if (export or proof) and public_key is None:
        raise CommandFailed("an export or a proof is verified with a public key", "give --public-key", Exit.USAGE)
    if proof and public_key:
        _verify_proof(proof, public_key, as_json=json_)
    elif export and public_key:
        _report(verify_export(export, public_key, anchor), as_json=json_)
    else:
        report = _with_log(
            config, lambda place: verify_database(place.reader_dsn, public_key or place.public_key, anchor or place.anchor)
        )
        _report(report, as_json=json_)


@app.command(epilog="Example: ostiary audit install --config ostiary.toml")
def install(*, config: ConfigOption = None) -> None:
    """Make or update the audit table in the control database, as `control.admin_dsn`. The embedded one needs no such step."""
    from ostiary_tools.control.migrate import migrate

    async def apply(place: "AuditPlace") -> tuple[str, ...]:
        return await migrate(place.admin_dsn)

    applied = _with_log(config, apply)
    say(f"applied {', '.join(applied)}" if applied else "nothing to do: the audit table is up to date")


@app.command(epilog="Example: ostiary audit show --agent local --kind denial")
def show(
    *,
    agent: Annotated[str | None, typer.Option("--agent", help="Only this agent.")] = None,
    tool: Annotated[str | None, typer.Option("--tool", help="Only this tool.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only intent, outcome, denial or event.")] = None,
    before: Annotated[str | None, typer.Option("--before", help="Only records before this position (see --json).")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Records to show.")] = 20,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Show the newest records first."""
    from ostiary.audit.reader import LogReader

    async def read(place: "AuditPlace") -> list[dict[str, Any]]:
        found = await LogReader(place).records(agent=agent, tool=tool, kind=kind, before=before, limit=limit)
        return [dict(record) for record in found]

    records = _with_log(config, read)
    if json_:
        print_json(records)
    else:
        _print_records(records)


@app.command(epilog="Example: ostiary audit export log.jsonl")
def export(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="New file, JSON Lines.")],
    *,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Write the whole log to a file that anyone with the public key can verify."""
    from ostiary.audit.export import export_log

    _refuse_existing(target)
    count = _with_log(config, lambda place: export_log(place.reader_dsn, target))
    if json_:
        print_json({"file": str(target), "records": count})
    else:
        typer.echo(f"{count} records in {target}")


@app.command(epilog="Example: ostiary audit prove --stream 0 --record 42 > record-42.json")
def prove(
    *,
    stream: Annotated[int, typer.Option("--stream", min=0, help="The stream.")] = 0,
    record: Annotated[int | None, typer.Option("--record", min=1, help="Prove that this record is in the log.")] = None,
    grown: Annotated[
        tuple[int, int] | None,
        typer.Option("--grown", metavar="OLD NEW", help="Prove that the log of NEW records continues the log of OLD."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print a proof as JSON, to be checked with `audit verify --proof`. It shows no other record."""
    from ostiary.audit.proof import NoProof, prove_growth, prove_record

    async def proof(place: "AuditPlace") -> dict[str, Any]:
        if record is not None:
            return await prove_record(place.reader_dsn, stream, record)
        if grown is not None:
            return await prove_growth(place.reader_dsn, stream, *grown)
        raise CommandFailed("nothing to prove was named", "give --record or --grown", Exit.USAGE)

    try:
        print_json(_with_log(config, proof))
    except NoProof as error:
        raise CommandFailed(str(error)) from error


@app.command(epilog="Example: ostiary audit seal 2026-08 --export 2026-08.jsonl")
def seal(
    month: Annotated[str, typer.Argument(metavar="YYYY-MM", help="The oldest month of the log; it must be past.")],
    *,
    target: Annotated[Path, typer.Option("--export", help="New file for the month's records.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Export the oldest month, sign for it, and drop its records from the database. The chain goes on from the seal."""
    from ostiary.audit.seal import SealRefused, seal_month

    _refuse_existing(target)
    if not yes:
        typer.confirm(f"Drop the records of {month} from the database once they are in {target}?", abort=True, err=True)
    try:
        sealed = _with_log(config, lambda place: seal_month(place, month.replace("-", "_"), target))
    except SealRefused as error:
        raise CommandFailed(str(error), "nothing was dropped") from error
    if json_:
        print_json({"partition": sealed.partition, "records": sealed.records, "file": str(sealed.export)})
    else:
        typer.echo(f"{sealed.records} records of {month} are in {target} and no longer in the database")


def _with_log(config: Path | None, act: "Callable[[AuditPlace], Awaitable[T]]") -> T:
    """Run with the log's database up. A database that does not answer ends the command."""
    from ostiary.app import open_audit
    from ostiary_tools.control.connect import JournalError

    loaded = configured(config)

    async def run() -> T:
        async with open_audit(loaded, say) as place:
            return await act(place)

    try:
        return asyncio.run(run())
    except JournalError as error:
        raise CommandFailed(f"the audit log cannot be read: {error}", "see that its database runs", Exit.UNAVAILABLE) from error


def _report(report: "Report", *, as_json: bool) -> None:
    from ostiary.audit.reader import words

    if as_json:
        print_json({"verdict": report.verdict, **asdict(report)})
    else:
        typer.secho(words(report), fg={0: "green", 1: "red"}.get(report.exit_code, "yellow"))
    raise typer.Exit(report.exit_code)


def _verify_proof(proof: Path, public_key: Path, *, as_json: bool) -> None:
    from ostiary.audit.notes import Unreadable
    from ostiary.audit.proof import NoProof, check_proof

    try:
        code, said = 0, check_proof(proof.read_text("utf-8"), public_key)
    except NoProof as error:
        code, said = 1, str(error)
    except (OSError, UnicodeDecodeError, Unreadable) as error:
        code, said = 2, str(error)
    if as_json:
        print_json({"verdict": ("good", "tampered", "unknown")[code], "shows": said})
    else:
        typer.secho(said, fg=("green", "red", "yellow")[code])
    raise typer.Exit(code)


def _print_records(records: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("time", "record", "kind", "agent", "tool", "what", "under"):
        table.add_column(head, overflow="fold")
    for record in records:
        kind, status = record["kind"], record.get("status", "")
        bad = kind == "denial" or status in ("error", "unknown")
        cells = (
            record["at"][:19],
            f"{record['stream']}/{record['seq']}",
            kind,
            record.get("agent", ""),
            record.get("tool", record.get("event", "")),
            _what(record),
            " ".join(record.get("rules", ())),
        )
        # Text and not markup: what agents wrote stands here.
        table.add_row(*(Text(one_line(str(cell))) for cell in cells), style="red" if bad else "")
    Console().print(table)


def _what(record: dict[str, Any]) -> str:
    if record["kind"] == "outcome":
        parts = [
            record["status"],
            record.get("error", ""),
            f"{record.get('rows', 0)} rows",
            f"{record.get('duration_us', 0) / 1000:.1f} ms",
        ]
        return ", ".join(filter(None, parts))
    if record["kind"] == "event":
        return ", ".join(f"{k}={json.dumps(v)}" for k, v in record.items() if k not in _HEAD)
    return str(record.get("reason") or record.get("sql") or json.dumps(record.get("arguments", {}), ensure_ascii=False))


_HEAD = frozenset({"position", "at", "stream", "seq", "kind", "call_id", "event", "agent", "tool", "rules"})


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise CommandFailed(f"`{target}` exists already", "name a new file")
