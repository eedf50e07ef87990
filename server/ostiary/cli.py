"""The command line: `ostiary …`.

Commands say on stdout what was asked for, everything else on stderr, and end with one
of the codes of `exits`. Whatever they need is imported when they run, so that
`ostiary --help` is quick.
"""

import asyncio
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ostiary import (
    cli_approvals,
    cli_audit,
    cli_backup,
    cli_classify,
    cli_config,
    cli_doctor,
    cli_dr,
    cli_epoch,
    cli_examples,
    cli_expire,
    cli_keep_wal,
    cli_migrate,
    cli_missing,
    cli_plans,
    cli_policy,
    cli_policy_diff,
    cli_policy_install,
    cli_policy_simulate,
    cli_restore,
    cli_taint,
    cli_tokens,
    cli_vectors,
    cli_worker,
)
from ostiary.cli_options import ConfigOption, JsonOption, RoleOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.config import Config

CODES = """\
Exit codes: 0 done; 1 refused, or a check that did not hold; 2 wrong command line, configuration or policies;
3 a database that is needed cannot be reached; 70 a fault of Ostiary itself."""

app = typer.Typer(
    name="ostiary",
    help="The doorkeeper between AI agents and databases.",
    epilog=CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    # Ours are in `main`; typer's print the variables of every frame.
    pretty_exceptions_enable=False,
)
app.command(epilog="Example: ostiary init ostiary.toml")(cli_config.init)
app.command(epilog="Example: ostiary check --config ostiary.toml --json")(cli_config.check)
app.command(epilog="Example: ostiary doctor shop")(cli_doctor.doctor)
app.command(epilog="Example: ostiary classify shop --out tags.toml")(cli_classify.classify)
app.command(epilog="Example: ostiary worker --config ostiary.toml")(cli_worker.worker)
app.command(epilog="Example: ostiary restore shop shop_copy")(cli_restore.restore)
app.command(epilog="Example: ostiary drill shop")(cli_restore.drill)
app.command("config", epilog="Example: ostiary config --client claude-desktop")(cli_config.client_config)
cli_policy.app.command(epilog="Example: ostiary policy diff policies.old policies")(cli_policy_diff.diff)
cli_policy.app.command(epilog="Example: ostiary policy simulate policies --since 7d")(cli_policy_simulate.simulate)
cli_policy.app.command(epilog="Example: ostiary policy install --login reporting --role analyst > install.sql")(
    cli_policy_install.install
)
cli_audit.app.command("open-epoch", epilog='Example: ostiary audit open-epoch --reason "restored after the disk failed"')(
    cli_epoch.open_epoch
)
cli_backup.app.command("keep-wal", epilog="Example: ostiary backup keep-wal %p")(cli_keep_wal.keep_wal)
app.add_typer(cli_policy.app, name="policy")
app.add_typer(cli_examples.app, name="examples")
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_tokens.app, name="tokens")
app.add_typer(cli_taint.app, name="taint")
app.add_typer(cli_migrate.app, name="migrate")
app.add_typer(cli_approvals.app, name="approvals")
app.add_typer(cli_vectors.app, name="vectors")
cli_backup.app.command(epilog="Example: ostiary backup expire --dry-run")(cli_expire.expire)
cli_backup.app.command(epilog="Example: ostiary backup missing --json")(cli_missing.missing)
cli_backup.app.command(epilog="Example: ostiary backup plans --json")(cli_plans.plans)
app.add_typer(cli_backup.app, name="backup")
app.add_typer(cli_dr.app, name="dr")


def _print_version(asked: bool) -> None:
    if asked:
        from ostiary import __version__

        typer.echo(f"ostiary {__version__}")
        raise typer.Exit(Exit.OK)


