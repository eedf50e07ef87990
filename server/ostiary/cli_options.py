"""What several commands share: their options, the configuration they ask for, and how they print data."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ostiary.config import Config

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="Configuration file; else OSTIARY_CONFIG, ./ostiary.toml, or the user's own."),
]
RoleOption = Annotated[str | None, typer.Option("--role", help="Role of the caller; one of `agent.roles`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def configured(path: Path | None, overrides: Mapping[str, object] | None = None) -> "Config":
    """The configuration in force, with logging set up by it. Raises ConfigError."""
    # Imported here, as in every command: `ostiary --help` needs none of it.
    from ostiary import logs
    from ostiary.config import environment, load

    config = load(path, environment(), overrides or {})
    logs.configure(config.server.log_level, config.server.log_format)
    return config


def print_json(data: Any) -> None:
    """One document on stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def say(message: str) -> None:
    """A line of progress, on stderr."""
    typer.echo(message, err=True)


def one_line(text: str) -> str:
    """Without the control characters by which a name or a record could repaint the terminal, or begin a line of ours."""
    return "".join(c if c.isprintable() else " " for c in text)
