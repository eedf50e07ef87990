"""Whatever is damaged in a chain of incremental backups, or does not belong to it, is named before the backups are put together."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fix_backup import Vault, copied, flip
from fix_damage import backed_up, drilled, file_in, named, plain, with_file
from fix_full import rewritten
from fix_incremental import SUMMARIZING, Chain, replaced, with_base
from fix_postgres import PostgresServer

from ostiary import discarding
from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.verification import verify
from ostiary_tools.errors import Damaged, Refused

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]
BASE, LISTING = "base.tar.zst.age", "backup-manifest.zst.age"
UNCHANGED = "base/4/1255"
"""A table of a database that nobody connects to, so that it is in the full backup alone."""


def _flipped(data: bytes) -> bytes:
    at = 3 * 8192 + 5000
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _base(kept: StoredBackup) -> bytes:
    return plain(kept, "base.tar")


def laundered(full: StoredBackup) -> bytes:
    """A byte of a file, while the manifest inside stays as it is."""
    return rewritten(_base(full), lambda entry, data: (entry, _flipped(data) if entry.name == UNCHANGED else data))


async def test_a_byte_that_was_flipped_in_the_full_backup_is_not_laundered(
    chained: Chain, tmp_path: Path, site: Path, sought: Sought
):
    """What is put together gets sums of its own, and PostgreSQL's own programs say of it that all is well."""
    vault, (full, *_) = copied(chained.vault, tmp_path), chained.links
    tar = laundered(full)
    assert _by_hand(chained, [tar, *(_base(kept) for kept in chained.links[1:])], site / "hand") == "successfully"
    replaced(vault, full.manifest.id, {"base.tar": tar})
    assert verify(vault.repository, chained.last.manifest.id, lambda _: None).intact, "it was sealed as it is"
    found = await drilled(vault, chained.last.manifest.id, site, sought)
    named(found, "restore", UNCHANGED)
    assert full.manifest.id in found.checks[-1].words


async def test_a_byte_that_was_flipped_with_all_sums_made_right_is_found_in_the_pages(
    chained: Chain, tmp_path: Path, site: Path, sought: Sought
):
    vault, (full, *_) = copied(chained.vault, tmp_path), chained.links
    tar = with_file(_base(full), UNCHANGED, _flipped(file_in(_base(full), UNCHANGED)))
    replaced(vault, full.manifest.id, with_base(tar))
    named(await drilled(vault, chained.last.manifest.id, site, sought), "pages", UNCHANGED)


def _by_hand(chained: Chain, tars: list[bytes], home: Path) -> str:
    """What `pg_verifybackup` says of what `pg_combinebackup` makes of these."""
    user = chained.server.user
    home.mkdir()
    for number, tar in enumerate(tars):
        (home / str(number)).mkdir()
        subprocess.run(["/bin/tar", "-x", "-C", home / str(number)], input=tar, check=True)
    for path in (home, *home.rglob("*")):
        if user:
            shutil.chown(path, user)
    parts = [str(home / str(number)) for number in range(len(tars))]
    chained.server.run("pg_combinebackup", "--no-sync", "-o", str(home / "all"), *parts)
    said = chained.server.run("pg_verifybackup", "--no-parse-wal", str(home / "all")).stdout.split()
    shutil.rmtree(home)
    return said[1]


Damage = Callable[[Vault, Chain], object]


def _ids(chained: Chain) -> list[str]:
    return [kept.manifest.id for kept in chained.links]


def _named_parent(child: int, parent: int) -> Damage:
    return lambda vault, chained: replaced(vault, _ids(chained)[child], {}, parent=_ids(chained)[parent])


def _folder(number: int, work: Callable[[Path], object]) -> Damage:
    return lambda vault, chained: work(vault.root / "backups" / _ids(chained)[number])


BROKEN: dict[str, tuple[Damage, str]] = {
    "the full one deleted": (_folder(0, shutil.rmtree), "is missing"),
    "one in the middle deleted": (_folder(1, shutil.rmtree), "is missing"),
    "a manifest in the middle edited": (_folder(1, lambda folder: flip(folder / "manifest.json", 0.5)), "signature"),
    "a chain that comes back to itself": (_named_parent(1, 2), "does not go on from"),
    "one that is its own parent": (_named_parent(2, 2), "does not go on from"),
}