@app.callback()
def options(
    version_: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Ostiary is the doorkeeper between AI agents and databases."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave the process with its exit code."""
    try:
        app(arguments, prog_name="ostiary")
    except KeyboardInterrupt:
        sys.exit(130)
    # The one boundary of the command line: whatever comes here becomes a line, a hint and a code.
    except Exception as failure:  # noqa: BLE001 see above
        sys.exit(_reported(failure))
    sys.exit(Exit.OK)


def _reported(failure: Exception) -> Exit:
    from ostiary.audit.checkpoint import KeyUnusable
    from ostiary.audit.writer import RecordingFailed, Undecided
    from ostiary.config.problems import ConfigError
    from ostiary.example_files import ExampleError
    from ostiary_policies.errors import PolicyError
    from ostiary_tools.control.connect import JournalError
    from ostiary_tools.embedded.errors import EmbeddedError, InUse
    from ostiary_tools.errors import ToolError, Unavailable

    match failure:
        case ExceptionGroup(exceptions=[Exception() as only]):  # task groups wrap what passes through them
            return _reported(only)
        case ConfigError() | PolicyError() | ExampleError():
            for problem in failure.problems:
                _said(str(problem), "", Exit.USAGE)
            return Exit.USAGE
        case CommandFailed():
            said = failure.message, failure.hint, failure.code
        case EmbeddedError() | Unavailable() if not isinstance(failure, InUse):
            said = failure.message, failure.hint, Exit.UNAVAILABLE
        case InUse() | ToolError():
            said = failure.message, failure.hint, Exit.FAILED
        case Undecided():
            hint = "verify what is there by `ostiary audit verify`; the runbook says what else came back (`ostiary dr runbook`)"
            said = f"the audit log cannot be used: {failure}", hint, Exit.UNAVAILABLE
        case RecordingFailed() | JournalError():
            hint = "see that its database runs, that `control.dsn` reaches it, and that `ostiary audit install` was run"
            said = f"the audit log cannot be used: {failure}", hint, Exit.UNAVAILABLE
        case KeyUnusable():
            said = str(failure), "give it back to its user with `chmod 600`, or restore it from a copy", Exit.USAGE
        case _:
            return _fault(failure)
    return _said(*said)


def _said(message: str, hint: str, code: Exit) -> Exit:
    from ostiary.config.secrets import redacted

    say(redacted(f"error: {message}"))
    if hint:
        say(redacted(f"hint: {hint}"))
    return code


def _fault(failure: Exception) -> Exit:
    """Nobody foresaw it, so the place where it happened is the only help; its text may quote anything and is left out."""
    frames = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(failure.__traceback__)]
    place = frames[-1] if frames else "an unknown place"
    return _said(f"a fault of Ostiary: {type(failure).__name__} at {place}", "please report it with this line", Exit.FAULT)


@app.command(epilog="Example: ostiary serve --role analyst --config ostiary.toml")
def serve(  # noqa: PLR0917 typer calls it by name
    config: ConfigOption = None,
    role: RoleOption = None,
    http: Annotated[bool, typer.Option("--http", help="Serve any number of clients over HTTP.")] = False,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on, with --http.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes that serve, with --http.")] = None,
    listener: Annotated[int | None, typer.Option("--listener", hidden=True)] = None,
) -> None:
    """Serve one client on stdin and stdout, or many over HTTP."""
    if not http and (given := [name for name, value in (("port", port), ("workers", workers)) if value is not None]):
        raise CommandFailed(f"`--{given[0]}` has no effect on stdio", "add `--http`, or leave it out", Exit.USAGE)
    loaded = configured(config, {"agent.role": role, "http.port": port, "http.workers": workers})
    if http and role is not None and loaded.http.authentication:
        hint = "leave it out; callers have the roles that their credentials stand for"
        raise CommandFailed("`--role` has no effect where callers are recognised", hint, Exit.USAGE)
    import structlog
    import uvloop

    from ostiary.serve import serve_as_worker, serve_http, serve_stdio, serve_workers

    progress = structlog.get_logger("ostiary").info
    if listener is not None:
        uvloop.run(serve_as_worker(loaded, listener, progress, config))
    elif http and loaded.http.workers > 1:
        options = [f"--{name}={value}" for name, value in (("config", config), ("role", role)) if value is not None]
        raise typer.Exit(asyncio.run(serve_workers(loaded, options, progress)))
    else:
        uvloop.run(serve_http(loaded, progress, config) if http else serve_stdio(loaded, progress, config))


