"""Whatever is done to the files of a repository is named by verification, and nothing is restored from it."""

import asyncio
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fix_backup import Vault, copied, flip, keep, new_vault, signed_anew

from ostiary_tools.backup import streams
from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.manifest import Content, Member
from ostiary_tools.backup.plain import opened
from ostiary_tools.backup.repository import Repository, StoredBackup, initialise, open_repository
from ostiary_tools.backup.sealing import pin, pinned
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.backup.verification import Verified, verify
from ostiary_tools.errors import Damaged, Refused

FIRST, SECOND = "part-1.db.zst.age", "part-2.db.zst.age"
AGE_CHUNK = 65536 + 16


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """A repository with a backup of two members."""
    vault = new_vault(tmp_path_factory.mktemp("template"))
    asyncio.run(keep(vault, [os.urandom(300_000), os.urandom(300_000)]))
    return vault


@pytest.fixture
def vault(template: Vault, tmp_path: Path) -> Vault:
    return copied(template, tmp_path)


def kept_in(vault: Vault) -> tuple[StoredBackup, Path]:
    [listed] = vault.repository.listed()
    assert listed.kept is not None
    return listed.kept, vault.root / "backups" / listed.id


def verified(repository: Repository, kept: StoredBackup) -> Verified:
    return verify(repository, kept.manifest.id, lambda _: None)


def damaged(verified: Verified) -> list[str]:
    return [damage.what for damage in verified.damages]


def test_an_untouched_backup_is_intact_and_every_byte_was_compared(vault: Vault):
    kept, _ = kept_in(vault)
    for repository, size, notes in (
        (vault.repository, kept.manifest.plain_bytes, 0),
        (vault.with_keys(), kept.manifest.stored_bytes, 1),
        (vault.with_keys(new_identity()), kept.manifest.stored_bytes, 1),
    ):
        told: list[int] = []
        found = verify(repository, kept.manifest.id, told.append)
        assert (found.intact, found.manifest, sum(told), len(found.notes)) == (True, kept.manifest, size, notes)


@pytest.mark.parametrize("where", [0, 0.5, 1])
@pytest.mark.parametrize("name", [FIRST, SECOND, "manifest.json", "manifest.sig", "SHA256SUMS"])
def test_one_flipped_bit_is_found_and_named(vault: Vault, name: str, where: float):
    kept, folder = kept_in(vault)
    flip(folder / name, where)
    for repository in (vault.repository, vault.with_keys()):
        found = verified(repository, kept)
        assert [what.rpartition("/")[2] for what in damaged(found)] == ["manifest.json" if name == "manifest.sig" else name]
    if name.startswith("manifest"):
        [listed] = vault.repository.listed()
        assert listed.kept is None
        assert "signature does not hold" in str(listed.damage)


def _swap(folder: Path) -> None:
    (folder / FIRST).rename(folder / "x")
    (folder / SECOND).rename(folder / FIRST)
    (folder / "x").rename(folder / SECOND)


def _link(folder: Path) -> None:
    """To the very same bytes: what is outside of the repository can be changed after it was verified."""
    (folder / FIRST).rename(folder.parent.parent.parent / "outside")
    (folder / FIRST).symlink_to(folder.parent.parent.parent / "outside")


def _pipe(folder: Path) -> None:
    """Whoever opens one waits for ever."""
    (folder / FIRST).unlink()
    os.mkfifo(folder / FIRST)


def _folder(folder: Path) -> None:
    (folder / FIRST).unlink()
    (folder / FIRST).mkdir()


