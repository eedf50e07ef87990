"""What a store is opened with, as configured."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PgvectorSettings:
    """A PostgreSQL database with the extension vector."""

    name: str
    dsn: str
    pool_max: int = 8
    """Connections at most; one more while an index is built."""
    acquire_timeout_s: float = 5.0
    """Longest wait for one of them."""
    timeout_s: float = 30.0
    """Of one statement; building an index takes as long as it takes."""
    build_memory_mb: int = 512
    """What building an index may use where it needs more than the server gives by itself."""


@dataclass(frozen=True, slots=True)
class ChromaSettings:
    """A folder of Chroma, or a server of it: either a `path` or a `url`."""

    name: str
    path: Path | None = None
    url: str | None = None
    key: str | None = None
    """What the server is told in `Authorization`; none where it asks for none."""
    timeout_s: float = 30.0


StoreSettings = PgvectorSettings | ChromaSettings
