"""How many requests each thing costs in a bucket: they are money and time, and none is to grow with what was kept long ago."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fix_objects import IMPATIENT, ObjectServer, object_vault, reopened_there
from fix_retention import logged
from fix_trouble import Trouble
from fix_wal import SIZE, SYSTEM, WrittenLog

from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.storage.bucket import open_bucket
from ostiary_tools.backup.storage.objects import Objects
from ostiary_tools.backup.wal_archive.archive import Archive


@dataclass
class Counting:
    """A repository, and what it asks of its store."""

    fresh: Callable[[], Repository]
    """As somebody sees it who comes new."""
    asked: Counter[str]

    @contextmanager
    def cost(self) -> Iterator[Counter[str]]:
        """Of the block, by what is asked."""
        self.asked.clear()
        found: Counter[str] = Counter()
        yield found
        found.update(self.asked)


@pytest.fixture
def counting(object_server: ObjectServer, trouble: Trouble, tmp_path: Path) -> Counting:
    address, asked = object_server.bucket(), Counter[str]()

    def fate(method: str, path: str, _: int) -> None:
        asked["LIST" if method == "GET" and "list-type" in path else method] += 1

    made = object_vault(Objects(open_bucket(address, IMPATIENT)), tmp_path)
    trouble.fate = fate
    signer = made.repository.writer()

    def fresh() -> Repository:
        there = reopened_there(tmp_path, trouble.before(address))
        return replace(there, signer=signer, identities=made.repository.identities)

    return Counting(fresh, asked)


def test_a_segment_costs_the_same_however_much_is_kept(counting: Counting, tmp_path: Path):
    log = WrittenLog().fill(8)
    archive = Archive(counting.fresh(), SYSTEM)

    def keep(number: int) -> None:
        archive.keep(log.arrived(tmp_path, number), "shop")

    keep(1)
    with counting.cost() as few:
        keep(2)
    logged(archive.repository, range(100, 140))
    with counting.cost() as many:
        keep(3)
    assert few == many == {"PUT": 5, "LIST": 1, "POST": 1}, "a lease, three files, a record; what is there; the lease again"
    with counting.cost() as tail:
        archive.keep(log.arrived(tmp_path, 4, SIZE // 2), "shop")
    assert tail == few
