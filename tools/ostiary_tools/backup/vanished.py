"""What is remembered to have been kept and is not there: nobody who deletes here leaves that behind. Blocking, for threads."""

from collections.abc import Iterator, Sequence

from ostiary_tools.backup import evidence, wal
from ostiary_tools.backup.remembered import KeptBackup, KeptLog, Vanished
from ostiary_tools.backup.repository import BACKUPS, Repository
from ostiary_tools.backup.together import each
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.errors import Damaged
from ostiary_tools.identifiers import one_line

_LOOK = "look who writes to the repository, and put it back from a copy; `ostiary backup missing` says how to let go of it"
_FULL = "take a full backup now: no copy of an earlier one comes to what was kept"


def vanished(repository: Repository) -> Sequence[Vanished]:
    """All of it; nothing where nothing is remembered."""
    remembered = repository.remembered
    if remembered is None:
        return ()
    names = set(repository.storage.names(BACKUPS))
    found = [_gone(one) for one in remembered.kept if one.id not in names]
    found += [_back(one) for one in remembered.backups if one.gone and one.id in names]
    there = [one for one in remembered.kept if one.id in names]
    drilled = each(lambda one: evidence.is_there(repository, one), there, at_once=repository.storage.at_once)
    found += [_unproven(one) for one, is_there in zip(there, drilled, strict=True) if not is_there]
    looked = each(lambda one: evidence.is_there(repository, one, evidence.LOGS), there, at_once=repository.storage.at_once)
    found += [_unlooked(one) for one, is_there in zip(there, looked, strict=True) if not is_there]
    return [*found, *(lost for one in remembered.logs for lost in log_lost(repository, one))]


def log_lost(repository: Repository, known: KeptLog) -> Iterator[Vanished]:
    """What of one timeline's log is there no more at either end; what is missing between is a gap that the log itself tells."""
    archive, system = Archive(repository, known.system_identifier), known.system_identifier
    what = f"the log of `{one_line(known.datasource)}` (cluster {system}, timeline {known.timeline})"
    if known.history and known.timeline not in archive.histories():
        yield Vanished(system, "log", f"{what} was kept with how that came about, which is gone", _LOOK)
    if known.start >= known.end:
        return
    try:
        oldest, newest = archive.oldest(known.timeline), archive.newest(known.timeline)
    except Damaged as damage:
        yield Vanished(system, "log", f"{what} cannot be relied on: {damage.message}", _FULL)
        return
    reaches = f"was kept to {wal.shown(known.end)} on {known.at:%Y-%m-%d %H:%M:%S}Z"
    if oldest is None or newest is None:
        yield Vanished(system, "log", f"{what} {reaches}, and all of it is gone", _LOOK)
        return
    if newest.end_position < known.end:
        yield Vanished(system, "log", f"{what} {reaches}, and is there only to {newest.end}", _LOOK)
    if oldest.start_position > known.start:
        words = f"{what} was kept from {wal.shown(known.start)} on, and is there only from {wal.shown(oldest.start_position)} on"
        yield Vanished(system, "log", words, _LOOK)


def _gone(one: KeptBackup) -> Vanished:
    words = f"the {one.kind} backup `{one.id}` of `{one_line(one.datasource)}` is gone, and nobody here let go of it"
    return Vanished(one.id, "backup", words, _LOOK)


def _back(one: KeptBackup) -> Vanished:
    of = one_line(one.datasource)
    words = f"the backup `{one.id}` of `{of}` was {one.gone} on {one.gone_at:%Y-%m-%d}, and lies there all the same"
    hint = "its deletion was cut off, or somebody put it there: delete it with `ostiary backup delete`"
    return Vanished(one.id, "backup", words, hint)


def _unproven(one: KeptBackup) -> Vanished:
    words = f"what the drill of {one.drilled_at:%Y-%m-%d %H:%M:%S}Z found of the backup `{one.id}` is gone"
    return Vanished(one.id, "drill", words, "look who writes to the repository, and hold a drill of it again")


def _unlooked(one: KeptBackup) -> Vanished:
    words = f"what the look of {one.looked_at:%Y-%m-%d %H:%M:%S}Z found of the log after the backup `{one.id}` is gone"
    hint = f"look who writes to the repository, and look again by `ostiary backup verify {one.id} --level wal`"
    return Vanished(one.id, "drill", words, hint)
