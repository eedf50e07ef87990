"""How the logs that plans say stand: what is kept until when, and what is wrong. Blocking, for threads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ostiary.config.backup import Plan
from ostiary.log_keeping import cluster_folder, kept, known_cluster
from ostiary.vault import Vault
from ostiary_tools.errors import ToolError

if TYPE_CHECKING:
    from ostiary_tools.backup.wal_archive.standing import Alarm, Standing

_THERE = 1 << 64
_NOT_BEGUN = "its log was never kept"


@dataclass(frozen=True, slots=True)
class LogStanding:
    """Of one plan."""

    plan: str
    standing: "Standing | None"
    """`None` where its log was never kept by this machine."""
    alarms: "Sequence[Alarm]"
    lag_s: float | None
    """How many seconds of commits would be lost now."""
    wants_full: bool
    """Whether a full backup is to be taken now, since what is kept leads on from none."""
    comes_in: bool = False


def log_standings(
    plans: Mapping[str, Plan], vault: Vault, now: datetime | None = None, *, looked_through: bool = True
) -> Sequence[LogStanding]:
    """Of every plan by which a log is kept; where the repository is not `looked_through`, backups are taken to be there.

    Likewise where it cannot be, which is an alarm: a full backup is no answer to that.
    """
    now, bases, unread = now or datetime.now(UTC), None, []
    if kept(plans) and looked_through:
        try:
            bases = _bases(vault)
        except (ToolError, OSError) as error:
            unread = [_unread(error)]
    found = [_of(name, plan, vault, bases, now) for name, plan in kept(plans).items()]
    return [replace(one, alarms=[*unread, *one.alarms]) for one in found]


def as_data(one: LogStanding) -> dict[str, Any]:
    """For machines; moments as ISO 8601."""
    found = {} if one.standing is None else asdict(one.standing)
    times = {name: value.isoformat() for name, value in found.items() if isinstance(value, datetime)}
    return {
        "plan": one.plan,
        "kept": one.standing is not None and one.standing.kept_until is not None,
        "lag_s": one.lag_s,
        "wants_full": one.wants_full,
        "alarms": [asdict(alarm) for alarm in one.alarms],
        **found,
        **times,
    }


def lines(one: LogStanding, now: datetime) -> Iterator[str]:
    """For people."""
    from ostiary_tools.backup.wal_archive.standing import shown

    found = one.standing
    yield f"{one.plan}: {_NOT_BEGUN if found is None else 'its log comes in' if one.comes_in else 'its log does not come in'}"
    if found is not None:
        yield from (f"  {line}" for line in shown(found, now))
    for alarm in one.alarms:
        yield f"  alarm: {alarm.message}; {alarm.hint}"


def _of(name: str, plan: Plan, vault: Vault, bases: Mapping[str, int] | None, now: datetime) -> LogStanding:
    from ostiary_tools.backup.wal_archive.standing import Alarm, alarms, read, wants_full

    system = known_cluster(vault, name)
    found = read(cluster_folder(vault, system)) if system is not None else None
    if found is None or system is None:
        return LogStanding(name, None, [Alarm("silent", _NOT_BEGUN, "start `ostiary worker`")], None, wants_full=True)
    base = _THERE if bases is None else bases.get(system)
    wrong = list(alarms(found, plan.recovery_point_s, base, now))
    comes_in = found.receiving and not found.silent(now)
    return LogStanding(name, found, wrong, found.lag_s(now), wants_full(found, base), comes_in)


def _bases(vault: Vault) -> Mapping[str, int]:
    """By cluster, where its newest backup begins that the log can be replayed on. Raises ToolError, OSError."""
    from ostiary_tools.backup import wal

    found: dict[str, int] = {}
    for one in vault.looking().repository().listed():
        cluster = one.kept.manifest.cluster if one.kept is not None else None
        if cluster is not None:
            start = wal.position(cluster.start_lsn)
            found[cluster.system_identifier] = max(start, found.get(cluster.system_identifier, 0))
    return found


def _unread(error: ToolError | OSError) -> "Alarm":
    from ostiary_tools.backup.wal_archive.standing import Alarm

    if isinstance(error, ToolError):
        return Alarm("repository", error.message, error.hint)
    why = f"the repository of backups cannot be read: {(error.strerror or 'failed').lower()}"
    return Alarm("repository", why, "see that it is there, and whose it is")
