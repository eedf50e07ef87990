"""How clients are told of Ostiary: each in its own format, with the command of this installation or the address of a server."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

TOKEN = "DATABASE_TOKEN"  # noqa: S105 a name
"""What holds the token at the client's side: no file of a client should."""


class Client(StrEnum):
    """The clients whose format is known."""

    CLAUDE_DESKTOP = "claude-desktop"
    CLAUDE_CODE = "claude-code"
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
    token: str = ""
    """How it writes a variable of the user's environment, or what it asks for; empty where its file takes no address."""


FILES: dict[Client, ClientFile] = {
    Client.CLAUDE_DESKTOP: ClientFile(
        "~/Library/Application Support/Claude/claude_desktop_config.json (macOS), "
        "~/.config/Claude/claude_desktop_config.json (Linux), %APPDATA%\\Claude\\claude_desktop_config.json (Windows)",
        "mcpServers",
        typed=False,
    ),
    Client.CLAUDE_CODE: ClientFile(".mcp.json in the project", "mcpServers", typed=True, token=f"${{{TOKEN}}}"),
    Client.VSCODE: ClientFile(".vscode/mcp.json in the workspace", "servers", typed=True, token=f"${{input:{TOKEN}}}"),
    Client.CURSOR: ClientFile(
        ".cursor/mcp.json in the project, or ~/.cursor/mcp.json", "mcpServers", typed=False, token=f"${{env:{TOKEN}}}"
    ),
}


def client_document(client: Client, command: Sequence[str]) -> dict[str, Any]:
    """The client's JSON that starts `command`."""
    file = FILES[client]
    server: dict[str, Any] = {"type": "stdio"} if file.typed else {}
    return {file.key: {"ostiary": {**server, "command": command[0], "args": list(command[1:])}}}


def address_document(client: Client, url: str, *, token: bool) -> dict[str, Any]:
    """The client's JSON that reaches `url`, with a token of the user's if the server wants one that no login gives."""
    file = FILES[client]
    server: dict[str, Any] = {"type": "http"} if file.typed else {}
    server |= {"url": url} | ({"headers": {"Authorization": f"Bearer {file.token}"}} if token else {})
    document: dict[str, Any] = {file.key: {"ostiary": server}}
    if token and client is Client.VSCODE:
        document["inputs"] = [{"type": "promptString", "id": TOKEN, "description": "Token for Ostiary", "password": True}]
    return document


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
