"""How many requests each thing costs in a bucket: they are money and time, and none is to grow with what was kept long ago."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from fix_objects import IMPATIENT, ObjectServer, object_vault, reopened_there
from fix_retention import dated, logged
from fix_trouble import Trouble
from fix_wal import SIZE, SYSTEM, WrittenLog

from ostiary.recovery.facts import Facts
from ostiary.recovery.gathering import _read
from ostiary_tools.backup import evidence, expiry
from ostiary_tools.backup.evidence import Check, Evidence
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.manifest_json import encode
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


def drilled(repository: Repository, made: Manifest, times: int) -> None:
    """So often, each a second after the one before."""
    began, held = datetime.now(UTC), sha256(encode(made)).hexdigest()
    for n in range(times):
        ended = began + timedelta(seconds=n)
        evidence.record(repository, Evidence(made.id, held, began, ended, "ostiary", (Check("restore", "it was", 1.0),)))


def listed(repository: Repository) -> int:
    """As every list of backups is made."""
    found = [one.kept.manifest for one in repository.listed() if one.kept is not None]
    assert all(evidence.newest(repository, made) for made in found)
    assert (expiry.marks(repository, found, datetime.now(UTC)), repository.proven) == ({}, True)
    return len(found)


def reported(repository: Repository) -> int:
    """What a report reads."""
    return len(_read(repository, Facts(datetime.now(UTC), "", {})).manifests)


@pytest.mark.parametrize(
    ("look", "each", "of_drill", "of_segment"),
    [
        pytest.param(listed, {"GET": 5, "LIST": 1}, {}, {}, id="list"),
        pytest.param(reported, {"GET": 6, "LIST": 2}, {"GET": 2}, {"GET": 3}, id="report", marks=pytest.mark.slow),
    ],
)
def test_what_a_look_costs_grows_by_what_is_there_to_be_told_alone(
    counting: Counting,
    look: Callable[[Repository], int],
    each: dict[str, int],
    of_drill: dict[str, int],
    of_segment: dict[str, int],
):
    def cost() -> Counter[str]:
        with counting.cost() as found:
            look(counting.fresh())
        return found

    repository = counting.fresh()
    first = dated(repository, 1)
    drilled(repository, first, 1)
    logged(repository, [1])
    one = cost()
    assert one["PUT"] == one["POST"] == one["DELETE"] == 0
    drilled(repository, dated(repository, 2), 1)
    two = cost()
    assert two - one == Counter(each)
    drilled(repository, first, 2)
    more = cost()
    assert more - two == Counter({what: 2 * n for what, n in of_drill.items()})
    logged(repository, [2, 3])
    assert cost() - more == Counter({what: 2 * n for what, n in of_segment.items()})
