"""Object stores that fail, stall and lose connections, processes that die while they write to one, and two at one work."""

import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fix_backup import keep
from fix_objects import IMPATIENT, KEYS, ObjectServer, a_minute_later
from fix_trouble import Trouble, Wrong
from fix_waiting import ended, until

from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.repository import Repository, initialise, open_repository
from ostiary_tools.backup.sealing import load_signer
from ostiary_tools.backup.storage import lease
from ostiary_tools.backup.storage.bucket import Address, Patience, open_bucket
from ostiary_tools.backup.storage.objects import Objects
from ostiary_tools.backup.verification import verify
from ostiary_tools.errors import Damaged, LockedOut, Refused, Unavailable

pytestmark = pytest.mark.fault

TESTS = Path(__file__).parent.parent
BRIEF = Patience(request_s=1, tries=5, whole_s=20, pause_s=0.01)


@pytest.fixture
def address(object_server: ObjectServer) -> Address:
    return object_server.bucket()


@pytest.fixture
def objects(address: Address) -> Objects:
    """The bucket, on a way where nothing goes wrong."""
    return Objects(open_bucket(address, IMPATIENT))


@pytest.fixture
def troubled(address: Address, trouble: Trouble) -> Objects:
    """The same bucket on a way where things do."""
    return Objects(open_bucket(trouble.before(address), BRIEF))


def keys(server: ObjectServer, address: Address) -> list[str]:
    """All objects of a bucket, as another program sees them."""
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=address.bucket)
    return [one["Key"].removeprefix(f"{address.prefix}/") for page in pages for one in page.get("Contents", [])]


def commit(storage: Objects, name: str, work: str = "work", **files: bytes) -> None:
    with closing(storage.stage(name, work)) as stage:
        for file, data in files.items():
            with stage.create(file) as opened:
                opened.write(data)
        stage.commit()


def repository(storage: Objects, home: Path) -> Repository:
    """A new one, proven, with a key that opens it."""
    signer, own, recovery = load_signer(home / "signing.key"), new_identity(), new_identity()
    initialise(storage, signer, own.recipient, recovery.recipient)
    made = open_repository(storage, signer.seal, signer, (own,))
    assert made.prove((recovery,))
    return made


@pytest.mark.parametrize("wrong", [Wrong.FAILS, Wrong.CUT, Wrong.LOST, Wrong.HALF, Wrong.FLIPPED, Wrong.STALLS])
def test_what_goes_wrong_with_every_third_request_changes_nothing_of_what_is_done(
    wrong: Wrong, troubled: Objects, trouble: Trouble, objects: Objects
):
    long = os.urandom(20 << 20)
    trouble.fate = lambda method, path, number: wrong if number % 3 == 0 else None  # noqa: ARG005
    for n in range(4):
        troubled.write(f"plain/{n}", b"%d" % n)
        with pytest.raises(FileExistsError):
            troubled.write(f"plain/{n}", b"another")
    commit(troubled, "kept/one", long=long, short=b"s")
    commit(troubled, "kept/two", short=b"s")
    with pytest.raises(FileExistsError):
        commit(troubled, "kept/two", short=b"another")
    troubled.remove("kept/two")
    assert troubled.read("kept/one/long") == long
    assert [troubled.read(f"plain/{n}") for n in range(4)] == [b"0", b"1", b"2", b"3"]
    assert (troubled.names("kept"), troubled.names("plain")) == (["one"], ["0", "1", "2", "3"])
    assert objects.names("kept/one") == ["long", "short"]
    assert objects.bucket.below("_leases") == ([], [])


@pytest.mark.parametrize(
    ("wrong", "words", "most"),
    [
        (Wrong.FAILS, "it says 503", 5),
        (Wrong.CUT, "it is not reached, or not in time", 5),
        (Wrong.STALLS, "it is not reached, or not in time", 5),
        (Wrong.DENIED, "lets nobody with these credentials", 1),
    ],
)
def test_a_store_that_never_answers_as_it_should_is_asked_a_bounded_number_of_times_and_then_said_to_be_so(
    wrong: Wrong, words: str, most: int, troubled: Objects, trouble: Trouble
):
    trouble.after(0, wrong)
    acts: list[Any] = [lambda: troubled.names("backups"), lambda: troubled.read("a"), lambda: troubled.write("a", b"")]
    for act in acts:
        before = trouble.count
        with pytest.raises(Unavailable, match=words) as said:
            act()
        assert 1 <= trouble.count - before <= most
        assert not any(secret in str(said.value) + said.value.hint for secret in KEYS)


