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

_INTEGER = "hashint4extended(coalesce({value}, 0), {seed})"
_STRING = """hashtextextended(coalesce({value}, '') COLLATE "C", {seed})"""
_DIRECT = {
    16: _INTEGER.replace("{value}", "{value}::int4"),  # boolean
    21: _INTEGER,
    23: _INTEGER,
    20: "hashint8extended(coalesce({value}, 0), {seed} # coalesce({value}, 0))",  # alone it keeps 32 bits of 64
    25: _STRING,
    1043: _STRING,  # varchar
    # char(n), of which the hash alone leaves out blanks at the end
    1042: """hashbpcharextended(coalesce({value}, '') COLLATE "C", {seed} # octet_length(coalesce({value}, '')))""",
}
"""By type, with nothing in the place of NULL."""
_SENT = {
    17: "{value}",  # bytea
    700: "float4send({value})",
    701: "float8send({value})",
    1082: "date_send({value})",
    1083: "time_send({value})",
    1114: "timestamp_send({value})",
    1184: "timestamptz_send({value})",
    1186: "interval_send({value})",
    1700: "numeric_send({value})",
    2950: "uuid_send({value})",
}
"""Bytes by type; none of them is text, which would be converted for whom it is sent to."""
_AT_ONCE = 60
"""Columns in one chain: so many have a bit of their own in a number that says which are NULL."""
_HASHES_BYTES = 18
"""The first version with a hash of `bytea` that can be called."""


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
        digest = _nulls(direct) if direct else "0"
        if others or not direct:
            digest = self._of_others(others, digest)
        for column in direct:
            digest = self._of_one(column, digest)
        return digest

    def _of_one(self, column: Column, seed: str) -> str:
        if column.type in _DIRECT:
            return _DIRECT[column.type].format(value=column.value, seed=seed)
        return self._of_bytes(f"coalesce({_SENT[column.type].format(value=column.value)}, '')", seed)

    def _of_others(self, columns: Sequence[Column], seed: str) -> str:
        if not self.utf8 or any(column.type in self.unsent for column in columns):
            return _of_text(columns, seed)
        return self._of_bytes(f"record_send({_row(columns)})", seed)

    def _of_bytes(self, value: str, seed: str) -> str:
        """A row of one value has that value's hash."""
        return (
            f"hashbyteaextended({value}, {seed})" if self.major >= _HASHES_BYTES else f"hash_record_extended(ROW({value}), {seed})"
        )


def _of_text(columns: Sequence[Column], seed: str) -> str:
    return f'hashtextextended({_row(columns)}::text COLLATE "C", {seed})'


def _row(columns: Sequence[Column]) -> str:
    """Without a type, the columns by name in an order of their own."""
    return f"ROW({', '.join(column.value for column in columns)})"


def _nulls(columns: Sequence[Column]) -> str:
    """Which of them are NULL, as a number; rows without any are soon done."""
    bits = " + ".join(
        f"CASE WHEN {column.value} IS NULL THEN {1 << place}::int8 ELSE 0 END" for place, column in enumerate(columns)
    )
    return f"CASE num_nulls({', '.join(column.value for column in columns)}) WHEN 0 THEN 0 ELSE {bits} END"
