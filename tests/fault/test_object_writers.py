"""What somebody can do who may write into the bucket, by what is there without a signature: records, leases, names and sizes.

He can do harm, as to a folder: overwrite and plant. He is not to have us delete what he may not, read what is elsewhere, fill our
memory, or take what he wrote for ours; and what he did to one backup is told of that one.
"""

import json
import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fix_backup import keep
from fix_objects import IMPATIENT, ObjectServer, a_minute_later, object_keys, object_vault
from fix_retention import SYSTEM, logged
from fix_waiting import until

from ostiary.recovery.gathering import _logs
from ostiary_tools.backup import evidence, expiry
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.storage import lease, objects
from ostiary_tools.backup.storage.bucket import Address, open_bucket
from ostiary_tools.backup.storage.objects import Objects
from ostiary_tools.backup.verification import verify
from ostiary_tools.backup.wal_archive.archive import Archive, clusters
from ostiary_tools.errors import Damaged, LockedOut, Unavailable

pytestmark = pytest.mark.fault
NUMBER = "0123456789abcdef"


@dataclass(frozen=True)
class Stranger:
    """Who has the access key, and the repository of somebody else."""

    client: Any
    address: Address
    made: Repository

    def puts(self, key: str, data: bytes) -> None:
        """Something below the prefix."""
        self.client.put_object(Bucket=self.address.bucket, Key=f"{self.address.prefix}/{key}", Body=data)

    def gets(self, key: str) -> bytes:
        """What is there."""
        return bytes(self.client.get_object(Bucket=self.address.bucket, Key=f"{self.address.prefix}/{key}")["Body"].read())

    def deletes(self, key: str) -> None:
        """What he may."""
        self.client.delete_object(Bucket=self.address.bucket, Key=f"{self.address.prefix}/{key}")

    def seen(self) -> Repository:
        """As somebody sees it who comes new."""
        return replace(self.made, storage=Objects(open_bucket(self.address, IMPATIENT)))


@pytest.fixture
def stranger(object_server: ObjectServer, tmp_path: Path) -> Stranger:
    address = object_server.bucket()
    vault = object_vault(Objects(open_bucket(address, IMPATIENT)), tmp_path)
    return Stranger(object_server.client(), address, vault.repository)


async def kept_by(stranger: Stranger, job: str = "job") -> str:
    """The id of a backup."""
    from fix_backup import Vault

    vault = Vault(Path(), stranger.made, *stranger.made.identities * 2)
    return (await keep(vault, [b"precious" * 1000], job)).manifest.id


def lease_of(*folders: str) -> bytes:
    return json.dumps({"format": 1, "holder": "0", "folders": folders}).encode()


def record_of(folder: str, **files: Any) -> bytes:
    return json.dumps({"format": 1, "folder": folder, "files": files}).encode()


@pytest.mark.asyncio
async def test_a_lease_that_names_what_another_is_making_has_nothing_of_it_taken_away(
    stranger: Stranger, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
):
    # What is renewed lives and what is not runs out, as ever; in two seconds, for nobody waits a minute here.
    monkeypatch.setattr(lease, "HELD_S", 2)
    monkeypatch.setattr(lease, "_RENEWED_S", 0.2)
    storage = stranger.seen().storage
    assert isinstance(storage, Objects)
    with closing(storage.stage("backups/mine", "work")) as stage:
        with stage.create("file") as file:
            file.write(b"precious")
        [there] = [key for key in object_keys(object_server, stranger.address) if key.endswith("/file")]
        stranger.puts("_leases/planted", lease_of(there.rpartition("/")[0]))
        await until(lambda: storage.sweep() == 1)
        stranger.puts("_leases/planted", lease_of(there.rpartition("/")[0]))
        await until(lambda: _overtook(storage, "planted"))
        stage.commit()
    assert storage.read("backups/mine/file") == b"precious"


def _overtook(storage: Objects, work: str) -> bool:
    with suppress(LockedOut):
        storage.stage("backups/other", work).close()
        return True
    return False


def test_who_writes_over_a_lease_holds_up_its_work_and_no_more(stranger: Stranger):
    storage = stranger.seen().storage
    with closing(storage.stage("backups/mine", "work")) as stage:
        stranger.puts("_leases/work", lease_of())
        with pytest.raises(LockedOut, match="another process is making this"):
            storage.stage("backups/other", "work")
        stage._held._since = 0  # type: ignore[attr-defined] # as if it had been renewed long ago
        with pytest.raises(LockedOut, match="another process may be at this"):
            stage.commit()
    assert storage.names("backups") == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "planted",
    [
        lambda id_: record_of(f"backups/_{id_}.{NUMBER}/../../proofs", **{"manifest.json": [1]}),
        lambda id_: record_of(f"backups/_{id_}.{NUMBER}/x", **{"manifest.json": [1]}),
        lambda id_: record_of(f"backups/_{id_}.0000000000000000.{NUMBER}", **{"manifest.json": [1]}),
        lambda id_: record_of(f"proofs/_{id_}.{NUMBER}", **{"manifest.json": [1]}),
        lambda id_: record_of(f"backups/_{id_}.{NUMBER}", **{"../manifest.json": [1]}),
        lambda id_: record_of(f"backups/_{id_}.{NUMBER}", **{"manifest.json": []}),
        lambda id_: record_of(f"backups/_{id_}.{NUMBER}", **{"manifest.json": [1 << 60]}),
        lambda id_: record_of(f"backups/_{id_}.{NUMBER}", **{"manifest.json": [True]}),
        lambda id_: b"[" * 100_000,  # noqa: ARG005
    ],
)
async def test_a_record_that_is_none_of_ours_damages_its_backup_and_no_other(
    planted: Callable[[str], bytes], stranger: Stranger, object_server: ObjectServer
):
    id_, other = await kept_by(stranger), await kept_by(stranger, "another job")
    stranger.puts(f"backups/_{id_}", planted(id_))
    seen = stranger.seen()
    assert [(one.id, one.kept is None) for one in seen.listed()] == [(one, one == id_) for one in sorted((id_, other))]
    with pytest.raises(Damaged):
        seen.storage.names(f"backups/{id_}")
    assert verify(seen, other, lambda _: None).intact
    seen.storage.remove(f"backups/{id_}")
    assert [one.id for one in stranger.seen().listed()] == [other]
    assert not [key for key in object_keys(object_server, stranger.address) if id_ in key]


