"""What a repository takes and gives back."""

import asyncio
import os
from io import BytesIO
from pathlib import Path

import pytest
from fix_backup import Vault, keep, new_vault

from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.repository import initialise, open_repository
from ostiary_tools.backup.sealing import load_signer
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.errors import LockedOut, Refused, Unavailable

pytestmark = pytest.mark.asyncio


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


async def test_what_was_put_comes_back_for_either_key_alone(vault: Vault):
    contents = [b"", b"a row", os.urandom(3_000_000), bytes(5_000_000)]
    kept = await keep(vault, contents)
    for key in (vault.operational, vault.recovery):
        again = vault.with_keys(key).load(kept.manifest.id)
        assert again.manifest == kept.manifest
        for member, content in zip(again.manifest.members, contents, strict=True):
            with again.plain(member) as plain:
                assert plain.read() == content


async def test_another_key_and_no_key_are_told_in_words(vault: Vault):
    kept = await keep(vault, [b"a row"])
    [member] = kept.manifest.members
    with (
        pytest.raises(Unavailable, match="none of the keys opens"),
        vault.with_keys(new_identity()).load(kept.manifest.id).plain(member) as plain,
    ):
        plain.read()
    with pytest.raises(Unavailable, match="no key here"), vault.with_keys().load(kept.manifest.id).plain(member):
        pass


async def test_nothing_is_backed_up_before_the_recovery_key_was_seen_to_decrypt(tmp_path: Path):
    storage, signer, recovery = Folder(tmp_path / "backups"), load_signer(tmp_path / "key"), new_identity()
    initialise(storage, signer, new_identity().recipient, recovery.recipient)
    repository = open_repository(storage, signer.seal, signer)
    assert not repository.prove((new_identity(),))
    with pytest.raises(Refused, match="never seen to work"):
        async with making(repository, Kind.SQLITE, "shop", "job"):
            pass
    assert repository.prove((recovery,))
    async with making(repository, Kind.SQLITE, "shop", "job") as made:
        assert made.done is None


async def test_work_that_is_done_again_finds_its_backup_and_makes_no_second(vault: Vault):
    kept = await keep(vault, [b"a row"], "first")
    await keep(vault, [b"a row"], "second")
    async with making(vault.repository, Kind.SQLITE, "shop", "first") as made:
        assert made.done == kept
    assert len(vault.repository.listed()) == 2


async def test_of_one_job_there_is_one_at_a_time(vault: Vault):
    async with making(vault.repository, Kind.SQLITE, "shop", "job"):
        with pytest.raises(LockedOut):
            async with making(vault.repository, Kind.SQLITE, "shop", "job"):
                pass
        async with making(vault.repository, Kind.SQLITE, "shop", "another"):
            pass


async def test_a_cancelled_backup_ends_though_its_source_says_nothing_and_leaves_nothing(vault: Vault):
    silent, other_end = os.pipe()
    source = os.fdopen(silent, "rb")
    begun = asyncio.Event()

    async def make() -> None:
        async with making(vault.repository, Kind.SQLITE, "shop", "job") as made:
            begun.set()
            await made.put("part.db", Content.SQLITE, source, lambda _: None)

    task = asyncio.create_task(make())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    os.close(other_end)
    assert source.closed
    assert vault.repository.listed() == ()
    assert list((vault.root / "staging").iterdir()) == []


async def test_progress_tells_each_byte_once(vault: Vault):
    told: list[int] = []
    async with making(vault.repository, Kind.SQLITE, "shop", "job") as made:
        await made.put("part.db", Content.SQLITE, BytesIO(bytes(3_000_000)), told.append)
    assert sum(told) == 3_000_000
