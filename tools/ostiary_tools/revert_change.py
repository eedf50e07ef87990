"""The `revert_change` tool: an applied change taken back exactly, or nothing."""

from typing import Annotated

from pydantic import Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, ChangeHandle, Hints, Redacted, Session, Surface, World
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
        return Intent(
            self.name,
            args.model_dump(mode="json"),
            untouched(change.effects, view),
            view.datasource,
            stays=True,
            undoes=True,
            rows_changed=change.effects.rows,
        )

    async def run(self, permit: Permit, session: Session) -> Content:  # noqa: ARG002  the session knows what it was permitted
        """Undo it."""
        return report(await session.revert())
