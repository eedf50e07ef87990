import json
import os
import subprocess
from pathlib import Path

import pytest

from ostiary.clients import FILES, Client, address_document, client_document, printed, serve_command

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("client", Client)
def test_a_client_is_given_a_command_that_exists_here(client: Client) -> None:
    document = json.loads(printed(client_document(client, serve_command(None, None))))
    server = document[FILES[client].key]["ostiary"]
    assert Path(server["command"]).is_absolute()
    assert os.access(server["command"], os.X_OK)
    assert server["args"][-1] == "serve"
    done = subprocess.run([server["command"], *server["args"], "--help"], capture_output=True, text=True, check=True, cwd="/")
    assert "ostiary serve" in done.stdout


def test_each_client_has_its_own_format() -> None:
    command = ("/bin/ostiary", "serve")
    plain = {"mcpServers": {"ostiary": {"command": "/bin/ostiary", "args": ["serve"]}}}
    assert client_document(Client.CLAUDE_DESKTOP, command) == plain
    assert client_document(Client.CURSOR, command) == plain
    typed = {"servers": {"ostiary": {"type": "stdio", "command": "/bin/ostiary", "args": ["serve"]}}}
    assert client_document(Client.VSCODE, command) == typed


def test_the_configuration_file_is_named_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert serve_command(Path("o.toml"), "auditor")[-5:] == ("serve", "--config", str(tmp_path / "o.toml"), "--role", "auditor")


def test_the_shipped_mcp_json_is_the_bare_command() -> None:
    expected = {"mcpServers": {"ostiary": {"command": "ostiary", "args": ["serve"]}}}
    assert json.loads((ROOT / "mcp.json").read_text()) == expected


def test_each_client_has_its_own_form_of_an_address_and_names_the_token_without_holding_it() -> None:
    url = "https://db.example.com/mcp"
    assert address_document(Client.CLAUDE_CODE, url, token=False) == {"mcpServers": {"ostiary": {"type": "http", "url": url}}}
    bearer = {"Authorization": "Bearer ${DATABASE_TOKEN}"}
    code = {"mcpServers": {"ostiary": {"type": "http", "url": url, "headers": bearer}}}
    assert address_document(Client.CLAUDE_CODE, url, token=True) == code
    bearer = {"Authorization": "Bearer ${env:DATABASE_TOKEN}"}
    assert address_document(Client.CURSOR, url, token=True) == {"mcpServers": {"ostiary": {"url": url, "headers": bearer}}}
    vscode = address_document(Client.VSCODE, url, token=True)
    [asked] = vscode["inputs"]
    assert vscode["servers"]["ostiary"]["headers"] == {"Authorization": f"Bearer ${{input:{asked['id']}}}"}
    assert asked["password"] is True