KINDS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "swapped": (_swap, [FIRST, SECOND]),
    "missing": (lambda folder: (folder / FIRST).unlink(), [FIRST]),
    "empty": (lambda folder: (folder / FIRST).write_bytes(b""), [FIRST]),
    "shorter": (lambda folder: os.truncate(folder / FIRST, 1000), [FIRST]),
    "longer": (lambda folder: (folder / FIRST).write_bytes((folder / FIRST).read_bytes() + b"x"), [FIRST]),
    "linked": (_link, [FIRST]),
    "a pipe": (_pipe, [FIRST]),
    "a folder": (_folder, [FIRST]),
    "more": (lambda folder: (folder / "more").write_bytes(b""), ["folder"]),
    "more, with a name of the attacker's": (lambda folder: (folder / "\n`; drop").write_bytes(b""), ["folder"]),
    "without sums": (lambda folder: (folder / "SHA256SUMS").unlink(), ["SHA256SUMS"]),
    "without a signature": (lambda folder: (folder / "manifest.sig").unlink(), ["manifest.json"]),
    "without a manifest": (lambda folder: (folder / "manifest.json").unlink(), ["manifest.json"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_damage_is_named_with_a_key_and_without(vault: Vault, kind: str):
    kept, folder = kept_in(vault)
    work, expected = KINDS[kind]
    work(folder)
    names = {f"backups/{kept.manifest.id}": "folder", f"backups/{kept.manifest.id}/manifest.json": "manifest.json"}
    for repository in (vault.repository, vault.with_keys()):
        found = verified(repository, kept)
        assert [names.get(what, what) for what in damaged(found)] == expected
        assert all("\n" not in damage.message for damage in found.damages)


def test_a_manifest_with_sums_of_other_bytes_is_not_believed_without_the_signature(vault: Vault):
    kept, folder = kept_in(vault)
    forged = json.loads((folder / "manifest.json").read_bytes())
    (folder / FIRST).write_bytes(b"forged")
    forged["members"][0] |= {"stored_bytes": 6, "stored_sha256": hashlib.sha256(b"forged").hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(forged))
    [damage] = verified(vault.repository, kept).damages
    assert "signature does not hold" in damage.message


def test_a_signed_manifest_holds_in_no_other_place(vault: Vault):
    kept, folder = kept_in(vault)
    folder.rename(folder.with_name("20200101T000000Z-00000000"))
    [listed] = vault.repository.listed()
    assert "signature does not hold" in str(listed.damage)
    with pytest.raises(Refused):
        vault.repository.load(kept.manifest.id)


def test_a_repository_of_somebody_else_is_not_opened(vault: Vault, tmp_path: Path):
    other = new_vault(tmp_path / "other")
    shutil.rmtree(vault.root)
    shutil.copytree(other.root, vault.root)
    with pytest.raises(Damaged, match="signature does not hold"):
        open_repository(vault.repository.storage, vault.repository.seal)


def test_an_earlier_repository_of_the_same_installation_is_not_taken_for_its_own(vault: Vault, tmp_path: Path):
    """Whoever has its recovery key would read what is backed up from then on."""
    storage, operational, recovery = Folder(tmp_path / "earlier"), new_identity().recipient, new_identity().recipient
    signer, pin_file = vault.repository.writer(), tmp_path / "pin"
    initialise(storage, signer, operational, recovery)
    pin(pin_file, "something earlier")
    pin(pin_file, vault.repository.description.id)
    assert pin_file.stat().st_mode & 0o077 == 0
    assert open_repository(vault.repository.storage, signer.seal, pinned=pinned(pin_file)).listed()
    with pytest.raises(Damaged, match="another one than this installation's"):
        open_repository(storage, signer.seal, pinned=pinned(pin_file))
    assert open_repository(storage, signer.seal, pinned=pinned(tmp_path / "none")).listed() == ()


@pytest.mark.parametrize("name", ["repository.json", "repository.sig"])
def test_an_altered_description_is_not_opened(vault: Vault, name: str):
    flip(vault.root / name, 0.5)
    with pytest.raises(Damaged, match="signature does not hold"):
        open_repository(vault.repository.storage, vault.repository.seal)


def test_an_altered_proof_of_the_recovery_key_proves_nothing(vault: Vault):
    [proof] = (vault.root / "proofs").glob("*.json")
    flip(proof, 0.5)
    with pytest.raises(Damaged):
        asyncio.run(keep(vault, [b"a row"]))


def _first(**fields: Any) -> Callable[[Any], object]:
    return lambda manifest: manifest["members"][0].update(fields)


HOSTILE: dict[str, Callable[[Any], object]] = {
    "a name outside of its folder": _first(name="../../../etc/passwd.zst.age"),
    "an absolute name": _first(name="/etc/passwd.zst.age"),
    "a name with a NUL": _first(name="a\0.zst.age"),
    "a name that comes twice": _first(name=SECOND),
    "a size below nothing": _first(plain_bytes=-1),
    "a size as text": _first(plain_bytes="300000"),
    "a size that is a fraction": _first(plain_bytes=3.5),
    "a size that is true": _first(plain_bytes=True),
    "a sum that is none": _first(stored_sha256="0"),
    "a field too many": _first(more=1),
    "another kind": lambda manifest: manifest.update(kind="magic"),
    "another id": lambda manifest: manifest.update(id="20200101T000000Z-00000000"),
    "an id that is a path": lambda manifest: manifest.update(id="../x"),
    "a time without a zone": lambda manifest: manifest.update(started_at="2026-01-01T00:00:00"),
    "another format": lambda manifest: manifest.update(format=2),
    "no format": lambda manifest: manifest.pop("format"),
    "no members": lambda manifest: manifest.pop("members"),
    "members that are none": lambda manifest: manifest.update(members=None),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_manifest_that_is_not_exactly_ours_is_refused_though_it_is_signed(vault: Vault, kind: str):
    kept, _ = kept_in(vault)
    signed_anew(vault, kept.manifest.id, HOSTILE[kind])
    [damage] = verified(vault.repository, kept).damages
    assert damage.what == "manifest.json"


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"{", b"[" * 100_000, b'{"format":1,"format":1}', b"\xff", b'{"format":NaN}']
)
def test_what_is_no_manifest_at_all_is_refused_though_it_is_signed(vault: Vault, text: bytes):
    kept, folder = kept_in(vault)
    (folder / "manifest.json").write_bytes(text)
    (folder / "manifest.sig").write_bytes(vault.repository.writer().sign(f"backups/{kept.manifest.id}/manifest.json", text))
    [damage] = verified(vault.repository, kept).damages
    assert damage.what == "manifest.json"


def test_a_manifest_that_states_other_bytes_than_were_put_is_found_by_who_has_a_key(vault: Vault):
    kept, _ = kept_in(vault)
    signed_anew(vault, kept.manifest.id, _first(plain_sha256="0" * 64))
    assert damaged(verified(vault.repository, kept)) == [FIRST]
    assert verified(vault.with_keys(), kept).notes == (
        "no key that opens it is here: what is stored was compared, and not what it decrypts to",
    )


def test_a_cut_at_the_edge_of_a_piece_of_ciphertext_is_found_though_size_and_sum_are_stated(vault: Vault):
    kept, folder = kept_in(vault)
    data = (folder / FIRST).read_bytes()
    header = data.index(b"\n--- ") + 5 + 43 + 1 + 16
    cut = data[: header + 2 * AGE_CHUNK]
    (folder / FIRST).write_bytes(cut)
    signed_anew(vault, kept.manifest.id, _first(stored_bytes=len(cut), stored_sha256=hashlib.sha256(cut).hexdigest()))
    kept = vault.repository.load(kept.manifest.id)
    with pytest.raises(Damaged, match="cannot be decrypted to its end"), kept.plain(kept.manifest.members[0]) as plain:
        plain.read()


def sealed(vault: Vault, data: bytes) -> tuple[Member, bytes]:
    """A member, and what is stored of it."""
    sink, stop = io.BytesIO(), streams.Stop()
    sums = streams.seal(io.BytesIO(data), sink, [vault.operational.recipient], lambda _: None, stop)
    stop.close()
    return (
        Member(FIRST, Content.SQLITE, sums.plain_bytes, sums.plain_sha256, sums.stored_bytes, sums.stored_sha256),
        sink.getvalue(),
    )


def test_what_holds_more_than_is_stated_is_not_read_on(vault: Vault):
    member, stored = sealed(vault, bytes(200_000_000))
    small = replace(member, plain_bytes=3_000_000)
    with opened(small, io.BytesIO(stored), [vault.operational]) as plain:
        assert len(plain.read(2_000_000)) == 2_000_000
        with pytest.raises(Damaged, match="more than was put"):
            plain.read(2_000_000)


def test_a_frame_that_wants_much_memory_is_refused(vault: Vault):
    """Its header alone makes a reader allocate the window."""
    import zstandard

    large = zstandard.ZstdCompressionParameters(window_log=27, compression_level=3)
    frame = zstandard.ZstdCompressor(compression_params=large).compressobj()
    data = frame.compress(os.urandom(1000)) + frame.flush()
    _assert_damaged(vault, _encrypted(vault, data), "decompressed")


def test_what_follows_the_end_is_found(vault: Vault):
    compressor = streams.zstd().ZstdCompressor()
    frame, nothing = compressor.compress(bytes(1000)), compressor.compress(b"")
    _assert_damaged(vault, _encrypted(vault, frame + frame), "more than was put")
    _assert_damaged(vault, _encrypted(vault, nothing + os.urandom(5_000_000)), "decompressed")


@pytest.mark.parametrize("data", [b"", b"no frame", bytes(1000)])
def test_what_was_never_compressed_is_found(vault: Vault, data: bytes):
    _assert_damaged(vault, _encrypted(vault, data), "decompressed" if data else "content is not")


def _encrypted(vault: Vault, data: bytes) -> bytes:
    import pyrage

    encrypted: bytes = pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(vault.operational.recipient)])
    return encrypted


def _assert_damaged(vault: Vault, stored: bytes, words: str) -> None:
    member = Member(FIRST, Content.SQLITE, 1000, "0" * 64, len(stored), hashlib.sha256(stored).hexdigest())
    with pytest.raises(Damaged, match=words), opened(member, io.BytesIO(stored), [vault.operational]) as plain:
        plain.read()
