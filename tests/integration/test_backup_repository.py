"""What a repository takes and gives back."""

import asyncio
import fcntl
import os
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from fix_backup import Vault, keep, new_vault

from ostiary.salvage import Files, opened
from ostiary_tools.backup import streams
from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Made
from ostiary_tools.backup.repository import initialise, open_repository
from ostiary_tools.backup.sealing import load_signer
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.errors import LockedOut, NotWritten, Refused, Unavailable

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


async def test_a_backup_that_is_cancelled_while_it_begins_holds_nothing(vault: Vault):
    """The same job can be done again by the same process."""

    async def begin() -> None:
        async with making(vault.repository, Kind.SQLITE, "shop", "job"):
            pytest.fail("it was cancelled before")

    with (vault.root / "staging.lock").open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # it waits for this in its thread
        task = asyncio.create_task(begin())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        fcntl.flock(guard, fcntl.LOCK_UN)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list((vault.root / "staging").iterdir()) == []
    await keep(vault, [b"a row"])


async def test_progress_tells_each_byte_once(vault: Vault):
    told: list[int] = []
    async with making(vault.repository, Kind.SQLITE, "shop", "job") as made:
        await made.put("part.db", Content.SQLITE, BytesIO(bytes(3_000_000)), told.append)
    assert sum(told) == 3_000_000


async def test_a_repository_is_begun_in_no_folder_that_holds_anything(vault: Vault, tmp_path: Path):
    signer, operational, recovery = load_signer(tmp_path / "key"), new_identity().recipient, new_identity().recipient
    with pytest.raises(Refused, match="not empty"):
        initialise(vault.repository.storage, signer, operational, recovery)
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "letters").touch()
    with pytest.raises(Refused, match="not empty"):
        initialise(Folder(tmp_path / "home"), signer, operational, recovery)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letters"]
    with pytest.raises(Refused, match="is the operational key"):
        initialise(Folder(tmp_path / "new"), signer, operational, operational)


async def test_a_beginning_that_was_killed_is_begun_again(tmp_path: Path):
    storage, signer = Folder(tmp_path / "backups"), load_signer(tmp_path / "key")
    storage.write("RESTORE.txt", b"half")
    storage.write("repository.sig", b"of something else")
    made = initialise(storage, signer, new_identity().recipient, new_identity().recipient)
    assert open_repository(storage, signer.seal).description == made
    assert b"without Ostiary" in storage.read("RESTORE.txt")


async def test_what_is_deleted_is_gone_also_where_it_is_damaged(vault: Vault):
    first, second = await keep(vault, [b"a row"], "first"), await keep(vault, [b"a row"], "second")
    (vault.root / "backups" / first.manifest.id / "manifest.sig").unlink()
    for kept in (first, second):
        vault.repository.delete(kept.manifest.id)
        with pytest.raises(Refused, match="no such backup"):
            vault.repository.delete(kept.manifest.id)
    assert vault.repository.listed() == ()
    assert list((vault.root / "staging").iterdir()) == []


@pytest.mark.parametrize("id_", ["", ".", "..", "../proofs", "/", "20200101T000000Z-00000000", "20200101T000000Z-00000000/../x"])
async def test_what_is_no_backup_is_neither_loaded_nor_deleted(vault: Vault, id_: str):
    for act in (vault.repository.load, vault.repository.delete):
        with pytest.raises(Refused, match="no such backup"):
            act(id_)


async def test_members_that_were_not_put_and_those_that_were_put_are_the_manifests(vault: Vault):
    """A mistake of an engine ends as a failure, not as a backup that lacks something."""
    async with making(vault.repository, Kind.SQLITE, "shop", "job") as made:
        member = await made.put("part.db", Content.SQLITE, BytesIO(b"a row"), lambda _: None)
        with pytest.raises(ValueError, match="no name of a member"):
            await made.put("../part", Content.SQLITE, BytesIO(b"a row"), lambda _: None)
        for members in ((), (member, member), (replace(member, name="other.zst.age"),)):
            with pytest.raises(AssertionError, match="members"):
                await made.commit(Made("3.45", members, None))
    assert vault.repository.listed() == ()


