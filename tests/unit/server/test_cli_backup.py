"""Repositories of backups as people begin them, and the words for each misuse of the commands."""

import base64
import os
import stat
from pathlib import Path
from typing import Any

import pyrage
import pytest

from ostiary import cli, founding
from ostiary.config import Config, load
from ostiary.exits import CommandFailed, Exit
from ostiary.vault import Vault, open_vault
from ostiary_tools.backup.keys import new_identity
from ostiary_tools.errors import Refused, Unavailable


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for folder in ("home", "home/data", "home/state", "stick"):
        (tmp_path / folder).mkdir(mode=0o700)
    return load(None, {"OSTIARY_HOME__DATA": str(tmp_path / "home/data"), "OSTIARY_HOME__STATE": str(tmp_path / "home/state"),
                       "HOME": str(tmp_path)}, {})  # fmt: skip


@pytest.fixture
def vault(config: Config) -> Vault:
    return open_vault(config, None)


def test_the_recovery_key_is_written_once_for_its_owner_alone_and_proven(vault: Vault, tmp_path: Path):
    file = tmp_path / "stick/recovery.key"
    begun = founding.begin(vault, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    [key] = founding.read_key(file)
    assert (key.recipient, begun.probe) == (begun.recovery, "")
    assert vault.repository().proven
    kept = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(kept) > 4
    assert all(key.text.encode() not in path.read_bytes() for path in kept), "nothing of it stays here"


def test_a_recovery_key_that_lies_elsewhere_is_proven_by_what_it_alone_reads(vault: Vault):
    recovery = new_identity()
    begun = founding.begin_for(vault, recovery.recipient)
    assert not vault.repository().proven
    with pytest.raises(CommandFailed, match="not what the probe holds"):
        founding.prove(vault, base64.b64encode(os.urandom(32)).decode())
    with pytest.raises(CommandFailed, match="no base64"):
        founding.prove(vault, "what it printed")
    assert not vault.repository().proven
    answer = pyrage.decrypt(base64.b64decode(begun.probe), [pyrage.x25519.Identity.from_str(recovery.text)])
    founding.prove(vault, base64.b64encode(answer).decode() + "\n")
    assert vault.repository().proven


def test_the_digest_that_the_repository_holds_proves_nothing(vault: Vault):
    founding.begin_for(vault, new_identity().recipient)
    digest = bytes.fromhex(vault.repository().description.probe.sha256)
    with pytest.raises(CommandFailed, match="not what the probe holds"):
        founding.prove(vault, base64.b64encode(digest).decode())


def test_another_key_proves_nothing_and_is_not_shown(vault: Vault, tmp_path: Path):
    founding.begin_for(vault, new_identity().recipient)
    other = new_identity()
    (tmp_path / "other.key").write_text(other.text)
    with pytest.raises(CommandFailed, match="not the recovery key") as told:
        founding.prove(vault, tmp_path / "other.key")
    assert other.text not in told.value.message + told.value.hint


def test_the_installations_own_key_is_no_recovery_key(vault: Vault):
    own = founding.begin_for(vault, new_identity().recipient).operational
    (vault.folder / "repository.json").unlink()
    with pytest.raises(Refused, match="the recovery key is the operational key"):
        founding.begin_for(vault, own)


def test_a_repository_is_begun_once_and_a_key_that_was_for_nothing_goes(vault: Vault, tmp_path: Path):
    founding.begin(vault, tmp_path / "stick/recovery.key")
    before = (vault.folder / "repository.json").read_bytes()
    with pytest.raises(Refused, match="there is a repository in"):
        founding.begin(vault, tmp_path / "stick/second.key")
    assert not (tmp_path / "stick/second.key").exists()
    assert (vault.folder / "repository.json").read_bytes() == before


def test_a_folder_with_something_in_it_becomes_no_repository(vault: Vault, tmp_path: Path):
    vault.folder.mkdir(mode=0o700)
    (vault.folder / "mine").touch()
    with pytest.raises(Refused, match="the folder is not empty"):
        founding.begin(vault, tmp_path / "stick/recovery.key")
    assert list((tmp_path / "stick").iterdir()) == []


def test_without_a_repository_nothing_is_proven(vault: Vault, tmp_path: Path):
    with pytest.raises(Unavailable, match="there is no repository"):
        founding.prove(vault, tmp_path / "any.key")


@pytest.mark.parametrize("place", ["home/data/r.key", "home/state/r.key", "home/data/backups/r.key", "home/data/restores/r.key"])
def test_a_recovery_key_that_would_be_lost_with_the_installation_is_refused(config: Config, tmp_path: Path, place: str):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    with pytest.raises(CommandFailed, match="lost with this installation"):
        founding.key_place(tmp_path / place, config)
    (tmp_path / "way").symlink_to((tmp_path / place).parent)
    with pytest.raises(CommandFailed, match="lost with this installation"):
        founding.key_place(tmp_path / "way/r.key", config)


def test_nothing_that_is_there_is_overwritten_by_a_key(config: Config, tmp_path: Path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "link"):
        with pytest.raises(CommandFailed, match="is there already"):
            founding.key_place(tmp_path / name, config)
    with pytest.raises(CommandFailed, match="there is no folder"):
        founding.key_place(tmp_path / "none/r.key", config)
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_without_a_key_is_told_without_what_is_in_it(tmp_path: Path):
    (tmp_path / "poem").write_text("AGE-SECRET-KEY-1CANARY\n")
    with pytest.raises(Unavailable, match="this is no key of age") as told:
        founding.read_key(tmp_path / "poem")
    assert "CANARY" not in told.value.message + told.value.hint
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("bytes", "nothing"):
        with pytest.raises(CommandFailed, match="cannot be read"):
            founding.read_key(tmp_path / name)


MISUSES = [
    (("backup", "init"), "say which recovery key the backups have"),
    (("backup", "init", "--recovery-key", "k", "--recovery-recipient", "age1"), "say which recovery key the backups have"),
    (("backup", "prove"), "say what the key is proven by"),
    (("backup", "prove", "abc", "--recovery-key", "k"), "say what the key is proven by"),
    (("restore", "x", "y", "--repository", "d"), "`--repository` and `--identity` go together"),
    (("restore", "x", "y", "--identity", "d"), "`--repository` and `--identity` go together"),
    (("restore", "x", "y", "--repository", "d", "--identity", "k", "--role", "r"), "from files alone nothing of an installation"),
]


@pytest.mark.parametrize(("words", "told"), MISUSES)
def test_each_misuse_is_told_with_what_to_do(words: tuple[str, ...], told: str, capsys: Any, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    said = capsys.readouterr().err
    assert left.value.code == Exit.USAGE
    assert said.startswith(f"error: {told}")
    assert "\nhint: " in said
    assert list(tmp_path.iterdir()) == []
