"""The `job` tool: how a call that goes on in the background stands, and its end."""

from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, Hints, Job, Refused, Session, Surface, World


class JobArgs(Args):
    """Arguments of `job`."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description="As the call gave it.")]
    action: Annotated[Literal["status", "cancel"], Field(description="`cancel` asks it to end.")] = "status"


class JobTool:
    """The `job` tool."""

    name = "job"
    title = "A call in the background"
    description = "How a call that you began with `job` stands, its answer once it has ended, or its cancellation."
    surface = Surface.TOOL
    hints = Hints(read_only=False)
    args = JobArgs

    def plan(self, args: JobArgs, world: World) -> Intent:  # noqa: ARG002 - the protocol's shape
        """Nothing of a database."""
        return Intent(self.name, args.model_dump(mode="json"))

    async def run(self, permit: Permit, session: Session) -> Job:
        """Look, or ask it to end. Raises Refused for what is not the caller's, Unavailable."""
        arguments = permit.intent.arguments
        found = await session.job(arguments["id"], cancel=arguments["action"] == "cancel")
        if found is None:
            raise Refused("job", "unknown job, or one that ended long ago", "call the tool again")
        return found
