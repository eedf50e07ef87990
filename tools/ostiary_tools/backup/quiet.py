"""What the server of a copy is told, so that it does nothing by itself and its words are for us."""

from collections.abc import Mapping

_QUIET = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "ssl": "off",
    # Nothing leaves it: an archive would get another's history, a publisher's slots another's reader.
    "archive_mode": "off",
    "archive_command": "",
    "restore_command": "false",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "recovery_min_apply_delay": "0",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "synchronous_standby_names": "",
    "max_logical_replication_workers": "0",
    # Nothing runs in it that nobody asked for.
    "shared_preload_libraries": "",
    "autovacuum": "off",
    # Damage is to be seen.
    "zero_damaged_pages": "off",
    "ignore_checksum_failure": "off",
    "ignore_invalid_pages": "off",
    "restart_after_crash": "off",
    "jit": "off",
    # Small, and its words are for us.
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_messages": "warning",
    "log_connections": "off",
    "log_line_prefix": "",
    "lc_messages": "C",
    "external_pid_file": "",
}
SESSION = {
    "search_path": "pg_catalog",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "row_security": "off",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
"""Of the superuser, against what owners of databases have said for theirs: it would run what they put in the way of names."""
_SINCE = {
    15: {"archive_library": ""},
    17: {"event_triggers": "off", "sync_replication_slots": "off", "summarize_wal": "off"},
}
"""What newer versions can do besides."""


def quiet_settings(major: int) -> Mapping[str, str]:
    """Of a server of that version."""
    newer = {name: value for since, more in _SINCE.items() if major >= since for name, value in more.items()}
    return {**_QUIET, **newer}
