"""The `revert_change` tool: an applied change taken back exactly, or nothing."""

from typing import Annotated

from pydantic import Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, ChangeHandle, Hints, Redacted, Refused, Session, Surface, World
from ostiary_tools.change import moved, unknown_change, untouched
from ostiary_tools.change_report import report
from ostiary_tools.result import Content


class RevertChangeArgs(Args):
    """Arguments of `revert_change`."""

    change: Annotated[str, ChangeHandle(), Redacted(), Field(description="The id that apply_change took.")]


class RevertChange:
    """The `revert_change` tool."""

    name = "revert_change"
    title = "Undo an applied change"
    description = "Put back the rows that apply_change changed; refused, with which, when they were changed again since."
    surface = Surface.TOOL
    hints = Hints(read_only=False, destructive=True, idempotent=False)
    args = RevertChangeArgs

    def plan(self, args: RevertChangeArgs, world: World) -> Intent:
        """State what taking it back does: the opposite. Raises Refused, Unavailable."""
        if (change := world.change) is None:
            raise unknown_change()
        if change.state != "applied":
            raise moved(change.state)
        view = world.view(change.datasource)
        accesses = untouched(change.effects, view)
        if any(access.resource not in view.visible for access in accesses):
            # As a refusal of policy it would name what does not exist for the caller.
            message = "this change cannot be undone by you: it took more than is yours to put back"
            raise Refused("undo", message, "propose a change that does the opposite, or ask somebody who sees all of it")
        return Intent(
            self.name,
            args.model_dump(mode="json"),
            accesses,
            view.datasource,
            stays=True,
            undoes=True,
            rows_changed=change.effects.rows,
        )

    async def run(self, permit: Permit, session: Session) -> Content:  # noqa: ARG002  the session knows what it was permitted
        """Undo it."""
        return report(await session.revert())
