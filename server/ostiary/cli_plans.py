"""`ostiary backup plans`: how the plans of backups stand, for whoever operates this installation. It only reads."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ostiary.cli_backup import called
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import Exit

if TYPE_CHECKING:
    from ostiary.local_calls import LocalCalls
    from ostiary.progress import Tell
    from ostiary.scheduling import Schedule
    from ostiary_tools.control.schedules import Scheduled

_LATE_S = 600.0
"""A worker asks every few seconds; so late nobody does."""


def plans(*, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Say of each line of each plan when it comes next, and what became of it when it came last.

    The exit code is 1 when one has failed, or is late because no worker runs.
    """
    found = list(_described(config))
    if json_:
        print_json(found)
    for one in () if json_ else found:
        last = f"{one['last']} {one['state']}" if one["state"] else "not asked for yet"
        said = f": {one_line(str(one['said']))}" if one["said"] else ""
        late = f", {one['late_s']} s late: does `ostiary worker` run?" if one["is_late"] else ""
        typer.echo(f"{one['plan']}  {one['what']}  {one['cron']}  next {one['next']}  {last}{said}{late}")
    if not found:
        say("no plan asks for anything; `[plans.<name>]` in the configuration does")
    raise typer.Exit(Exit.FAILED if any(one["state"] == "failed" or one["is_late"] for one in found) else Exit.OK)


def _described(config: Path | None) -> Iterator[dict[str, object]]:
    from ostiary.scheduling import schedules

    async def act(calls: "LocalCalls", _: "Tell") -> "tuple[datetime, dict[tuple[str, str], Scheduled]]":
        from ostiary_tools.control.schedules import ScheduleTable

        queue = calls.house.queue.table
        table = ScheduleTable(queue.link, queue.key)
        return await table.now(), {(row.plan, row.what): row for row in await table.all()}

    planned = schedules(configured(config))
    if planned:
        now, rows = called(config, None, act)
        yield from (_line(one, rows.get(one.key), now) for one in planned)


def _line(one: "Schedule", row: "Scheduled | None", now: datetime) -> dict[str, object]:
    from ostiary_tools import cron

    late_s = round(row.late_s(now)) if row is not None and row.state != "waits" else 0
    return {
        "plan": one.plan,
        "what": one.what,
        "cron": one.cron,
        "next": _told(cron.following(one.cron, now)),
        "last": _told(row.due) if row is not None and row.state else None,
        "state": row.state if row is not None else "",
        "said": row.said if row is not None else "",
        "late_s": late_s,
        "is_late": row is None or late_s > _LATE_S,
    }


def _told(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"