@app.command(epilog="Example: ostiary demo")
def demo(config: ConfigOption = None) -> None:
    """Show on a sample what Ostiary does.

    Four roles ask the sample database, some are refused, and the audit table proves it all.
    """
    loaded = configured(config)
    from ostiary.demo import demonstrate

    asyncio.run(demonstrate(loaded, say))


@app.command(epilog="Example: ostiary status --json")
def status(config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Say how the embedded PostgreSQL is, and how backups stand.

    Whether it runs, who uses it, where it lies. The exit code is 1 when it does not run.
    """
    from ostiary.vault import open_vault
    from ostiary_tools import embedded

    loaded = configured(config)
    home = loaded.home.data
    backups = open_vault(loaded, None).standing()
    found = asyncio.run(embedded.status(home))
    facts = {
        "running": found.running,
        "in_use": found.in_use,
        "holders": list(found.holders),
        "pid": found.pid,
        "version": found.version,
        "data_dir": str(found.data_dir) if found.data_dir else None,
        "socket_dir": str(found.socket_dir) if found.socket_dir else None,
        "size_bytes": found.size_bytes,
    }
    if json_:
        print_json({**facts, "backups": {"count": backups.count, "newest": backups.newest, "wrong": backups.wrong}})
    else:
        typer.echo(f"embedded PostgreSQL of {home}: {'running' if found.running else 'not running'}")
        for name, value in facts.items():
            if value and name != "running":
                typer.echo(f"  {name.replace('_', ' ')}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
        typer.echo(f"backups: {backups.count or 'none'}")
        for line in (*backups.newest, *backups.wrong):
            typer.echo(f"  {one_line(line)}")
    raise typer.Exit(Exit.OK if found.running else Exit.FAILED)


@app.command(epilog="Example: ostiary stop")
def stop(
    config: ConfigOption = None,
    force: Annotated[bool, typer.Option("--force", help="Stop it although processes use it; their calls fail.")] = False,
) -> None:
    """Stop the embedded PostgreSQL.

    The last process that uses it does so by itself; this is for one that was left over.
    """
    from ostiary_tools import embedded

    stopped = asyncio.run(embedded.stop(configured(config).home.data, say, force=force))
    say("stopped" if stopped else "it was not running")


@app.command(epilog="Example: ostiary reset --yes")
def reset(
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the embedded databases for good.

    The sample and the audit table go; the anchors of the audit table are kept under another name.
    """
    from ostiary_tools import embedded

    loaded = configured(config)
    home = loaded.home.data
    if not yes:
        if not sys.stdin.isatty():
            raise CommandFailed("there is nobody to ask", "confirm with `--yes`", Exit.USAGE)
        typer.confirm(f"Delete every embedded database of {home}, the audit table with them?", abort=True, err=True)
    asyncio.run(embedded.reset(home, say))
    _keep_anchors(loaded)
    say("deleted; the next start makes them anew")


def _keep_anchors(config: "Config") -> None:
    """They prove what the deleted table held, and would convict the new one of having lost it."""
    anchor = config.anchor_file
    if config.control.dsn is None and anchor.exists():
        kept = anchor.with_name(f"{anchor.name}.until-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        anchor.rename(kept)
        say(f"the anchors of the deleted audit table are kept in {kept}")


@app.command(epilog="Example: ostiary version --json")
def version(json_: JsonOption = False) -> None:
    """Print the version."""
    from ostiary import __version__

    if json_:
        print_json({"ostiary": __version__, "python": sys.version.split()[0]})
    else:
        typer.echo(f"ostiary {__version__}")
