"""The `apply_change` tool: exactly what was proposed, once, or nothing."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, ChangeHandle, Hints, Redacted, Session, Surface, World
from ostiary_tools.change import Wish, moved, touched, unknown_change
from ostiary_tools.change_report import report
from ostiary_tools.effects import Isolation
from ostiary_tools.propose_change import changes
from ostiary_tools.result import Content


class ApplyChangeArgs(Args):
    """Arguments of `apply_change`."""

    change: Annotated[str, ChangeHandle(), Redacted(), Field(description="The id that propose_change gave.")]
    isolation: Annotated[
        Literal["read committed", "repeatable read", "serializable"], Field(description="Isolation level of the transaction.")
    ] = "read committed"
    lock_rows: Annotated[bool, Field(description="Lock the rows first; else rows that others changed meanwhile refuse it.")] = False


class ApplyChange:
    """The `apply_change` tool."""

    name = "apply_change"
    title = "Apply a proposed change"
    description = "Do exactly what propose_change showed, once; refused when it would do anything else by now."
    surface = Surface.TOOL
    hints = Hints(read_only=False, destructive=True, idempotent=False)
    args = ApplyChangeArgs

    def plan(self, args: ApplyChangeArgs, world: World) -> Intent:
        """Judge its statements anew; what it was seen to do besides is part of it. Raises Refused, Unavailable."""
        if (change := world.change) is None:
            raise unknown_change()
        if change.state != "proposed":
            raise moved(change.state)
        view = world.view(change.datasource)
        given = [(one.text, one.parameters) for one in change.statements]
        intent = changes(self.name, args.model_dump(mode="json"), view, given)
        accesses = tuple(dict.fromkeys((*intent.accesses, *touched(change.effects, view))))
        return replace(intent, accesses=accesses, stays=True, rows_changed=change.effects.rows_known)

    async def run(self, permit: Permit, session: Session) -> Content:
        """Apply it."""
        arguments = permit.intent.arguments
        return report(await session.apply(Wish(Isolation(arguments["isolation"]), lock_rows=arguments["lock_rows"])))
