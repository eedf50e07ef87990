"""Keys of backups: how they are read and kept, and that no message repeats one."""

import sys
from pathlib import Path

import pytest

from ostiary_tools.backup.keys import Probe, make_probe, new_identity, parsed_recipient, proves, read_identities
from ostiary_tools.backup.sealing import load_signer, read_secret, write_secret
from ostiary_tools.errors import Damaged, Unavailable


def test_a_file_of_age_keygen_is_read():
    first, second = new_identity(), new_identity()
    text = f"# created: today\n# public key: {first.recipient}\n{first.text}\n\n  {second.text}  \n"
    assert read_identities(text) == (first, second)


@pytest.mark.parametrize("text", ["", "# only words\n", "AGE-SECRET-KEY-1QQQ", "hunter2", "age1qqqq", "\0"])
def test_what_holds_no_key_is_told_without_a_word_of_it(text: str):
    with pytest.raises(Unavailable) as refused:
        read_identities(text)
    assert text.strip() == "" or text not in refused.value.message
    assert "AGE-SECRET-KEY-1" in refused.value.hint


@pytest.mark.parametrize("text", ["", "age1", "AGE-SECRET-KEY-1QQQ", "ssh-ed25519 AAAA", "age1\n"])
def test_what_is_no_public_key_is_refused(text: str):
    with pytest.raises(Unavailable, match="no public key"):
        parsed_recipient(text)


def test_a_probe_is_read_by_its_key_alone():
    recovery, other = new_identity(), new_identity()
    probe = make_probe(recovery.recipient)
    assert proves(probe, (other, recovery))
    assert not proves(probe, (other,))
    assert not proves(Probe(probe.sealed, "0" * 64), (recovery,))
    assert make_probe(recovery.recipient) != probe


@pytest.mark.parametrize("sealed", ["", "no base64", "bm8gYWdlIGZpbGU="])
def test_a_probe_that_was_altered_is_damage(sealed: str):
    with pytest.raises(Damaged):
        proves(Probe(sealed, "0" * 64), (new_identity(),))


def test_a_signing_key_is_made_once_and_kept_from_others(tmp_path: Path):
    path = tmp_path / "state" / "key"
    made = load_signer(path)
    assert load_signer(path).seal == made.seal
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key"]
    path.chmod(0o640)
    with pytest.raises(Unavailable, match="can be read by others"):
        load_signer(path)


@pytest.mark.parametrize("text", ["", "hunter2", "QUFB"])
def test_a_signing_key_that_is_none_is_told_and_not_made_anew(tmp_path: Path, text: str):
    """Whatever was signed by the lost one would be taken for forged."""
    write_secret(tmp_path / "key", text)
    with pytest.raises(Unavailable, match="is not a key"):
        load_signer(tmp_path / "key")
    assert read_secret(tmp_path / "key") == f"{text}\n"


def test_a_secret_overwrites_none_and_is_read_through_no_link(tmp_path: Path):
    write_secret(tmp_path / "key", "first")
    write_secret(tmp_path / "key", "second")
    assert read_secret(tmp_path / "key") == "first\n"
    (tmp_path / "link").symlink_to(tmp_path / "key")
    for path in (tmp_path / "link", tmp_path / "none", tmp_path):
        with pytest.raises(Unavailable):
            read_secret(path)


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch):
    from ostiary_tools.backup import streams

    monkeypatch.setitem(sys.modules, "pyrage", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for act in (new_identity, streams.zstd):
        with pytest.raises(Unavailable, match="not installed") as told:
            act()
        assert told.value.hint == "install `ostiary[backup]`"
