"""Parts of a file that are on their way to a store, or from it, at once: as many as are stated, and whole or not at all."""

import os
import threading
from contextlib import closing

import pytest
from fix_objects import ObjectServer, object_keys
from fix_trouble import Trouble, Wrong

from ostiary_tools.backup.storage import objects as objects_module
from ostiary_tools.backup.storage import parts
from ostiary_tools.backup.storage.bucket import Address, Patience, open_bucket
from ostiary_tools.backup.storage.objects import Objects
from ostiary_tools.backup.storage.parts import AHEAD, AT_ONCE
from ostiary_tools.errors import StoreAway

pytestmark = pytest.mark.fault

PART = 1 << 18
LONG = os.urandom(11 * PART + 5)
BRIEF = Patience(request_s=20, tries=2, whole_s=20, pause_s=0.01)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a size that tests can have many of."""
    monkeypatch.setattr(parts, "PART_BYTES", PART)
    monkeypatch.setattr(objects_module, "PART_BYTES", PART)


@pytest.fixture
def address(object_server: ObjectServer) -> Address:
    return object_server.bucket()


@pytest.fixture
def objects(address: Address, trouble: Trouble) -> Objects:
    return Objects(open_bucket(trouble.before(address), BRIEF))


class Meeting:
    """Holds requests for parts until so many have come; then more may pass. How many there were at most."""

    def __init__(self, trouble: Trouble, method: str, count: int) -> None:
        self.most = self._now = 0
        self._count, self._method, self._lock = count, method, threading.Condition()
        trouble.fate = self._fate
        trouble.after_each = self._left

    def _fate(self, method: str, path: str, _: int) -> Wrong | None:
        if self._counts(method, path):
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
                self._lock.notify_all()
                met = self._lock.wait_for(lambda: self.most >= self._count, 15)
            assert met, "they come one after the other"
        return None

    def _counts(self, method: str, path: str) -> bool:
        """The first part is looked for by who opens a file."""
        return method == self._method and "/_00000" in path and (method == "PUT" or "/_0000001." not in path)

    def _left(self, method: str, path: str) -> None:
        if self._counts(method, path):
            with self._lock:
                self._now -= 1


def committed(storage: Objects, data: bytes) -> None:
    with closing(storage.stage("kept/one", "work")) as stage:
        with stage.create("long") as file:
            for start in range(0, len(data), 100_000):
                file.write(data[start : start + 100_000])
        stage.commit()


def test_parts_are_put_and_got_several_at_once_and_no_more_than_is_stated(objects: Objects, trouble: Trouble, address: Address):
    meeting = Meeting(trouble, "PUT", AT_ONCE)
    committed(objects, LONG)
    assert meeting.most == AT_ONCE
    meeting = Meeting(trouble, "GET", 1 + AHEAD)
    with Objects(open_bucket(trouble.before(address), BRIEF)).open("kept/one/long") as file:
        found = b"".join(iter(lambda: file.read(70_001), b""))
    assert (found == LONG, meeting.most) == (True, 1 + AHEAD)


def test_who_reads_here_and_there_gets_what_is_there(objects: Objects):
    committed(objects, LONG)
    with objects.open("kept/one/long") as file:
        for place in (7 * PART, 3, 11 * PART + 1, 2 * PART - 2, 8 * PART, 9 * PART, 0, 10 * PART - 1):
            file.seek(place)
            assert (found := file.read(4) + file.read(4))
            assert LONG.startswith(found, place)


@pytest.mark.parametrize("bad", [0, 2, 5, 11])
def test_a_part_that_does_not_arrive_fails_the_file_and_nothing_of_it_stays_or_comes_later(
    bad: int, objects: Objects, trouble: Trouble, object_server: ObjectServer, address: Address
):
    trouble.fate = lambda method, path, _: Wrong.FAILS if method == "PUT" and f"/_{bad + 1:07}." in path else None
    with pytest.raises(StoreAway, match="503"):
        committed(objects, LONG)
    assert object_keys(object_server, address) == []
    assert [one.name for one in threading.enumerate() if one.name.startswith("backup-part")] == []


@pytest.mark.parametrize("wrong", [Wrong.LOST, Wrong.FLIPPED, Wrong.CUT])
def test_each_part_that_is_lost_or_altered_on_its_way_is_sent_again(wrong: Wrong, objects: Objects, trouble: Trouble):
    bad: set[str] = set()

    def fate(method: str, path: str, _: int) -> Wrong | None:
        if method != "PUT" or path in bad:
            return None
        bad.add(path)
        return wrong

    trouble.fate = fate
    committed(objects, LONG)
    with objects.open("kept/one/long") as file:
        assert file.read() == LONG
    assert len([path for path in bad if "/_00000" in path]) == 12


def test_a_part_that_fails_while_it_is_read_ahead_fails_the_read_that_comes_to_it(objects: Objects, trouble: Trouble):
    committed(objects, LONG)
    trouble.fate = lambda method, path, _: Wrong.FAILS if method == "GET" and "/_0000004." in path else None
    with objects.open("kept/one/long") as file:
        assert b"".join(file.read(PART) for _ in range(3)) == LONG[: 3 * PART]
        with pytest.raises(StoreAway, match="503"):
            file.read(1)