def test_a_store_that_writes_whatever_the_conditions_are_gets_no_repository(troubled: Objects, trouble: Trouble, tmp_path: Path):
    trouble.heedless = True
    with pytest.raises(Refused, match="does not keep to `If-None-Match`"):
        repository(troubled, tmp_path)
    assert troubled.names("") == []


def test_a_bucket_that_is_not_there_is_named(object_server: ObjectServer):
    storage = Objects(open_bucket(Address("nobody-made-it", "", object_server.endpoint, "us-east-1", *KEYS), BRIEF))
    acts: list[Any] = [lambda: storage.names(""), lambda: storage.write("a", b""), lambda: storage.read("a")]
    for act in acts:
        with pytest.raises(Unavailable, match="there is no bucket `nobody-made-it`"):
            act()


@pytest.mark.asyncio
async def test_a_store_that_goes_away_while_a_member_is_read_is_no_damage(
    objects: Objects, troubled: Objects, trouble: Trouble, tmp_path: Path
):
    made = repository(objects, tmp_path)
    kept = await keep_in(made, os.urandom(40 << 20))
    other = replace(kept, storage=troubled)
    [member] = kept.manifest.members

    def read() -> None:
        with other.plain(member) as plain:
            plain.read(1 << 20)
            trouble.after(0, Wrong.FAILS)
            while plain.read(1 << 20):
                pass

    with pytest.raises(Unavailable, match="503"):
        await asyncio.to_thread(read)
    trouble.fate = lambda *_: None
    assert verify(replace(made, storage=troubled), kept.manifest.id, lambda _: None).intact


async def keep_in(made: Repository, data: bytes) -> Any:
    return await keep(any_vault(made), [data])


def any_vault(made: Repository) -> Any:
    """As much of a vault as `keep` asks for."""

    class _Vault:
        repository = made

    return _Vault()


PROGRAM = """
import asyncio, os, sys
from io import BytesIO
from pathlib import Path
from fix_objects import IMPATIENT, KEYS
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Made
from ostiary_tools.backup.repository import open_repository
from ostiary_tools.backup.sealing import load_signer
from ostiary_tools.backup.storage.bucket import Address, open_bucket
from ostiary_tools.backup.storage.objects import Objects
from ostiary_tools.errors import LockedOut

async def main(home, bucket, prefix, endpoint, job):
    signer = load_signer(Path(home) / "signing.key")
    storage = Objects(open_bucket(Address(bucket, prefix, endpoint, "us-east-1", *KEYS), IMPATIENT))
    repository = open_repository(storage, signer.seal, signer)
    print("opened", flush=True)
    try:
        async with making(repository, Kind.SQLITE, "shop", job) as made:
            if made.done is None:
                member = await made.put("part-1.db", Content.SQLITE, BytesIO(os.urandom(20_000_000)), lambda _: None)
                await made.commit(Made("3.45", (member,), None))
            print("done" if made.done else "made")
    except LockedOut:
        print("locked out")
asyncio.run(main(*sys.argv[1:]))
"""


async def program(home: Path, address: Address, job: str) -> asyncio.subprocess.Process:
    where = (str(home), address.bucket, address.prefix, address.endpoint, job)
    pipe = asyncio.subprocess.PIPE
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TESTS)}
    return await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, *where, env=environ, stdout=pipe, stderr=pipe)


async def killed(process: asyncio.subprocess.Process, trouble: Trouble, count: int) -> None:
    """Once there were more requests than that, unless it has ended."""
    await until(lambda: trouble.count > count or process.returncode is not None)
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)
    await process.communicate()


def others(found: list[str]) -> list[str]:
    """All but what the store's clock is read by."""
    return sorted({*found} - {"_clock/now", "_clock/condition"})


