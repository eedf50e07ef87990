"""`ostiary taint list | clear`: what agents' calls have left on them, and the human act that ends it."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ostiary.cli_administered import administered
from ostiary.cli_options import ConfigOption, JsonOption, configured, one_line, print_json, say
from ostiary.exits import CommandFailed

if TYPE_CHECKING:
    from ostiary.audit.recorder import Recorder
    from ostiary.config import Config
    from ostiary_tools.control.taints import HeldTaint, TaintTable

T = TypeVar("T")

app = typer.Typer(help="List what agents are tainted with by what they have read, and take it away.", no_args_is_help=True)


@app.command("list", epilog="Example: ostiary taint list --json")
def list_(*, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Show every agent's taints: since when, the call that left it, and when it was left last."""

    async def act(table: "TaintTable", _: "Recorder") -> "list[HeldTaint]":
        return list(await table.all())

    found = _with_taints(configured(config), act)
    if json_:
        print_json([{name: str(value) for name, value in asdict(one).items()} for one in found])
        return
    for one in found:
        when = f"since {one.since:%Y-%m-%d %H:%M} by call {one.by_call}, last {one.again_at:%Y-%m-%d %H:%M}"
        typer.echo(one_line(f"{one.agent}  {one.taint}  {when}"))
    if not found:
        say("no agent is tainted")


@app.command(epilog="Example: ostiary taint clear nightly-report")
def clear(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="As `ostiary taint list` shows it.")],
    *,
    taint: Annotated[list[str] | None, typer.Option("--taint", help="Only this one; may be repeated.")] = None,
    config: ConfigOption = None,
) -> None:
    """Take an agent's taints away, when nothing is left of what it has read: its sessions have ended."""

    async def act(table: "TaintTable", recorder: "Recorder") -> list[str]:
        held = sorted(one.taint for one in await table.all() if one.agent == agent and (not taint or one.taint in taint))
        if held:
            # On record before it is so: a log that does not answer must not hide that somebody did it.
            await recorder.note("taint_cleared", {"agent": agent, "taints": held})
            await table.take(agent, held)
        return held

    if not (cleared := _with_taints(configured(config), act)):
        raise CommandFailed(f"agent `{one_line(agent)}` has no such taint", "see `ostiary taint list`")
    say(f"`{one_line(agent)}` is no longer tainted with {', '.join(cleared)}")


def _with_taints(config: "Config", act: "Callable[[TaintTable, Recorder], Awaitable[T]]") -> T:
    from ostiary_tools.control.taints import TaintTable

    return administered(config, TaintTable, "taints", act)
