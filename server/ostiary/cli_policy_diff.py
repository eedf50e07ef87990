"""`ostiary policy diff`: what another set of policies would change, policy by policy, case by case and role by role."""

import asyncio
import difflib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.config import Config
    from ostiary.grants import Shift
    from ostiary_policies.cases import Case
    from ostiary_policies.comparison import CaseChange, PolicyChange
    from ostiary_policies.engine import Engine, Verdict

_NAMED = 12
"""Columns or tables in a line, before they are only counted; `--json` has them all."""


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A `*.cedar` file, or a folder of them.")],
    new: Annotated[Path | None, typer.Argument(metavar="[NEW]", help="Likewise; else the policies in force.")] = None,
    *,
    datasource: Annotated[
        str | None, typer.Option("--datasource", help="Also say which tables, columns and rows of it change for each role.")
    ] = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Compare two sets of policies, each with the bundles, tags and attributes of the configuration. Nothing is run.

    Cases are those of the decision tables beside OLD and NEW. Exit codes: 0 nothing differs; 1 something does.
    """
    from ostiary_policies.comparison import case_changes, policy_changes

    loaded = configured(config)
    before, after = engine_at(old, loaded), engine_at(new, loaded)
    policies = policy_changes(before.policies, after.policies)
    cases = _cases((old, new or loaded.policy.directory), after)
    decisions = case_changes(before, after, cases)
    shifts = asyncio.run(_shifts(loaded, datasource, before, after)) if datasource else []
    if json_:
        print_json(
            {
                "policy_hash": {"before": before.policy_hash, "after": after.policy_hash},
                "policies": list(map(_policy_told, policies)),
                "cases": len(cases),
                "decisions": list(map(_decision_told, decisions)),
                "roles": list(map(asdict, shifts)),
            }
        )
    else:
        _print_policies(policies)
        _print_decisions(decisions, len(cases))
        if datasource:
            _print_shifts(shifts, datasource)
    if policies or decisions or shifts:
        raise typer.Exit(Exit.FAILED)


def engine_at(path: Path | None, config: "Config") -> "Engine":
    """The set of a file or folder beside what the configuration says besides, or the one in force. Raises PolicyError."""
    from ostiary.policy_files import read, read_path

    policy = config.policy
    words = (policy.bundles, frozenset(policy.tags), config.attribute_types)
    return read(policy.directory, *words) if path is None else read_path(path, *words)


async def _shifts(config: "Config", datasource: str, before: "Engine", after: "Engine") -> list["Shift"]:
    from ostiary.app import open_worlds
    from ostiary.grants import shifts
    from ostiary.sources import SAMPLE

    names = tuple(config.datasources) or (SAMPLE,)
    if datasource not in names:
        known = ", ".join(f"`{name}`" for name in names)
        raise CommandFailed(f"there is no datasource `{one_line(datasource)}`", f"there are {known}", Exit.USAGE)
    async with open_worlds(config) as (_, worlds):
        return await shifts(worlds, datasource, before, after)


def _cases(places: tuple[Path | None, ...], engine: "Engine") -> list["Case"]:
    """Each question once; what the tables expect may differ."""
    from ostiary_policies.cases import read_table
    from ostiary_policies.errors import TableError

    found: dict[object, Case] = {}
    for folder in dict.fromkeys(place.parent if place.is_file() else place for place in places if place is not None):
        for table in sorted((folder / "tests").glob("*.toml")):
            try:
                cases = read_table(table.read_text("utf-8"), engine.policies.tags, engine.policies.attributes)
            except TableError as error:
                raise CommandFailed(f"{table}: {error}", code=Exit.USAGE) from error
            except (OSError, UnicodeDecodeError) as error:
                raise CommandFailed(f"{table}: it cannot be read as UTF-8 text", code=Exit.USAGE) from error
            for case in cases:
                found.setdefault((case.principal, case.access), case)
    return list(found.values())


def _policy_told(change: "PolicyChange") -> dict[str, Any]:
    places = {"before": change.before, "after": change.after}
    return {
        "id": change.id,
        "change": change.change.value,
        "sentences": list(change.sentences),
        **{name: {"file": p.file, "line": p.line, "effect": p.effect, "text": p.text} for name, p in places.items() if p},
    }


def _decision_told(change: "CaseChange") -> dict[str, Any]:
    from ostiary_policies.explain import subject, wish

    return {
        "title": change.case.title,
        "question": f"{subject(change.case.principal)}: {wish(change.case.access)}",
        "before": _verdict_told(change.before),
        "after": _verdict_told(change.after),
    }


def _verdict_told(verdict: "Verdict") -> Mapping[str, Any]:
    from ostiary_policies.obligations import stated

    return {"allowed": verdict.allowed, "rules": list(verdict.rules), "terms": stated(verdict.obligations)}


def _print_policies(changes: list["PolicyChange"]) -> None:
    kinds = [change.change.value for change in changes]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("added", "removed", "changed"))
    typer.secho(f"policies: {counted}", bold=True)
    for change in changes:
        at = change.after or change.before
        place = f"{at.effect}, {at.file}:{at.line}" if at else ""
        typer.echo(
            f"  {change.change.value} `{change.id}` ({place}){': ' if change.sentences else ''}{'; '.join(change.sentences)}"
        )
        if change.before and change.after:
            lines = difflib.unified_diff(change.before.text.splitlines(), change.after.text.splitlines(), lineterm="", n=1)
            for line in list(lines)[2:]:
                if not line.startswith("@@"):
                    typer.echo(f"    {one_line(line)}")


def _print_decisions(changes: list["CaseChange"], asked: int) -> None:
    typer.secho(f"decisions: {len(changes)} of {asked} cases come out differently", bold=True)
    for change in changes:
        typer.echo(f"  {change.case.title}: {_words(change.before)}, now {_words(change.after)}")


def _words(verdict: "Verdict") -> str:
    from ostiary_policies.explain import terms

    rules = ", ".join(f"`{rule}`" for rule in verdict.rules) or "no policy"
    said = f"permitted by {rules}" if verdict.allowed else f"denied by {rules}"
    return "; ".join((said, *terms(verdict.obligations)))


def _print_shifts(shifts: list["Shift"], datasource: str) -> None:
    typer.secho(f"datasource `{datasource}`: {len(shifts)} roles gain, lose or have other row rules", bold=True)
    for shift in shifts:
        for verb, granted in (("gains", shift.gained), ("loses", shift.lost)):
            for action, ids in granted.items():
                typer.echo(f"  `{shift.role}` {verb} to {action}: {_listed(ids)}")
        if shift.other_rows:
            typer.echo(f"  `{shift.role}` has other row rules of: {_listed(shift.other_rows)}")


def _listed(ids: tuple[str, ...]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return one_line(", ".join(ids[:_NAMED])) + more
