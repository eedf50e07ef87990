"""A repository in object storage, from its beginning to a restore when all else is lost, as a person does it."""

import json
import re

import pytest
from fix_custody import ROWS
from fix_objects import KEYS, ObjectServer
from fix_person import Person

from ostiary_tools.backup.storage.bucket import Address


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
