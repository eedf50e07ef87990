"""Facts for reports, by hours before one fixed moment: backups, drills, and pieces of the log."""

from datetime import UTC, datetime, timedelta
from typing import Any

from ostiary.recovery.facts import Facts, Held, Wanted
from ostiary_tools.backup import wal
from ostiary_tools.backup.evidence import Check, Evidence
from ostiary_tools.backup.manifest import ClusterFacts, Content, Fingerprint, Kind, Manifest, Member, TablePrint
from ostiary_tools.backup.wal_archive.segment import Contents, Segment

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
SYSTEM = "7300000000000000001"
SIZE = 1 << 24
"""Of a segment."""
_SHA = "0" * 64


def ago(hours: float) -> datetime:
    """So long before the report."""
    return NOW - timedelta(hours=hours)


def backup(hours: float, kind: Kind = Kind.LOGICAL, *, of: str = "shop", segment: int = 0, **more: Any) -> Manifest:
    """One that was begun so long ago and took six minutes; of a cluster it ends within that segment."""
    ended = ago(hours - 0.1)
    place = wal.shown(segment * SIZE + 100)
    cluster = None if kind in (Kind.LOGICAL, Kind.SQLITE) else ClusterFacts(SYSTEM, 1, place, place, None)
    said: dict[str, Any] = {
        "id": f"{ended:%Y%m%dT%H%M%SZ}-{len(of):08x}",
        "kind": kind,
        "datasource": of,
        "job": "job",
        "started_at": ago(hours),
        "ended_at": ended,
        "server_version": "18.6",
        "members": (Member("database.dump.zst.age", Content.DATABASE, 3_000_000, _SHA, 1_000_000, _SHA),),
        "fingerprint": Fingerprint("shop", (TablePrint("public", "orders", 5000, "1"),)),
        "cluster": cluster,
        "recipients": ("age1a", "age1b"),
    }
    return Manifest(**{**said, **more})


def drill(of: Manifest, hours: float, damage: str = "", restore_s: float = 40.0) -> Evidence:
    """One that ended so long ago."""
    checks = (
        Check("bytes", "2 members are what was kept, byte by byte", 1.0),
        Check(
            "restore",
            f"{damage} is not as it was" if damage else "5,000 rows of 1 tables are as they were backed up",
            restore_s,
            damage,
        ),
        *(() if damage else (Check("start", "it started", 2.0), Check("relations", "sound", 60.0))),
    )
    return Evidence(of.id, _SHA, ago(hours + 0.05), ago(hours), "test", checks)


def held(*drills: Evidence) -> Held:
    """Of which the last one counts."""
    return Held(drills, drills[-1] if drills else None)


def piece(number: int, hours: float, *, size: int = SIZE, timeline: int = 1, contents: bool = True) -> Segment:
    """A segment that came so long ago, and whose commits are of the minutes before that."""
    begin = number * SIZE
    inside = Contents(ago(hours + 0.1), ago(hours + 0.01)) if contents else None
    member = Member("segment.zst.age", Content.WAL, size, _SHA, size // 10, _SHA)
    return Segment(wal.name(timeline, number, SIZE), "shop", SYSTEM, SIZE, wal.shown(begin + size), ago(hours), member, inside)


def facts(*manifests: Manifest, **more: Any) -> Facts:
    """With a plan for the shop, that wants five minutes and an hour."""
    said: dict[str, Any] = {
        "now": NOW,
        "repository": "/srv/backups",
        "names": {"shop": "", "control": ""},
        "plans": {"shop": Wanted(300, 3600)},
        "manifests": tuple(sorted(manifests, key=lambda made: made.ended_at)),
        "proven_at": ago(24),
    }
    return Facts(**{**said, **more})


def eventful() -> Facts:
    """A month with everything that there can be, under hostile names."""
    nightly = [backup(24 * day + 10, segment=(30 - day) * 20) for day in range(28, 0, -1)]
    weekly = [backup(24 * day + 9, Kind.FULL, segment=(30 - day) * 20) for day in (27, 20, 13, 6)]
    files = [backup(24 * day, Kind.SQLITE, of="<script>alert(1)</script>") for day in (9, 2)]
    drills = {made.id: held(drill(made, 24 * (28 - at) + 5)) for at, made in enumerate(nightly) if at % 3 == 0}
    drills[weekly[3].id] = held(drill(weekly[3], 24 * 5))
    drills[weekly[2].id] = held(drill(weekly[2], 24 * 12, 'table "public"."x</title><img src=x onerror=alert(1)>"'))
    drills[files[1].id] = held(drill(files[1], 20))
    log = [piece(number, 24 * (30 - number / 20)) for number in range(60, 600) if not 400 <= number < 430]
    log.append(piece(600, 0.02, size=4096))
    return facts(
        *nightly, *weekly, *files,
        held=drills,
        segments={SYSTEM: tuple(log)},
        names={"shop": "", "crm": "it has no login for backups (`backup_dsn`)", "control": "", "<script>alert(1)</script>": ""},
        plans={
            "shop": Wanted(300, 3600, keeps_log=True, schedules={"logical": "0 1 * * *"}),
            "<script>alert(1)</script>": Wanted(60, 10),
        },
        damaged={"20260301T020304Z-0123abcd": "its signature is not the repository's"},
    )  # fmt: skip
