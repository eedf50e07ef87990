"""The server's own bounds on a call, as the gate holds them."""

from dataclasses import dataclass
from pathlib import Path

from ostiary.export.exporter import Bounds


@dataclass(frozen=True, slots=True)
class Terms:
    """The server's own bounds; a policy may only be stricter."""

    max_rows: int
    timeout_s: float
    reply_chars: int
    exports: Path
    """The folder of exported files."""
    file: Bounds
    """Of one exported file."""
    file_timeout_s: float
    calls: int
    """At once."""
    calls_per_agent: int
