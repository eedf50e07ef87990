"""`ostiary policy simulate`: recorded calls put to other policies: who gains, who loses, which calls change, by which rules."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.cli_policy_diff import engine_at
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.config import Config
    from ostiary.replay import Answer, Replayed
    from ostiary_policies.engine import Engine

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_SHOWN = 30
"""Different changes of one kind that are printed; `--json` has them all."""
_SQL_CHARS = 300
_HEADLINES = {
    "loses": "would no longer be permitted",
    "gains": "would be permitted",
    "terms": "would be permitted on other terms",
    "masks": "would be permitted with other masks",
    "rows": "would be permitted with other row rules, and may get other rows",
    "otherwise": "would be refused in another way",
}
_WRITTEN_OUT = (
    "a `*` is recorded as its columns: where one of them would be hidden, such a call shows as refused, and would get fewer columns"
)


@dataclass(frozen=True, slots=True)
class _Simulation:
    replayed: "list[Replayed]"
    missed: Mapping[str, int]
    """Why calls could not be replayed, and how many."""

    @property
    def changed(self) -> "list[Replayed]":
        return [one for one in self.replayed if one.change]


def simulate(
    new: Annotated[Path, typer.Argument(metavar="NEW", help="A `*.cedar` file, or a folder of them.")],
    *,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Only calls since then: `7d`, `12h`, `30m`, or a date and time (UTC unless it says)."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The newest so many calls.")] = 1000,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Put recorded calls to NEW and to the policies in force, both on today's schema. Nothing is run or recorded.

    What cannot be judged from its record is counted, with the reason. Exit codes: 0 nothing changes; 1 some call does.
    """
    loaded = configured(config)
    start = _moment(since) if since else None
    before, after = engine_at(None, loaded), engine_at(new, loaded)
    found = asyncio.run(_simulated(loaded, before, after, start, limit))
    if json_:
        print_json(_told(found, before, after))
    else:
        _print(found)
    if found.changed:
        raise typer.Exit(Exit.FAILED)


async def _simulated(config: "Config", before: "Engine", after: "Engine", since: datetime | None, limit: int) -> _Simulation:
    from ostiary.app import open_audit, open_holdings, open_worlds
    from ostiary.audit.reader import calls
    from ostiary.identity.principals import given
    from ostiary.replay import NotReplayed, Stage, replay

    async with open_audit(config, say) as place:
        records = await calls(place, since, limit)
    replayed, missed = [], Counter[str]()
    async with open_worlds(config) as (registry, worlds), open_holdings(config) as holdings:
        attributes = {agent: given(agent, config.attributes) for agent in {record.get("agent", "") for record in records}}
        stage = Stage(before, after, registry, worlds, attributes, holdings)
        for record in records:
            try:
                replayed.append(await replay(record, stage))
            except NotReplayed as reason:
                missed[str(reason)] += 1
    return _Simulation(replayed, missed)


def _moment(written: str) -> datetime:
    if ago := re.fullmatch(r"([0-9]{1,5})([mhd])", written):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        hint = "write `7d`, `12h`, `30m`, or a date as in `2026-01-31` with or without a time"
        raise CommandFailed(f"`{one_line(written)}` is no time", hint, Exit.USAGE) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _told(found: _Simulation, before: "Engine", after: "Engine") -> Mapping[str, Any]:
    return {
        "policy_hash": {"before": before.policy_hash, "after": after.policy_hash},
        "calls": len(found.replayed) + sum(found.missed.values()),
        "replayed": len(found.replayed),
        "not_replayed": dict(found.missed),
        "changes": [
            {
                "change": one.change,
                **{name: one.record.get(name) for name in ("at", "call_id", "agent", "roles", "tool", "arguments", "sql")},
                "recorded": {"decision": one.record.get("decision"), "policy": one.record.get("policy")},
                "before": _answer_told(one.before),
                "after": _answer_told(one.after),
            }
            for one in found.changed
        ],
    }


def _answer_told(answer: "Answer") -> Mapping[str, Any]:
    return {"outcome": answer.outcome.value, "rules": list(answer.rules), "words": list(answer.words)}


def _print(found: _Simulation) -> None:
    missed = sum(found.missed.values())
    typer.echo(f"{len(found.replayed) + missed} recorded calls: {len(found.replayed)} replayed, {missed} not")
    for reason, count in sorted(found.missed.items(), key=lambda each: -each[1]):
        typer.echo(f"  {count} not replayed: {one_line(reason)}")
    typer.secho(f"{len(found.changed)} calls would change", fg="yellow" if found.changed else "green")
    for kind, headline in _HEADLINES.items():
        _print_kind(headline, [one for one in found.changed if one.change == kind])
    if any(one.after.outcome.value == "refused" for one in found.changed):
        typer.echo(_WRITTEN_OUT)


def _print_kind(headline: str, changes: "list[Replayed]") -> None:
    if not changes:
        return
    callers = Counter(_caller(one.record) for one in changes)
    typer.secho(f"{headline}: {', '.join(f'{who} {count}' for who, count in callers.most_common())}", bold=True)
    alike = Counter((_caller(one.record), _call(one.record), _words(one)) for one in changes)
    for (who, call, words), count in alike.most_common(_SHOWN):
        typer.echo(f"  {count} of {who} {call}")
        typer.echo(f"      {words}")
    if len(alike) > _SHOWN:
        typer.echo(f"  and {len(alike) - _SHOWN} more; see --json")


def _caller(record: Mapping[str, Any]) -> str:
    roles = ", ".join(record.get("roles", ())) or "no role"
    return one_line(f"`{record.get('agent', '')}` ({roles})")


def _call(record: Mapping[str, Any]) -> str:
    what = record.get("sql") or json.dumps(record.get("arguments", {}), ensure_ascii=False)
    return one_line(f"{record['tool']}: {what[:_SQL_CHARS]}{' …' if len(what) > _SQL_CHARS else ''}")


def _words(one: "Replayed") -> str:
    return one_line(f"{_answer(one.before)}; now {_answer(one.after)}")


def _answer(answer: "Answer") -> str:
    rules = ", ".join(f"`{rule}`" for rule in answer.rules)
    said = f" ({'; '.join(answer.words)})" if answer.words else ""
    match answer.outcome.value:
        case "permit":
            return f"permitted by {rules}{said}"
        case "deny":
            return f"denied{said}"
        case "refused":
            return f"refused before the decision{said}"
        case "callable":
            return "the tool is permitted, and no more is recorded of the call"
        case _:
            return f"the tool does not exist for it{f': forbidden by {rules}' if rules else ''}"
