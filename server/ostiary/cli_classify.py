"""`ostiary classify`: what the columns of a datasource seem to hold, as a proposal of tags. It prints counts and no value."""

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.config import Config
    from ostiary_tools.classification.proposal import Proposal
    from ostiary_tools.datasources.postgres import PostgresSettings

_TOLD_S = 2.0
"""How often it says how far it is."""
_SHOWN = 10
"""Tables and columns that are told to have been looked at by name and type alone."""


def classify(
    datasource: Annotated[str | None, typer.Argument(metavar="[DATASOURCE]", help="The one to look at; else all.")] = None,
    *,
    sample: Annotated[int, typer.Option("--sample", min=1, max=10_000, help="Rows of each table that are looked at.")] = 1000,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the proposal there, and not to stdout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Propose tags for columns that seem to hold personal data or secrets.

    It looks at names, types and some values of every table, and writes the tags with the counts that speak for them, as the
    configuration reads them. It decides nothing: what you copy into the configuration is in force, and nothing else.
    """
    from ostiary_tools.classification.proposal import written

    if out is not None and out.exists() and not force:
        raise CommandFailed(f"`{out}` is there already", "name another file, or overwrite it with `--force`", Exit.USAGE)
    loaded = configured(config)
    proposals, reached = asyncio.run(_proposed(loaded, datasource, sample))
    if out is not None and proposals:
        _write(out, written(proposals), force=force)
    if json_:
        print_json([_as_data(one) for one in proposals])
    elif out is None and proposals:
        # `color`: otherwise what looks like a colour is cut out of names.
        typer.echo(written(proposals), nl=False, color=True)
    for one in proposals:
        _sum_up(one)
    if not reached:
        raise typer.Exit(Exit.UNAVAILABLE)


async def _proposed(config: "Config", only: str | None, rows: int) -> "tuple[list[Proposal], bool]":
    """The proposals, and whether every datasource was reached."""
    from ostiary.app import open_sources
    from ostiary_tools.errors import Unavailable

    found: list[Proposal] = []
    reached = True
    async with open_sources(config, say) as sources:
        known = [source.name for source in sources]
        if only is not None and only not in known:
            names = ", ".join(f"`{name}`" for name in known)
            raise CommandFailed(f"there is no datasource `{only}`", f"choose among {names}", Exit.USAGE)
        for settings in sources:
            if only in (None, settings.name):
                try:
                    found.append(await _looked_at(settings, rows, config.limits.timeout_s))
                except Unavailable as failure:
                    reached = False
                    say(f"error: {failure.message}")
                    say(f"hint: {failure.hint}")
    return found, reached


async def _looked_at(settings: "PostgresSettings", rows: int, timeout_s: float) -> "Proposal":
    from ostiary_tools.classification.proposal import Proposal, Proposed, Unread, judged, unread
    from ostiary_tools.classification.sampling import samples
    from ostiary_tools.datasources.postgres import open_postgres

    source = await open_postgres(settings)
    columns: list[Proposed] = []
    left: list[Unread] = []
    try:
        snapshot = await source.snapshot()
        total, looked, told_at = len(snapshot.relations), 0, time.monotonic()
        async for sample in samples(source, snapshot, rows=rows, timeout_s=timeout_s):
            columns += await asyncio.to_thread(judged, sample)
            left += unread(sample)
            looked += 1
            if time.monotonic() - told_at >= _TOLD_S:
                told_at = time.monotonic()
                say(f"{settings.name}: looked at {looked:,} of {total:,} tables")
    finally:
        await source.close()
    return Proposal(settings.name, tuple(columns), tuple(left), total)


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as failure:
        raise CommandFailed(f"cannot write `{path}`: {(failure.strerror or 'failed').lower()}", code=Exit.USAGE) from None
    say(f"wrote {path}; nothing of it is in force")


def _sum_up(proposal: "Proposal") -> None:
    new = sum(column.is_new for column in proposal.columns)
    say(
        f"{proposal.datasource}: {proposal.relations:,} tables looked at, {new:,} columns to tag, "
        f"{len(proposal.columns) - new:,} tagged so already"
    )
    for one in proposal.unread[:_SHOWN]:
        say(one_line(f"  {one.path}: by name and type alone, for {one.why}"))
    if len(proposal.unread) > _SHOWN:
        say(f"  and {len(proposal.unread) - _SHOWN:,} more, which the proposal names")


def _as_data(proposal: "Proposal") -> dict[str, Any]:
    return {
        "datasource": proposal.datasource,
        "tables": proposal.relations,
        "columns": [
            {
                "schema": column.schema,
                "table": column.table,
                "column": column.column,
                "tags": list(column.tags),
                "in_force": not column.is_new,
                "evidence": [
                    {
                        "kind": one.kind,
                        "scheme": one.scheme,
                        "name": one.named,
                        "values": one.matched,
                        "sampled": one.sampled,
                        "within": one.within,
                    }
                    for one in column.evidence
                ],
            }
            for column in proposal.columns
        ],
        "unread": [asdict(one) for one in proposal.unread],
    }