async def test_neither_keys_nor_plain_bytes_lie_in_the_repository(vault: Vault):
    await keep(vault, [b"a canary in a row"])
    everything = b"".join(path.read_bytes() for path in vault.root.rglob("*") if path.is_file())
    assert b"canary" not in everything
    for identity in (vault.operational, vault.recovery):
        assert identity.text.encode() not in everything
        assert identity.text not in repr(identity)
    for path in [vault.root, *vault.root.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0


class _Failing(BytesIO):
    """Gives or takes something, and then no more."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def read(self, _: int | None = -1, /) -> bytes:
        if self.tell() == 0:
            self.seek(1)
            return os.urandom(1_000_000)
        raise self.error

    def write(self, _: object, /) -> int:
        raise self.error


async def test_a_source_that_fails_is_told_and_its_member_is_none(vault: Vault):
    async with making(vault.repository, Kind.SQLITE, "shop", "job") as made:
        with pytest.raises(Unavailable, match="could not be read: input/output error"):
            await made.put("part.db", Content.SQLITE, _Failing(OSError(5, "Input/output error")), lambda _: None)
        with pytest.raises(ZeroDivisionError):
            await made.put("other.db", Content.SQLITE, _Failing(ZeroDivisionError()), lambda _: None)
    assert vault.repository.listed() == ()


@pytest.mark.parametrize(
    ("error", "raised"), [(OSError(5, "Input/output error"), NotWritten), (LockedOut("no"), LockedOut), (ValueError(), ValueError)]
)
async def test_a_sink_that_fails_ends_the_work_and_no_more_is_read(error: Exception, raised: type[Exception]):
    told: list[int] = []
    source, stop = _Endless(), streams.Stop()
    with pytest.raises(raised):
        await asyncio.to_thread(streams.seal, source, _Failing(error), [new_identity().recipient], told.append, stop)
    stop.close()


class _Endless(BytesIO):
    def read(self, _: int | None = -1, /) -> bytes:
        return os.urandom(100_000)


async def test_many_members_at_once_leave_the_threads_of_others_alone(vault: Vault):
    """A dump says nothing for as long as its server thinks, and there may be more of them than a process has threads to share."""
    pipes = [os.pipe() for _ in range(min(32, (os.cpu_count() or 1) + 4) + 1)]
    async with making(vault.repository, Kind.SQLITE, "shop", "job") as made:
        sources = [os.fdopen(read, "rb", buffering=0) for read, _ in pipes]
        puts = [
            asyncio.create_task(made.put(f"part-{n}.db", Content.SQLITE, source, lambda _: None))
            for n, source in enumerate(sources)
        ]
        for _ in pipes:
            await asyncio.sleep(0)  # each is at work
        try:
            async with asyncio.timeout(10):
                assert await asyncio.to_thread(lambda: "done") == "done"
        finally:
            for _, write in pipes:
                os.close(write)
            await asyncio.gather(*puts)


async def test_what_was_carried_here_is_restored_from_whoevers_it_is_and_never_written(vault: Vault, tmp_path: Path):
    """A stick knows neither owners nor modes, and there is no other copy."""
    kept = await keep(vault, [b"data"])
    key = tmp_path / "recovery.key"
    key.write_text(vault.recovery.text)
    vault.root.chmod(0o755)
    repository = opened(Files(str(vault.root), key))
    found = repository.load(kept.manifest.id)
    with found.plain(found.manifest.members[0]) as plain:
        assert plain.read() == b"data"
    for work in (repository.storage.sweep, partial(repository.storage.remove, f"backups/{kept.manifest.id}")):
        with pytest.raises(NotWritten, match="only read"):
            work()
    with pytest.raises(NotWritten, match="open to others"):
        vault.repository.listed()