@pytest.mark.asyncio
async def test_what_is_larger_than_ours_ever_is_is_not_read(stranger: Stranger, monkeypatch: pytest.MonkeyPatch):
    id_, other = await kept_by(stranger), await kept_by(stranger, "another job")
    whole = len(stranger.gets(f"backups/_{other}"))
    monkeypatch.setattr(objects, "_LONGEST", whole)
    monkeypatch.setattr(objects, "_SMALL", 5000)
    monkeypatch.setattr(lease, "_LONGEST", 200)
    stranger.puts(f"backups/_{id_}", stranger.gets(f"backups/_{id_}") + b" " * 1000)
    stranger.puts("_leases/work", lease_of(f"backups/_x.{NUMBER}") + b" " * 1000)
    stranger.puts(f"drills/{other}/z.json", b" " * 9000)
    stranger.puts(f"drills/{other}/z.sig", b"")
    seen = stranger.seen()
    assert [(one.id, one.kept is None) for one in seen.listed()] == [(one, one == id_) for one in sorted((id_, other))]
    assert evidence.newest(seen, seen.load(other).manifest) is None
    with a_minute_later():
        assert seen.storage.sweep() == 1
    [part] = [key for key in seen.storage.names(f"backups/{other}") if key.endswith(".age")]
    folder = json.loads(stranger.gets(f"backups/_{other}"))["folder"]
    stranger.puts(f"{folder}/{part}", os.urandom(1 << 20))
    found = verify(stranger.seen(), other, lambda _: None)
    assert [one.what for one in found.damages] == [part]


PLANTED = [
    *(
        "backups/",
        "backups/a b",
        "backups/ä",
        "backups/_a b",
        "backups/{}/manifest.json",
        "backups/%2e%2e",
        "backups/..x",
    ),
    *("drills/", "drills/{}/a b.json", "drills/{}/ä.json", "expiry/a b.json", "_leases/a b", "x y"),
    *("wal/", "wal/a b/x", "wal/1/x"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize("key", PLANTED)
async def test_whatever_a_planted_object_is_called_all_else_is_seen(key: str, stranger: Stranger):
    id_ = await kept_by(stranger)
    logged(stranger.made, [3, 4])
    stranger.puts(key.format(id_), b"planted")
    seen = stranger.seen()
    assert id_ in [one.id for one in seen.listed() if one.kept is not None]
    assert evidence.newest(seen, seen.load(id_).manifest) is None
    assert expiry.marks(seen, [seen.load(id_).manifest], seen.load(id_).manifest.ended_at) == {}
    assert SYSTEM in clusters(seen)
    assert len(_logs(seen)[SYSTEM].segments) == 2
    assert seen.proven
    seen.storage.sweep()
    assert len(list(Archive(seen, SYSTEM).segments(1))) == 2


@pytest.mark.parametrize("name", ["/x", "../x", "./x"])
def test_a_name_beside_which_nothing_can_be_listed_is_told_and_is_no_empty_listing(name: str, stranger: Stranger):
    stranger.puts(f"backups/{name}", b"planted")
    with pytest.raises(Unavailable, match=r"right below `s3://[a-z0-9-]*/of/ours/backups` has a name with"):
        stranger.seen().listed()
    stranger.deletes(f"backups/{name}")
    assert stranger.seen().listed() == ()


@pytest.mark.asyncio
async def test_what_is_taken_away_while_a_backup_is_made_is_found_by_who_verifies_it(
    stranger: Stranger, object_server: ObjectServer
):
    """Who may delete can do this to a folder, too; the manifest is signed, so it is told."""
    id_ = await kept_by(stranger)
    [member] = [key for key in object_keys(object_server, stranger.address) if key.endswith(".zst.age")]
    stranger.deletes(member)
    assert [one.what for one in verify(stranger.seen(), id_, lambda _: None).damages] == [member.rpartition("/")[2]]


@pytest.mark.asyncio
async def test_an_older_state_that_is_put_back_is_whole_and_signed_and_nobody_can_tell(stranger: Stranger):
    """Stated, not mended: who kept a copy of what was there puts back a backup that was deleted. It is none but it was."""
    id_ = await kept_by(stranger)
    prefix = f"{stranger.address.prefix}/"
    every = stranger.client.list_objects_v2(Bucket=stranger.address.bucket)["Contents"]
    before = {key: stranger.gets(key) for one in every if id_ in (key := one["Key"].removeprefix(prefix))}
    stranger.seen().delete(id_)
    assert stranger.seen().listed() == ()
    for key, data in before.items():
        stranger.puts(key, data)
    assert verify(stranger.seen(), id_, lambda _: None).intact
