"""`ostiary init`, `check` and `config`: the configuration from the operator's side."""

from pathlib import Path
from typing import Annotated

import typer

from ostiary.cli_options import ConfigOption, JsonOption, RoleOption, configured, print_json, say
from ostiary.clients import FILES, Client, client_document, printed, serve_command
from ostiary.exits import CommandFailed, Exit


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
    policy = read(loaded.policy.directory, loaded.policy.bundles, frozenset(loaded.policy.tags))
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
    json_: JsonOption = False,
) -> None:
    """Print the configuration of a desktop client.

    It holds the absolute command of this installation, and the configuration file that is in force here.
    """
    from ostiary.config import environment, find

    configured(config, {"agent.role": role})
    # The client starts elsewhere and with another environment, so the file that was found is named.
    typer.echo(printed(client_document(client, serve_command(find(config, environment()), role))))
    if not json_:
        say(f"put this into {FILES[client].location}")