@pytest.mark.asyncio
async def test_a_process_killed_at_any_request_leaves_nothing_that_is_listed_and_nothing_that_is_not_swept(
    object_server: ObjectServer,
    address: Address,
    objects: Objects,
    trouble: Trouble,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    made = repository(objects, tmp_path)
    empty = others(keys(object_server, address))
    whole = 0
    for moment in (1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 24):
        process = await program(tmp_path, trouble.before(address), f"job-{moment}")
        assert process.stdout is not None
        assert await process.stdout.readline() == b"opened\n"
        trouble.after(moment, Wrong.STALLS)
        await killed(process, trouble, trouble.count + moment)
        trouble.fate = lambda *_: None
        listed = made.listed()
        assert [one.id for one in listed if not verify(made, one.id, lambda _: None).intact] == []
        assert object_server.client().list_multipart_uploads(Bucket=address.bucket).get("Uploads", []) == []
        before = others(keys(object_server, address))
        assert objects.sweep() == 0, "it may be alive, for all that anybody knows"
        assert others(keys(object_server, address)) == before
        with a_minute_later():
            objects.sweep()
        whole += len(listed)
        for one in listed:
            objects.remove(f"backups/{one.id}")
        assert others(keys(object_server, address)) == empty
    assert 0 < whole < 13, "killed before a commit, and after one"


@pytest.mark.asyncio
async def test_of_processes_at_one_work_one_makes_it(address: Address, objects: Objects, tmp_path: Path):
    made = repository(objects, tmp_path)
    programs = [await program(tmp_path, address, "job") for _ in range(4)]
    said = [(await ended(one))[0].split("\n")[1] for one in programs]
    assert said.count("made") == 1
    assert set(said) <= {"made", "done", "locked out"}
    assert len(made.listed()) == 1


def test_of_many_commits_under_one_name_one_is_there_and_the_others_leave_nothing(
    object_server: ObjectServer, address: Address, objects: Objects
):
    ways: list[str] = []

    def work(number: int) -> None:
        try:
            commit(objects, "kept/one", f"work-{number}", file=b"%d" % number)
            ways.append(str(number))
        except FileExistsError:
            ways.append("late")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ways.count("late") == 7
    [winner] = set(ways) - {"late"}
    assert objects.read("kept/one/file") == winner.encode()
    assert len(keys(object_server, address)) == 2, "its record and its file"


@pytest.mark.parametrize("ahead", [timedelta(days=3), timedelta(days=-3)])
def test_a_store_whose_clock_is_days_away_keeps_the_living_and_gives_up_the_dead(
    ahead: timedelta, troubled: Objects, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
):
    trouble.ahead = ahead
    stage = troubled.stage("kept/one", "work")
    with pytest.raises(LockedOut):
        troubled.stage("kept/two", "work")
    assert troubled.sweep() == 0
    with a_minute_later():
        assert troubled.sweep() == 1
    monkeypatch.setattr(lease, "_RENEWED_S", -1)  # as if it had been away for long
    with pytest.raises(LockedOut, match="another process may be at this"):
        stage.commit()
    stage.close()


def test_a_holder_that_was_taken_for_dead_commits_nothing_and_touches_nothing_of_whoever_came_after(
    object_server: ObjectServer, address: Address, objects: Objects, monkeypatch: pytest.MonkeyPatch
):
    slow = objects.stage("kept/one", "work")
    with slow.create("file") as file:
        file.write(b"of the slow one")
    with a_minute_later():
        quick = objects.stage("kept/one", "work")
    assert not [key for key in keys(object_server, address) if key.endswith("/file")], "it went first"
    monkeypatch.setattr(lease, "_RENEWED_S", -1)  # as if it had been away for long
    with pytest.raises(LockedOut, match="another process may be at this"):
        slow.create("late").close()
    with pytest.raises(LockedOut, match="another process may be at this"):
        slow.commit()
    slow.close()
    with quick.create("file") as file:
        file.write(b"of the quick one")
    quick.commit()
    quick.close()
    assert objects.read("kept/one/file") == b"of the quick one"
    assert len(others(keys(object_server, address))) == 2


@pytest.mark.asyncio
async def test_a_lease_is_renewed_while_its_work_lasts_also_through_a_time_without_the_store(
    troubled: Objects, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lease, "_RENEWED_S", 0.02)
    stage = await asyncio.to_thread(troubled.stage, "kept/one", "work")
    renewed = trouble.count
    await until(lambda: trouble.count > renewed + 3)
    trouble.after(0, Wrong.FAILS)
    failed = trouble.count
    await until(lambda: trouble.count > failed + 8)
    trouble.fate = lambda *_: None
    await asyncio.to_thread(stage.commit)
    await asyncio.to_thread(stage.close)
    assert troubled.names("kept") == ["one"]


@pytest.mark.parametrize("moment", range(6))
def test_a_removal_that_stops_anywhere_is_done_or_was_none_and_is_finished_by_a_sweep(
    moment: int,
    object_server: ObjectServer,
    address: Address,
    objects: Objects,
    troubled: Objects,
    trouble: Trouble,
):
    commit(objects, "kept/one", long=os.urandom(17 << 20), short=b"s")
    there = others(keys(object_server, address))
    trouble.after(moment, Wrong.FAILS)
    with suppress(Unavailable):
        troubled.remove("kept/one")
    with a_minute_later():
        objects.sweep()
    names = Objects(objects.bucket).names("kept")
    assert names in ([], ["one"])
    assert others(keys(object_server, address)) == (there if names else [])
    objects.remove("kept/one")
    assert others(keys(object_server, address)) == []


@pytest.mark.asyncio
async def test_what_was_changed_behind_our_back_is_told_as_damage_and_what_was_planted_is_not_there(
    object_server: ObjectServer, address: Address, objects: Objects, tmp_path: Path
):
    made, other = repository(objects, tmp_path), object_server.client()
    id_ = (await keep_in(made, os.urandom(40 << 20))).manifest.id
    [part] = [key for key in keys(object_server, address) if "/_0000002.part-1" in key]
    [record] = [key for key in keys(object_server, address) if key == f"backups/_{id_}"]

    def put(key: str, data: bytes) -> None:
        other.put_object(Bucket=address.bucket, Key=f"{address.prefix}/{key}", Body=data)

    def got(key: str) -> bytes:
        return bytes(other.get_object(Bucket=address.bucket, Key=f"{address.prefix}/{key}")["Body"].read())

    def fresh() -> Repository:
        return replace(made, storage=Objects(objects.bucket))

    right, said = got(part), got(record)
    for bad in (right[:-1], right + b"x", bytes([right[0] ^ 1]) + right[1:]):
        put(part, bad)
        found = verify(fresh(), id_, lambda _: None)
        assert [one.what for one in found.damages] == ["part-1.db.zst.age"]
    other.delete_object(Bucket=address.bucket, Key=f"{address.prefix}/{part}")
    assert [one.what for one in verify(fresh(), id_, lambda _: None).damages] == ["part-1.db.zst.age"]
    put(part, right)
    for bad in (b"", b"{}", said.replace(id_.encode(), b"x" * len(id_)), said.replace(b"16777216", b"-1"), said[:-40]):
        put(record, bad)
        [listed] = fresh().listed()
        assert (listed.kept, isinstance(listed.damage, Damaged)) == (None, True)
    put(record, said)
    put(f"backups/_{id_}.0123456789abcdef/part-1.db.zst.age", b"planted")
    put(f"backups/{id_}/manifest.json", b"planted")
    put("_leases/planted", b"planted")
    assert [one.id for one in fresh().listed() if one.kept] == [id_]
    assert objects.sweep() == 0
    objects.remove(f"backups/{id_}")
    assert fresh().listed() == ()


@pytest.mark.parametrize("named", ["kept", "kept/one", "", "kept/_one", "plain/../kept", "_clock"])
def test_a_lease_that_somebody_planted_has_nothing_deleted_for_him(
    named: str, object_server: ObjectServer, address: Address, objects: Objects
):
    """Who may write and not delete would have us do it."""
    commit(objects, "kept/one", file=b"precious")
    objects.write("kept/small.json", b"{}")
    there = others(keys(object_server, address))
    said = json.dumps({"format": 1, "holder": "0", "folders": [named]}).encode()
    object_server.client().put_object(Bucket=address.bucket, Key=f"{address.prefix}/_leases/planted", Body=said)
    with a_minute_later(), suppress(Damaged):
        objects.sweep()
    assert others(keys(object_server, address)) == there


def test_in_a_bucket_with_object_lock_what_was_deleted_is_still_there_as_a_version(object_server: ObjectServer):
    locked = object_server.bucket(ObjectLockEnabledForBucket=True)
    other, rule = object_server.client(), {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}}
    other.put_object_lock_configuration(
        Bucket=locked.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    storage = Objects(open_bucket(locked, IMPATIENT))
    commit(storage, "kept/one", file=b"precious")
    commit(storage, "kept/two", file=b"b")
    storage.remove("kept/one")
    assert (storage.names("kept"), storage.sweep()) == (["two"], 0)
    versions = other.list_object_versions(Bucket=locked.bucket)["Versions"]
    [kept] = [one for one in versions if "/_one." in one["Key"] and one["Key"].endswith("/file")]
    with pytest.raises(other.exceptions.ClientError, match="AccessDenied"):
        other.delete_object(Bucket=locked.bucket, Key=kept["Key"], VersionId=kept["VersionId"])
    found = other.get_object(Bucket=locked.bucket, Key=kept["Key"], VersionId=kept["VersionId"])
    assert found["Body"].read() == b"precious"


def test_a_listing_of_several_pages_is_whole_and_what_it_lists_goes_whole(
    object_server: ObjectServer, address: Address, objects: Objects
):
    def write(numbers: range) -> None:
        for n in numbers:
            objects.write(f"many/{n:04}", b"")

    threads = [threading.Thread(target=write, args=(range(start, 2100, 4),)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert objects.names("many") == [f"{n:04}" for n in range(2100)]
    objects.remove("many")
    assert objects.names("many") == []
    assert others(keys(object_server, address)) == []
