"""The closed vocabulary: every action a policy can name, and what it is done to.

An action that is not here cannot be written in a policy (the Cedar schema is
made from the same words, a test holds both together), and nothing Ostiary does
to a database happens without naming one of them.
"""

from enum import StrEnum


class Action(StrEnum):
    """What an agent may do. The value is the action's id in Cedar."""

    CALL = "call"
    """Call a tool, or use a prompt, by its name (on `Tool`)."""

    SEE = "see"
    """Know that the thing exists: its name, type and comment (on `Datasource`, `Schema`, `Table`, `Column`, `Function`)."""

    READ = "read"
    """Have values in a result, a predicate or a sort (on `Table` and `Column`; both are needed)."""

    READ_MASKED = "read_masked"
    """Have a mask in the place of a value, everywhere a statement could use the value (on `Column`)."""

    INSERT = "insert"
    """Add rows (on `Table`), with values of one's own in a column (on `Column`; both are needed)."""

    UPDATE = "update"
    """Change rows (on `Table`) in a column (on `Column`; both are needed)."""

    DELETE = "delete"
    """Take rows away (on `Table`)."""

    DEFINE = "define"
    """Make things in a schema (on `Schema`), change or drop one (on `Table`)."""

    EXECUTE = "execute"
    """Call a function that the database's owner or an extension defined (on `Function`)."""

    SEARCH = "search"
    """Find texts by their meaning or their words (on `Collection`); of rows, only those that may be read besides."""

    INDEX = "index"
    """Put documents into it and take them out (on `Collection`)."""

    MANAGE = "manage"
    """Create it, rebuild it, measure it, report on it (on `Collection`)."""

    DROP = "drop"
    """Take it away with all that is in it (on `Collection`)."""

    BACK_UP = "back_up"
    """Take a backup (on `Backup`): all that is in its datasource, whatever else policy says of that."""

    VERIFY = "verify"
    """Read every byte of a backup and say whether it is what was kept (on `Backup`)."""

    RESTORE = "restore"
    """Make something new out of a backup (on `Backup`)."""

    READ_AUDIT = "read_audit"
    """Read and verify the audit log (on `AuditLog`)."""


CHANGING = frozenset((Action.INSERT, Action.UPDATE, Action.DELETE, Action.DEFINE))
"""What a call that changes something does besides what it reads."""
