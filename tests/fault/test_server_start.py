"""A server that cannot start says why and how to mend it, and starts nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fix_faults import CANARY, Installation, embedded, external
from fix_postgres import PostgresServer

from ostiary.exits import Exit

pytestmark = pytest.mark.fault


@pytest.fixture
def quiet(tmp_path: Path) -> Installation:
    """An installation that must not come so far as to start its PostgreSQL."""
    return embedded(tmp_path / "home", tmp_path)


def refused(installation: Installation, *options: str) -> str:
    """What a server says that refuses its configuration, on stderr and as its only output, in words; it started nothing."""
    ended = installation.run("serve", *options)
    assert ended.returncode == Exit.USAGE, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: ")
    for word in ("Traceback", 'File "', "a fault of Ostiary", CANARY):
        assert word not in ended.stderr
    assert not (installation.folder / "home").exists()
    return ended.stderr


def add(installation: Installation, text: str) -> None:
    with installation.file.open("a") as file:
        file.write(text)


def test_a_policy_directory_that_does_not_exist(quiet: Installation) -> None:
    add(quiet, '[policy]\ndirectory = "rules"\n')
    assert "rules: the policy directory cannot be read: no such file or directory" in refused(quiet)


def test_a_policy_directory_that_is_none(quiet: Installation) -> None:
    (quiet.folder / "rules").write_text("")
    add(quiet, '[policy]\ndirectory = "rules"\n')
    assert "the policy directory cannot be read: not a directory" in refused(quiet)


def test_a_policy_file_that_cannot_be_read(quiet: Installation) -> None:
    """As root every mode can be read, a directory under a policy's name cannot."""
    (quiet.folder / "rules" / "own.cedar").mkdir(parents=True)
    add(quiet, '[policy]\ndirectory = "rules"\n')
    assert "own.cedar: it cannot be read" in refused(quiet)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("permit (principal, action, resource", "own.cedar:1"),
        ('@id("a") permit (principal, action == Action::"raed", resource);', "raed"),
        ('@id("a") @limit_row("5") permit (principal, action == Action::"call", resource);', "limit_row"),
        ('@id("a") permit (principal, action == Action::"read", resource) when { resource.colour == "red" };', "colour"),
    ],
)
def test_an_invalid_policy(quiet: Installation, policy: str, words: str) -> None:
    (quiet.folder / "rules").mkdir()
    (quiet.folder / "rules" / "own.cedar").write_text(policy)
    add(quiet, '[policy]\ndirectory = "rules"\n')
    said = refused(quiet)
    assert "own.cedar" in said
    assert words in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limits]\nrow = 5\n", "did you mean `rows`?"),
        ('[limits]\nrows = "five"\n', "`limits.rows` must be a whole number"),
        ('[agent]\nrole = "emperor"\n', "role `emperor` is not configured; choose `observer`"),
        ('[datasources.shop]\ndsn = "env:NOT_THERE"\n', "environment variable `NOT_THERE` is not set"),
        (f'[datasources.shop]\ndsn = "postgresql://shop:{CANARY}@127.0.0.1/shop"\n', "env:"),
        ("[limits\n", "not valid TOML"),
    ],
)
def test_a_setting_that_cannot_be_used(quiet: Installation, text: str, words: str) -> None:
    add(quiet, text)
    said = refused(quiet)
    assert "ostiary.toml" in said
    assert words in said


def test_a_bundle_that_is_not_shipped(quiet: Installation) -> None:
    add(quiet, '[policy]\nbundles = ["analist"]\n')
    assert "unknown bundle `analist`; shipped are observer, analyst" in refused(quiet)


def test_a_role_that_is_not_configured(quiet: Installation) -> None:
    assert "command line: role `emperor` is not configured" in refused(quiet, "--role", "emperor")


def test_a_file_that_is_not_there(quiet: Installation) -> None:
    quiet.file.unlink()
    assert "no such file; `ostiary init` writes one" in refused(quiet)


def test_a_signing_key_that_others_can_read(installation: Installation) -> None:
    (installation.folder / "state").mkdir()
    key = installation.folder / "state" / "audit.key"
    key.write_text("PRIVATE+KEY+ostiary+00000000+AAAA\n")
    key.chmod(0o644)
    said = refused(installation)
    assert "must belong to this user with mode 0600" in said
    assert "hint: " in said


@pytest.mark.parametrize("rest", ["127.0.0.1:port/shop", "127.0.0.1/shop?port=x"])
def test_a_datasource_whose_dsn_the_driver_cannot_read(installation: Installation, rest: str) -> None:
    dsn = f"postgresql://shop:{CANARY}@{rest}"
    said = refused(replace(installation, environ={**installation.environ, "SHOP_DSN": dsn}))
    assert "`datasources.shop.dsn`" in said
    assert "has a port that is no number" in said


def test_a_control_database_whose_dsn_the_driver_cannot_read(installation: Installation) -> None:
    dsn = f"postgresql://writer:{CANARY}@127.0.0.1/control?sslmode=often"
    ended = replace(installation, environ={**installation.environ, "CONTROL_DSN": dsn}).run("serve")
    assert ended.returncode == Exit.UNAVAILABLE, ended.stderr
    assert "its DSN is not valid" in ended.stderr
    assert CANARY not in ended.stderr


def test_a_control_database_without_the_audit_table(
    tmp_path: Path, shop_server: PostgresServer, own_server: Callable[..., PostgresServer]
) -> None:
    control = own_server()
    control.sql("CREATE ROLE ostiary_writer LOGIN; CREATE ROLE ostiary_reader LOGIN")
    ended = external(tmp_path, shop_server, control).run("serve")
    assert ended.returncode == Exit.UNAVAILABLE, ended.stderr
    assert "the audit log cannot be used" in ended.stderr
    assert "`ostiary audit install`" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert CANARY not in ended.stderr
