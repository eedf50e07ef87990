"""How a command ends: its exit code, and what it says on stderr when it failed."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    """Refused, or a check that did not hold."""
    USAGE = 2
    """The command line or the configuration is wrong; nothing was started."""
    UNAVAILABLE = 3
    """A database or another program that is needed cannot be reached."""
    FAULT = 70
    """A fault of Ostiary itself."""


class CommandFailed(Exception):
    """Ends a command with `error: …`, `hint: …` and its exit code."""

    def __init__(self, message: str, hint: str = "", code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
