"""Why the embedded server cannot be used, for the person who starts it.

EmbeddedError        message and hint
├── Unreachable      it lives, but its socket does not answer
└── InUse            other processes still use it
"""

from ostiary_tools.errors import ToolError


class EmbeddedError(ToolError):
    """The embedded PostgreSQL cannot be started, adopted or removed; nothing was changed that matters."""

    code = "embedded"


class Unreachable(EmbeddedError):
    """A server of this data directory lives and does not answer."""


class InUse(EmbeddedError):
    """Refused because other processes use the server. `holders` are their process ids, where the system tells."""

    def __init__(self, message: str, hint: str = "", *, holders: tuple[int, ...] = ()) -> None:
        super().__init__(message, hint)
        self.holders = holders
