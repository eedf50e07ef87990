"""What an owner's definition (a view, a policy, a default, a check) may run of the built-ins.

An agent's own words are held to the inventory. In a definition, reading the catalog, a
setting or a size was the owner's choice and passes; what changes, locks, waits, reads
files or runs SQL given as text does not, whoever wrote it.
"""

from ostiary_tools.sql.inventory import FUNCTIONS, REFUSED_FUNCTIONS

_READING = frozenset({"names of the catalog"})
_READING_UNLESS_VOLATILE = frozenset({"other sessions and statistics", "server administration", "session settings", "transactions"})
_VOLATILE_READERS = frozenset(
    {
        "pg_current_wal_flush_lsn",
        "pg_current_wal_insert_lsn",
        "pg_current_wal_lsn",
        "pg_database_size",
        "pg_is_in_recovery",
        "pg_last_wal_receive_lsn",
        "pg_last_wal_replay_lsn",
        "pg_last_xact_replay_timestamp",
        "pg_tablespace_size",
    }
)
_ASSIGNS_A_TRANSACTION = frozenset({"pg_current_xact_id", "txid_current"})
"""PostgreSQL calls them stable."""
_COUNTING = frozenset({"nextval", "currval", "lastval"})


def objection(name: str, *, volatile: bool, writes: bool = False) -> str:
    """What the built-in function reaches that a definition may not, or an empty text. What runs when a row is written may count."""
    if writes and name in _COUNTING | _ASSIGNS_A_TRANSACTION:
        return ""
    if name in FUNCTIONS or name in _VOLATILE_READERS:
        return ""
    reason = REFUSED_FUNCTIONS.get(name, "what nobody has reviewed")
    if name in _ASSIGNS_A_TRANSACTION:
        return reason
    return "" if reason in _READING or (reason in _READING_UNLESS_VOLATILE and not volatile) else reason
