"""A repository in object storage, from its beginning to a restore when all else is lost, as a person does it."""

import json
import os
import re
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from fix_custody import ROWS
from fix_objects import KEYS, NewObjects, ObjectServer
from fix_person import Person

from ostiary_tools.backup import repository
from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Made
from ostiary_tools.backup.sealing import load_signer
from ostiary_tools.backup.storage.bucket import Address
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.backup.verification import verify


@pytest.fixture
def bucket(object_server: ObjectServer, person: Person, monkeypatch: pytest.MonkeyPatch) -> Address:
    """What the person's configuration names, with a secret that is referred to."""
    made = object_server.bucket()
    for name, value in {
        "OSTIARY_BACKUP__REPOSITORY": made.url,
        "OSTIARY_BACKUP__ENDPOINT": made.endpoint,
        "OSTIARY_BACKUP__REGION": made.region,
        "OSTIARY_BACKUP__ACCESS_KEY": KEYS[0],
        "OSTIARY_BACKUP__SECRET_KEY": KEYS[1],
    }.items():
        monkeypatch.setenv(name, value)
    return made


def test_a_repository_in_a_bucket_is_begun_used_drilled_and_restored_from_when_all_else_is_lost(
    person: Person, bucket: Address, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
):
    begun = person.does("backup", "init", "--recovery-key", str(person.stick / "recovery.key"))
    assert begun.splitlines()[0] == f"backups are kept in {bucket.url}"
    again = person.runs("backup", "init", "--recovery-key", str(person.stick / "second.key"))
    assert (again.code, f"there is a repository in `{bucket.url}` already" in again.err) == (1, True)
    first, second = person.backs_up(), person.backs_up()
    assert {one["backup"] for one in json.loads(person.does("backup", "list", "--json"))} == {first, second}
    assert json.loads(person.does("backup", "verify", first, "--json"))["intact"]
    assert "is proven" in person.does("drill", second)
    person.does("backup", "delete", first, types=f"{first}\n")
    assert [one["backup"] for one in json.loads(person.does("backup", "list", "--json"))] == [second]
    keys = [one["Key"] for one in object_server.client().list_objects_v2(Bucket=bucket.bucket)["Contents"]]
    assert not [key for key in keys if first in key and not key.startswith("of/ours/drills/")]
    assert not [key for key in keys if "/_leases/" in key]
    for name in ("REPOSITORY", "ENDPOINT", "REGION", "ACCESS_KEY", "SECRET_KEY"):
        monkeypatch.delenv(f"OSTIARY_BACKUP__{name}")
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), KEYS, strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", bucket.region)
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint)
    key = str(person.stick / "recovery.key")
    said = person.runs("restore", "shop", str(person.site.folder / "copy.sql"), "--table", "public.orders",
                       "--repository", bucket.url, "--identity", key, alone=True)  # fmt: skip
    assert said.code == 0, said.err
    assert len(re.findall(r"^\d+\t", (person.site.folder / "copy.sql").read_text(), re.MULTILINE)) == ROWS - 500


@pytest.mark.asyncio
async def test_a_copy_of_a_bucket_is_put_together_by_the_commands_of_its_restore_txt(
    new_objects: NewObjects, object_server: ObjectServer, tmp_path: Path
):
    storage, signer, own, recovery = new_objects(), load_signer(tmp_path / "key"), new_identity(), new_identity()
    repository.initialise(storage, signer, own.recipient, recovery.recipient)
    made = repository.open_repository(storage, signer.seal, signer, (own,))
    assert made.prove((recovery,))
    for job, size in (("long", 40 << 20), ("short", 9)):
        async with making(made, Kind.SQLITE, "shop", job) as begun:
            member = await begun.put("shop.db", Content.SQLITE, BytesIO(os.urandom(size)), lambda _: None)
            await begun.commit(Made("3.45", (member,), None))
    stage = storage.stage("backups/never", "finished")
    stage.create("file").close()
    bucket, copy = storage.bucket.address, tmp_path / "copy"
    other = object_server.client()
    for one in other.list_objects_v2(Bucket=bucket.bucket)["Contents"]:
        file = copy / one["Key"].removeprefix(f"{bucket.prefix}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        other.download_file(bucket.bucket, one["Key"], str(file))
    stage.close()
    text = (copy / "RESTORE.txt").read_text().partition("\n6. Out of object storage\n")[2].partition("\nHow far")[0]
    (precious := tmp_path / "precious.0123456789abcdef").mkdir()
    (copy / "backups" / "_planted").write_text(f'{{\n "folder": "../{precious.name}",\n "files": {{}}\n}}\n')
    script = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    script = script.replace("COPY=/srv/copy", f"COPY='{copy}'")
    subprocess.run(["/bin/bash", "-c", f"set -euo pipefail\n{script}"], check=True, timeout=60)  # noqa: ASYNC221
    assert precious.is_dir(), "it moves nothing that a record of somebody else names"
    carried = replace(made, storage=Folder(copy, carried=True))
    ids = [one.id for one in made.listed()]
    assert len(ids) == 2
    assert [verify(carried, id_, lambda _: None).intact for id_ in ids] == [True, True]
    assert carried.storage.names("") == [
        "RESTORE.txt",
        "_clock",
        "_leases",
        "backups",
        "proofs",
        "repository.json",
        "repository.sig",
    ]
