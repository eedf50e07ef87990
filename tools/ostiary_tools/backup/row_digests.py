"""How one row becomes a number, of which a fingerprint holds the sum.

Two rows that differ as text have different numbers, but by accident once in 2^64. So a type's own hash is not used where it takes
values for one that are not the same, such as 1.0 and 1.00, 0 and -0, and of `bigint` 0 and 2^32+1. Each hash begins with the one
before: of sums of hashes values could change places between rows unseen. No code of a table's owner runs, for functions are the
system's and of exactly these types, and other values stand in a row without a type, for which nobody's casts are looked up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ostiary_tools.backup.manifest import Way
from ostiary_tools.identifiers import quoted

_INTEGER = ("{}", "0", "hashint4extended({value}, {seed})")
_STRING = ("{}", "''", 'hashtextextended({value} COLLATE "C", {seed})')
_BYTES = "hashbyteaextended({value}, {seed})"
_OLDER_BYTES = "hash_record_extended(ROW({value}), {seed})"
"""A row of one value has that value's hash."""
_HASHES_BYTES = 18
"""The first version with a hash of `bytea` that can be called."""
_DIRECT = {
    16: ("{}::int4", *_INTEGER[1:]),  # boolean
    21: _INTEGER,
    23: _INTEGER,
    20: ("{}", "0", "hashint8extended({value}, {seed} # {value})"),  # bigint, of which the hash alone keeps 32 bits of 64
    25: _STRING,
    1043: _STRING,
    # char(n), of which the hash alone leaves out blanks at the end
    1042: ("{}", "''", 'hashbpcharextended({value} COLLATE "C", {seed} # octet_length({value}))'),
}
"""By type a value, what stands for it where it is NULL, and its hash."""
_SENT = {
    17: "{}",  # bytea
    700: "float4send({})",
    701: "float8send({})",
    1082: "date_send({})",
    1083: "time_send({})",
    1114: "timestamp_send({})",
    1184: "timestamptz_send({})",
    1186: "interval_send({})",
    1700: "numeric_send({})",
    2950: "uuid_send({})",
}
"""Bytes by type; none of them is text, which would be converted for whom it is sent to."""
_AT_ONCE = 60
"""Columns in one chain: so many have a bit of their own in a number that says which are NULL."""


@dataclass(frozen=True, slots=True)
class Column:
    """Of a table, with a type by its number."""

    name: str
    type: int

    @property
    def value(self) -> str:
        """In a statement."""
        return f"t.{quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Digests:
    """Of the rows of one database, by one way."""

    way: Way
    major: int
    """Of its server."""
    utf8: bool
    """Whether it is written in the encoding of our sessions, so that what is sent is what is stored."""
    unsent: frozenset[int]
    """Types that cannot be sent."""

    def of(self, columns: Sequence[Column]) -> str:
        """An expression of type `int8`, never NULL, for a row of the table `t`."""
        if self.way is Way.TEXT:
            return _of_text(columns, "0")
        direct = [column for column in columns if column.type in _DIRECT or column.type in _SENT][:_AT_ONCE]
        others = [column for column in columns if column not in direct]
        digest = self._of_direct(direct) if direct else "0"
        return self._of_others(others, digest) if others or not direct else digest

    def _of_direct(self, columns: Sequence[Column]) -> str:
        """Where any is NULL the chain begins with a number that says which."""
        full, gaps = "0::int8", _gaps(columns)
        for column in columns:
            value, nothing, hashed = _DIRECT.get(column.type) or (_SENT[column.type], "''", self._bytes)
            value = value.format(column.value)
            full = hashed.format(value=value, seed=full)
            gaps = hashed.format(value=f"coalesce({value}, {nothing})", seed=gaps)
        return f"CASE WHEN {' OR '.join(f'{column.value} IS NULL' for column in columns)} THEN {gaps} ELSE {full} END"

    def _of_others(self, columns: Sequence[Column], seed: str) -> str:
        if not self.utf8 or any(column.type in self.unsent for column in columns):
            return _of_text(columns, seed)
        return self._bytes.format(value=f"record_send({_row(columns)})", seed=seed)

    @property
    def _bytes(self) -> str:
        return _BYTES if self.major >= _HASHES_BYTES else _OLDER_BYTES


def _of_text(columns: Sequence[Column], seed: str) -> str:
    return f'hashtextextended({_row(columns)}::text COLLATE "C", {seed})'


def _row(columns: Sequence[Column]) -> str:
    """Without a type, the columns by name in an order of their own."""
    return f"ROW({', '.join(column.value for column in columns)})"


def _gaps(columns: Sequence[Column]) -> str:
    bits = (f"CASE WHEN {column.value} IS NULL THEN {1 << place}::int8 ELSE 0 END" for place, column in enumerate(columns))
    return f"({' + '.join(bits)})"
