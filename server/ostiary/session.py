"""What a permitted run may touch: what its Permit covers, and nothing else."""

from dataclasses import dataclass

from ostiary_policies.actions import Action
from ostiary_policies.model import Permit, Statement
from ostiary_tools.api import AuditReader, World
from ostiary_tools.datasources.port import Prepared, Reader
from ostiary_tools.errors import Refused
from ostiary_tools.result import Rows


@dataclass(frozen=True, slots=True)
class PermittedSession:
    """Implements `ostiary_tools.api.Session` for one call."""

    permit: Permit
    world: World
    reader: Reader | None
    audit_reader: AuditReader
    ahead: Prepared | None = None
    """The permit's only statement, analysed while the intent was recorded."""

    @property
    def audit(self) -> AuditReader:
        """The audit log, for those the permit lets read it."""
        if not any(access.action is Action.READ_AUDIT for access in self.permit.intent.accesses):
            raise Refused("permit", "the permit of this call does not cover the audit log", "state `read_audit` in the intent")
        return self.audit_reader

    async def rows(self, statement: Statement) -> Rows:
        """Run one of the statements that were judged."""
        if self.reader is None or statement not in self.permit.intent.statements:
            raise Refused("permit", "the permit of this call does not cover that statement", "state it in the intent")
        return await (self.ahead.rows() if self.ahead is not None else self.reader.rows(statement))
