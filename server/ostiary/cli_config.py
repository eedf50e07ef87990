"""`ostiary init`, `check` and `config`: the configuration from the operator's side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ostiary.cli_options import ConfigOption, JsonOption, RoleOption, configured, print_json, say
from ostiary.clients import FILES, TOKEN, Client, address_document, client_document, printed, serve_command
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.config import Config


def init(
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="The file to write.", show_default=True)] = Path("ostiary.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented configuration file."""
    from ostiary.config.document import commented_file

    try:
        with path.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(commented_file())
    except FileExistsError:
        raise CommandFailed(f"`{path}` is there already", "name another file, or overwrite it with `--force`", Exit.USAGE) from None
    except OSError as failure:
        raise CommandFailed(f"cannot write `{path}`: {(failure.strerror or 'failed').lower()}", code=Exit.USAGE) from None
    say(f"wrote {path}; `ostiary check --config {path}` shows what is in force")


def check(config: ConfigOption = None, role: RoleOption = None, json_: JsonOption = False) -> None:
    """Print what is in force and where it came from.

    Checks the configuration and the policies, and lists every problem there is.
    """
    from ostiary.config import environment, find
    from ostiary.config.document import listing, toml
    from ostiary.policy_files import read

    loaded = configured(config, {"agent.role": role})
    policy = read(loaded.policy.directory, loaded.policy.bundles, frozenset(loaded.policy.tags), loaded.attribute_types)
    file = find(config, environment())
    rows = listing(loaded)
    if json_:
        settings = [{"name": row.name, "value": row.value, "origin": row.origin} for row in rows]
        print_json({"file": str(file) if file else None, "policy_hash": policy.policy_hash, "settings": settings})
        return
    typer.echo(f"configuration file: {file or 'none, the defaults are in force'}")
    shown = [(row.name, "unset" if row.value is None else toml(row.value), row.origin) for row in rows]
    names, values = (max(len(line[column]) for line in shown) for column in (0, 1))
    for name, value, origin in shown:
        typer.echo(f"{name:<{names}}  {value:<{min(values, 60)}}  {origin}")
    typer.echo(f"policies are valid, hash {policy.policy_hash}")


def client_config(
    client: Annotated[Client, typer.Option("--client", help="The client that is to start Ostiary.")],
    config: ConfigOption = None,
    role: RoleOption = None,
    http: Annotated[bool, typer.Option("--http", help="Reach a server over HTTP instead of starting one.")] = False,
    json_: JsonOption = False,
) -> None:
    """Print the configuration of a client.

    It holds the absolute command of this installation and the configuration file that is in force here, or with --http the address.
    """
    from ostiary.config import environment, find

    loaded = configured(config, {"agent.role": role})
    if http:
        if not FILES[client].token:
            raise CommandFailed(
                f"{client} takes no address in its file",
                "add the address under Settings, Connectors; or let it start Ostiary, without `--http`",
                Exit.USAGE,
            )
        ways = loaded.http.authentication
        token = "tokens" in ways and "oauth" not in ways  # with `oauth`, clients get their tokens themselves
        typer.echo(printed(address_document(client, _address(loaded), token=token)))
        if token and not json_:
            say(f"the token stands in no file: the client takes it from `{TOKEN}`, or asks for it")
        if ways == ("proxy",) and not json_:
            say("the proxy asks for a certificate, which stands in no client's file: give it to the client's machine")
    else:
        # The client starts elsewhere and with another environment, so the file that was found is named.
        typer.echo(printed(client_document(client, serve_command(find(config, environment()), role))))
    if not json_:
        say(f"put this into {FILES[client].location}")


def _address(config: "Config") -> str:
    """Where clients reach the server: as the identity provider knows it, else by its public name, else where it listens."""
    from ostiary.config.callers import host_in, is_loopback

    http = config.http
    if config.oauth.resource:
        return config.oauth.resource
    public = next((host for host in http.hosts if not is_loopback(host_in(host))), None)
    if public is not None:  # Ostiary speaks no TLS, and whatever others reach it through must
        return f"https://{public.removesuffix(':*')}/mcp"
    if not is_loopback(http.host) or http.port == 0:
        raise CommandFailed(
            "the configuration does not say by what address clients reach the server",
            "name it in `http.hosts`" if http.port else "choose an `http.port`",
            Exit.USAGE,
        )
    return f"http://{f'[{http.host}]' if ':' in http.host else http.host}:{http.port}/mcp"
