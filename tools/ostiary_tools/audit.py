"""The audit log as agents with `read_audit` see it."""

from typing import Annotated, Literal

from pydantic import Field

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, AuditLog, Intent, Permit
from ostiary_tools.api import Args, ColumnHead, Hints, Rows, Session, Surface, Text, World

_COLUMNS = ("position", "at", "kind", "agent", "tool", "decision", "status", "rules", "rows", "duration_us", "sql", "reason")


class AuditLogArgs(Args):
    """Filters, all optional."""

    agent: Annotated[str | None, Field(max_length=200, description="Only this agent.")] = None
    tool: Annotated[str | None, Field(max_length=200, description="Only this tool.")] = None
    kind: Annotated[Literal["intent", "outcome", "denial", "event"] | None, Field(description="Only this kind of record.")] = None
    before: Annotated[str | None, Field(max_length=2_000, description="Only records before this position, for the next page.")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=200, description="Records to return.")] = 50


class AuditLogTool:
    """The `audit_log` tool."""

    name = "audit_log"
    title = "Audit log"
    description = "Records of the audit log, newest first: who called what under which rules, and how it ended."
    surface = Surface.TOOL
    hints = Hints()
    args = AuditLogArgs

    def plan(self, args: AuditLogArgs, world: World) -> Intent:  # noqa: ARG002 - the protocol's shape
        """Reading the log is an access of its own."""
        return Intent(self.name, args.model_dump(mode="json", exclude_none=True), (Access(Action.READ_AUDIT, AuditLog()),))

    async def run(self, permit: Permit, session: Session) -> Rows:
        """One row a record."""
        asked = AuditLogArgs.model_validate(permit.intent.arguments)
        found = await session.audit.records(
            agent=asked.agent, tool=asked.tool, kind=asked.kind, before=asked.before, limit=asked.limit
        )
        heads = tuple(ColumnHead(name, "text") for name in _COLUMNS)
        return Rows(heads, tuple(tuple(_cell(record.get(name)) for name in _COLUMNS) for record in found))


class AuditVerifyArgs(Args):
    """No arguments."""


class AuditVerifyTool:
    """The `audit_verify` tool."""

    name = "audit_verify"
    title = "Verify the audit log"
    description = "Verify the audit log's hash chains against the signed checkpoints and report."
    surface = Surface.TOOL
    hints = Hints()
    args = AuditVerifyArgs

    def plan(self, args: AuditVerifyArgs, world: World) -> Intent:  # noqa: ARG002 - the protocol's shape
        """Verifying reads the log."""
        return Intent(self.name, {}, (Access(Action.READ_AUDIT, AuditLog()),))

    async def run(self, permit: Permit, session: Session) -> Text:  # noqa: ARG002 - the protocol's shape
        """The verifier's report."""
        return await session.audit.verify()


def _cell(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return str(value)
