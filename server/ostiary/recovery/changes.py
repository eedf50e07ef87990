"""What is not as it was a month ago, told by the backups themselves, and by who let go of some."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from ostiary.recovery.report import Drilled
from ostiary.recovery.words import counted, duration, moment
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.pace import size
from ostiary_tools.backup.remembered import KeptBackup


def changes(manifests: Sequence[Manifest], drills: Sequence[Drilled], since: datetime) -> Iterator[str]:
    """Since then; where there is no backup so old, since the oldest of its kind."""
    if not manifests:
        return
    recent = [made for made in manifests if made.ended_at > since]
    held = [one for one in drills if one.ended_at > since]
    kinds = ", ".join(f"{sum(made.kind == kind for made in recent)} {kind}" for kind in dict.fromkeys(made.kind for made in recent))
    failed = sum(not one.passed for one in held)
    made = f"{counted(len(recent), 'backup')} made{f' ({kinds})' if kinds else ''}"
    yield f"{made}, {counted(len(held), 'drill')} held, {failed} of them failed"
    now = manifests[-1]
    alike = [made for made in manifests if made.kind is now.kind]
    then = next((made for made in reversed(alike) if made.ended_at <= since), alike[0])
    if then is not now:
        yield from _differences(then, now)
    timed = [one for one in drills if one.passed]
    if len(timed) > 1:
        before = next((one for one in reversed(timed) if one.ended_at <= since), timed[0])
        was, takes = duration(before.restore_s), duration(timed[-1].restore_s)
        if was != takes:
            yield f"a restore took {was} on {moment(before.ended_at)}, and takes {takes}"


def parted(let_go: Sequence[KeptBackup], since: datetime) -> Iterator[str]:
    """What people had deleted since then, by their own word on record."""
    recent = [one for one in let_go if one.gone_at is not None and one.gone_at > since]
    if recent:
        hows = ", ".join(f"{sum(one.gone == how for one in recent)} {how}" for how in dict.fromkeys(one.gone for one in recent))
        people = ", ".join(dict.fromkeys(one.person for one in recent))
        yield f"{counted(len(recent), 'backup')} let go of ({hows}) by {people}"


def _differences(then: Manifest, now: Manifest) -> Iterator[str]:
    day = moment(then.ended_at)
    if size(then.plain_bytes) != size(now.plain_bytes):
        yield f"{now.kind} backups had {size(then.plain_bytes)} on {day}, and have {size(now.plain_bytes)}"
    before, after = _held(then), _held(now)
    if before != after and before and after:
        yield f"there were {before} on {day}, and are {after}"
    if then.server_version != now.server_version:
        yield f"the server was {then.server_version} on {day}, and is {now.server_version}"
    if then.cluster is not None and now.cluster is not None and then.cluster.system_identifier != now.cluster.system_identifier:
        yield f"it is another cluster than on {day}: the log kept of that one ends with it"
    if set(then.recipients) != set(now.recipients):
        yield f"backups are encrypted to other keys than on {day}"


def _held(made: Manifest) -> str:
    held = made.fingerprint
    return f"{counted(held.rows, 'row')} of {counted(len(held.tables), 'table')}" if held is not None else ""
