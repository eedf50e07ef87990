"""Which tables of a database are dumped beside the others, in groups of about equal size."""

from collections.abc import Sequence

from ostiary_tools.backup.fingerprints import Table

LARGE = 64 << 20
"""Bytes from which on a table is dumped by itself."""
_MOST = 2000
"""Tables that are named in arguments; a command's are limited. The others are dumped with the rest."""


def grouped(tables: Sequence[Table], groups: int, *, utf8: bool) -> Sequence[Sequence[Table]]:
    """The large tables in so many groups at most, of about equal size. `utf8` says what the database's names are in."""
    # What an extension brought is dumped by that extension's rules.
    large = [table for table in tables if table.bytes >= LARGE and not table.member and (utf8 or table.quoted.isascii())]
    found: list[list[Table]] = [[] for _ in range(groups)]
    for table in sorted(large, key=lambda table: -table.bytes)[:_MOST]:
        min(found, key=lambda group: sum(one.bytes for one in group)).append(table)
    return [group for group in found if group]
