"""The `revert_change` tool: an applied change taken back exactly, or nothing."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, ChangeHandle, Hints, Redacted, Refused, Session, Surface, World
from ostiary_tools.change import KnownChange, lasting, moved, unknown_change, untouched
from ostiary_tools.change_report import report
from ostiary_tools.propose_change import changes
from ostiary_tools.result import Content
from ostiary_tools.view import SchemaView


class RevertChangeArgs(Args):
    """Arguments of `revert_change`."""

    change: Annotated[str, ChangeHandle(), Redacted(), Field(description="The id that apply_change took.")]


class RevertChange:
    """The `revert_change` tool."""

    name = "revert_change"
    title = "Undo an applied change"
    description = "Take back what apply_change did; refused, with which, when rows were changed again since."
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
        if change.effects.defined:
            return _defined_back(self.name, args, change, view)
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


def _defined_back(tool: str, args: RevertChangeArgs, change: KnownChange, view: SchemaView) -> Intent:
    """What its reverse does, judged as if the caller had written it today. Raises Refused."""
    if why := lasting(change.effects, change.back):
        raise Refused("undo", f"this change cannot be undone: {why}", "propose a change that does the opposite")
    try:
        intent = changes(tool, args.model_dump(mode="json"), view, [(text, ()) for text in change.back.statements])
    except Refused:
        if not change.back.quotes:
            raise
        # The judge's words are about names that the caller may never have seen.
        message = "this change cannot be undone by you: what it took away does not fit the schema any more, or is more than yours"
        raise Refused("undo", message, "propose a change that does the opposite, or ask somebody who sees all of it") from None
    return replace(intent, stays=True, undoes=True, rows_changed=None)
