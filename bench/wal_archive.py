"""What a segment of the log costs to keep and to verify, and what it costs to find one among many.

- `keep`: read, its pages and records looked at, compressed, encrypted, signed, flushed; of a server that pgbench writes to.
- `keep, by a program`: likewise, with the encryption in a program of its own, as of what is not small.
- `records`: the chain alone, without any file.
- `verify`: `ostiary backup verify --level wal`.
- `find`: the newest segment, and those of one gigabyte, where so many are kept.

    python bench/wal_archive.py [--segments 8] [--many 1000 20000]
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fix_backup import Vault, new_vault
from fix_postgres import PostgresServer, new_server, short_directory
from rich.console import Console
from rich.table import Table

from ostiary_tools.backup import small, wal
from ostiary_tools.backup.manifest import ClusterFacts, Content, Kind, Manifest, Member
from ostiary_tools.backup.wal_archive import looking, pages
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.arrived import Arrived
from ostiary_tools.backup.wal_archive.segment import Contents, Segment, encode
from ostiary_tools.backup.wal_archive.verification import verify_log

SIZE = 16 << 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--many", type=int, nargs="+", default=[1000, 20_000])
    asked = parser.parse_args()
    table = Table("what", "each", "of our processor", "MB/s of log")
    home = Path(tempfile.mkdtemp(prefix="bench-wal-"))
    try:
        kept_and_verified(home, written(home, asked.segments), table)
        Console().print(table)
        found = Table("kept", "the newest", "those of 1 GB", "all described")
        for many in asked.many:
            found.add_row(f"{many:,} segments", *(f"{each * 1000:.1f} ms" for each in finding(home / str(many), many)))
        Console().print(found)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def written(home: Path, count: int) -> Sequence[Path]:
    """Segments of a server that pgbench writes to."""
    root = short_directory()
    server = new_server(root, {"wal_keep_size": "8GB", "max_wal_size": "8GB", "fsync": "off"})
    server.start()
    try:
        connected = ("-h", str(root), "-U", "ostiary_admin", "postgres")
        server.run("pgbench", "-i", "-q", "-s", "20", *connected)
        begun = len(whole(server))
        while len(whole(server)) < begun + count:
            server.run("pgbench", "-c", "4", "-T", "5", "-N", *connected)
        return [Path(shutil.copy(path, home)) for path in whole(server)[-count:]]
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


def whole(server: PostgresServer) -> Sequence[Path]:
    """Those that are full."""
    done = server.run("psql", "-XqAt", "-h", str(server.root), "-U", "ostiary_admin", "postgres", "-c",
                      "SELECT pg_walfile_name(pg_current_wal_lsn())")  # fmt: skip
    return sorted(path for path in (server.data / "pg_wal").glob("0*") if path.name < done.stdout.strip())


def kept_and_verified(home: Path, paths: Sequence[Path], table: Table) -> None:
    """Of one cluster."""
    system = pages.head(paths[0].name, paths[0].read_bytes()).system_identifier
    vault, other, usual = new_vault(home / "one"), new_vault(home / "two"), small.LARGEST
    archive = Archive(vault.repository, system)
    measured(table, "keep", len(paths), lambda: [keep(archive, path) for path in paths])
    small.LARGEST = 0
    measured(table, "keep, by a program", len(paths), lambda: [keep(Archive(other.repository, system), path) for path in paths])
    small.LARGEST = usual
    measured(table, "records", len(paths), lambda: [looking.contents(one.name, one.read_bytes(), whole=True) for one in paths])
    start = wal.shown(wal.begin(paths[0].name, SIZE))
    facts, now = ClusterFacts(system, 1, start, start, None), datetime.now(UTC)
    made = Manifest("20260101T000000Z-00000000", Kind.FULL, "shop", "job", now, now, "18.6", (), None, facts)
    measured(table, "verify", len(paths), lambda: verified(vault, made))
    stored = sum(segment.member.stored_bytes for segment in archive.segments(1))
    print(f"{len(paths)} segments, {stored / len(paths) / 1e6:.2f} MB stored of each")


def keep(archive: Archive, path: Path) -> Segment:
    """As it comes."""
    return archive.keep(Arrived(path, path.name, wal.begin(path.name, SIZE) + SIZE, SIZE), "shop")


def verified(vault: Vault, made: Manifest) -> None:
    """Without a damage."""
    assert verify_log(vault.repository, made, lambda _: None).damages == ()


def measured(table: Table, name: str, count: int, work: Callable[[], object]) -> None:
    """A row of what one segment took."""
    began, used = time.monotonic(), processor()
    work()
    wall, ours = (time.monotonic() - began) / count, (processor() - used) / count
    table.add_row(name, f"{wall * 1000:.1f} ms", f"{ours * 1000:.1f} ms", f"{SIZE / wall / 1e6:.0f}")


def processor() -> float:
    """Seconds so far, with those of programs that have ended."""
    return sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def finding(home: Path, many: int) -> Sequence[float]:
    """Seconds to find the newest, the last gigabyte, and all."""
    home.mkdir()
    vault = new_vault(home)
    archive = Archive(vault.repository, "7300000000000000001")
    blank = Segment("", "shop", archive.system_identifier, SIZE, "0/0", datetime.now(UTC),
                    Member("segment.zst.age", Content.WAL, SIZE, "0" * 64, 100, "0" * 64), Contents())  # fmt: skip
    for number in range(1, many + 1):
        described(vault, replace(blank, name=wal.name(1, number, SIZE), end=wal.shown((number + 1) * SIZE)))
    end = (many + 1) * SIZE
    return [
        timed(lambda: archive.newest(1)),
        timed(lambda: list(archive.segments(1, end - (1 << 30)))),
        timed(lambda: list(archive.segments(1))),
    ]


def described(vault: Vault, segment: Segment) -> None:
    """Only what it says of itself: nothing else is read to find it."""
    folder = vault.root / segment.folder
    folder.mkdir(parents=True)
    (folder / "segment.json").write_bytes(text := encode(segment))
    (folder / "segment.sig").write_bytes(vault.repository.writer().sign(f"{segment.folder}/segment.json", text))


def timed(work: Callable[[], object]) -> float:
    """The best of three."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        work()
        times.append(time.monotonic() - began)
    return min(times)


if __name__ == "__main__":
    main()
