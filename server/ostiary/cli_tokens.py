"""`ostiary tokens create | list | revoke`: the tokens that agents show over HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ostiary.cli_administered import administered
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.audit.recorder import Recorder
    from ostiary.config import Config
    from ostiary_tools.control.tokens import StoredToken, TokenTable

T = TypeVar("T")

app = typer.Typer(help="Make, list and revoke the tokens that agents show over HTTP.", no_args_is_help=True)


@app.command(epilog="Example: ostiary tokens create nightly-report --role analyst --days 30")
def create(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whom it stands for, in policies and in the audit log.")],
    *,
    role: Annotated[list[str], typer.Option("--role", help="A role of `agent.roles`; may be given again.")],
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How long it is valid.")] = 90,
    config: ConfigOption = None,
) -> None:
    """Print a new token, once: only its digest is kept."""
    from ostiary.identity.tokens import digest, new_id, new_token

    loaded = configured(config)
    roles = tuple(sorted(set(role)))
    _check(loaded, agent, roles)
    token, id_ = new_token(), new_id()

    async def act(table: "TokenTable", recorder: "Recorder") -> None:
        # On record before it can be used; one that was recorded and not made opens nothing.
        await recorder.note("token_created", {"token": id_, "agent": agent, "roles": list(roles), "days": days})
        await table.add(id_, digest(token), agent, roles, days)

    _with_tokens(loaded, act)
    say(f"token {id_} of `{agent}` is valid for {days} days; it is not shown again")
    typer.echo(token)


@app.command("list", epilog="Example: ostiary tokens list --json")
def list_(*, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Show every token but its text."""

    async def act(table: "TokenTable", _: "Recorder") -> "list[StoredToken]":
        return await table.all()

    found = _with_tokens(configured(config), act)
    if json_:
        print_json([{k: v.isoformat() if isinstance(v, date) else v for k, v in asdict(token).items()} for token in found])
        return
    for token in found:
        state = "valid" if token.valid else "revoked" if token.revoked_at else "expired"
        used = f"last used {token.used_on}" if token.used_on else "never used"
        typer.echo(
            one_line(f"{token.id}  {token.agent} ({', '.join(token.roles)})  {state} until {token.expires_at:%Y-%m-%d}, {used}")
        )


@app.command(epilog="Example: ostiary tokens revoke k3v7qa2m")
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="As `ostiary tokens list` shows it.")],
    *,
    config: ConfigOption = None,
) -> None:
    """Make a token invalid, at every server within `tokens.cache_s`."""

    async def act(table: "TokenTable", recorder: "Recorder") -> bool:
        done = await table.revoke(token)
        # After it: a log that does not answer must not keep a leaked token alive.
        if done:
            await recorder.note("token_revoked", {"token": token})
        return done

    if not _with_tokens(configured(config), act):
        raise CommandFailed("there is no token of that id", "see `ostiary tokens list`")
    say("revoked")


def _check(config: "Config", agent: str, roles: tuple[str, ...]) -> None:
    from pydantic import TypeAdapter, ValidationError

    from ostiary.config.section import Name

    try:
        TypeAdapter(Name).validate_python(agent)
    except ValidationError:
        hint = "lower-case letters, digits, `_` and `-`, a letter first"
        raise CommandFailed("that is no name of an agent", hint, Exit.USAGE) from None
    if unknown := sorted(set(roles) - set(config.agent.roles)):
        known = ", ".join(f"`{name}`" for name in config.agent.roles)
        raise CommandFailed(f"role `{one_line(unknown[0])}` is not configured", f"choose {known}", Exit.USAGE)


def _with_tokens(config: "Config", act: "Callable[[TokenTable, Recorder], Awaitable[T]]") -> T:
    from ostiary_tools.control.tokens import TokenTable

    return administered(config, TokenTable, "tokens", act)
