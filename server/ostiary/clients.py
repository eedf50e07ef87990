"""How desktop clients are told to start Ostiary: each in its own format, with the command of this installation."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Client(StrEnum):
    """The clients whose format is known."""

    CLAUDE_DESKTOP = "claude-desktop"
    VSCODE = "vscode"
    CURSOR = "cursor"


@dataclass(frozen=True, slots=True)
class ClientFile:
    """Where the client keeps its servers and how it writes them down."""

    location: str
    """For people; where it differs by system, each is named."""
    key: str
    typed: bool
    """Each server states its transport."""


FILES: dict[Client, ClientFile] = {
    Client.CLAUDE_DESKTOP: ClientFile(
        "~/Library/Application Support/Claude/claude_desktop_config.json (macOS), "
        "~/.config/Claude/claude_desktop_config.json (Linux), %APPDATA%\\Claude\\claude_desktop_config.json (Windows)",
        "mcpServers",
        typed=False,
    ),
    Client.VSCODE: ClientFile(".vscode/mcp.json in the workspace", "servers", typed=True),
    Client.CURSOR: ClientFile(".cursor/mcp.json in the project, or ~/.cursor/mcp.json", "mcpServers", typed=False),
}


def client_document(client: Client, command: Sequence[str]) -> dict[str, Any]:
    """The client's JSON that starts `command`."""
    file = FILES[client]
    server: dict[str, Any] = {"type": "stdio"} if file.typed else {}
    return {file.key: {"ostiary": {**server, "command": command[0], "args": list(command[1:])}}}


def serve_command(config: Path | None, role: str | None) -> tuple[str, ...]:
    """The absolute command that serves from this installation: its script, or its interpreter where there is none.

    Clients start it in a folder and with a PATH of their own, so nothing in it is relative.
    """
    # Not resolved: the interpreter of a virtual environment is a link, and its name is what makes the environment.
    script = Path(sys.executable).absolute().parent / "ostiary"
    start = (str(script),) if script.is_file() else (str(Path(sys.executable).absolute()), "-m", "ostiary")
    named = ("--config", str(config.absolute())) if config else ()
    return (*start, "serve", *named, *(("--role", role) if role else ()))


def printed(document: dict[str, Any]) -> str:
    """The document as it stands in the client's file."""
    return json.dumps(document, indent=2, ensure_ascii=False)