@pytest.mark.parametrize("damage", BROKEN)
async def test_a_broken_chain_is_no_backup(chained: Chain, damage: str, tmp_path: Path, site: Path, sought: Sought):
    work, words = BROKEN[damage]
    vault, id_ = copied(chained.vault, tmp_path), chained.last.manifest.id
    work(vault, chained)
    with pytest.raises(Damaged, match=words):
        chain(vault.repository.load(id_))
    [listed] = [one for one in vault.repository.listed() if one.id == id_]
    assert listed.kept is None
    assert listed.damage is not None
    assert words in verify(vault.repository, id_, lambda _: None).damages[0].message
    named(await drilled(vault, id_, site, sought), "bytes", words)


MEMBERS: dict[str, tuple[int, Callable[[Path], object], str]] = {
    "a byte of the full base": (0, lambda folder: flip(folder / BASE, 0.6), BASE),
    "a byte of the first change": (1, lambda folder: flip(folder / BASE, 0.6), BASE),
    "a byte of the list of files": (0, lambda folder: flip(folder / LISTING, 0.6), LISTING),
    "a base in the middle missing": (1, lambda folder: (folder / BASE).unlink(), BASE),
    "a file too many": (0, lambda folder: (folder / "more").touch(), "1 more than its manifest names"),
}


@pytest.mark.parametrize("damage", MEMBERS)
async def test_damage_of_a_backup_that_is_needed_is_named_with_it(
    chained: Chain, damage: str, tmp_path: Path, site: Path, sought: Sought
):
    number, work, words = MEMBERS[damage]
    vault, id_ = copied(chained.vault, tmp_path), chained.last.manifest.id
    work(vault.root / "backups" / _ids(chained)[number])
    [found] = verify(vault.repository, id_, lambda _: None).damages
    assert found.what.startswith(f"{_ids(chained)[number]}/")
    assert words in found.message
    named(await drilled(vault, id_, site, sought), "bytes", words)


def _base_of_another(vault: Vault, chained: Chain) -> None:
    """The first change in the place of the full one."""
    replaced(vault, _ids(chained)[0], with_base(_base(chained.links[1])))


def _alone(vault: Vault, chained: Chain) -> None:
    replaced(vault, _ids(chained)[2], {}, parent=None, kind="full")


def _listing_of_another(vault: Vault, chained: Chain) -> None:
    replaced(vault, _ids(chained)[1], {"backup-manifest": plain(chained.links[0], "backup-manifest")})


FORGED: dict[str, tuple[Damage, str]] = {
    "one left out": (_named_parent(2, 0), "do not fit together"),
    "another base in the place of the full one": (_base_of_another, "is not the one that the backup's manifest names"),
    "an incremental one that says that it is full": (_alone, "incremental backup"),
    "the list of another one's files": (_listing_of_another, "is not the one whose files the backup lists"),
}


@pytest.mark.parametrize("damage", FORGED)
async def test_a_chain_that_was_put_together_wrongly_by_who_has_the_keys_is_refused(
    chained: Chain, damage: str, tmp_path: Path, site: Path, sought: Sought
):
    work, words = FORGED[damage]
    vault = copied(chained.vault, tmp_path)
    work(vault, chained)
    named(await drilled(vault, chained.last.manifest.id, site, sought), "restore", words)


async def test_the_base_of_another_cluster_is_none(
    chained: Chain, own_server: Callable[..., PostgresServer], tmp_path: Path, sought: Sought
):
    vault, other = copied(chained.vault, tmp_path), own_server(**SUMMARIZING)
    stranger = await backed_up(vault, Source("shop", Kind.FULL, other.dsn()), sought, "stranger")
    replaced(vault, _ids(chained)[1], {}, parent=stranger.manifest.id)
    with pytest.raises(Damaged, match="does not go on from"):
        chain(vault.repository.load(chained.last.manifest.id))


async def test_a_backup_that_others_need_is_not_deleted(chained: Chain, tmp_path: Path):
    vault = copied(chained.vault, tmp_path)
    for id_ in _ids(chained)[:-1]:
        with pytest.raises(Refused, match="needed by"):
            vault.repository.delete(id_)
        with pytest.raises(Refused, match="needed by"):
            discarding.doomed(vault.repository, id_)
    assert discarding.doomed(vault.repository, chained.last.manifest.id).manifest == chained.last.manifest
    for id_ in reversed(_ids(chained)):
        vault.repository.delete(id_)
    assert vault.repository.listed() == ()
