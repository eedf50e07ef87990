"""Where an installation's audit log, its anchor and its keys are."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AuditPlace:
    """What the audit commands need to know; made from the configuration."""

    reader_dsn: str
    admin_dsn: str
    anchor: Path
    public_key: Path
    private_key: Path
