"""The forms of an exported file: rows as the database prints them, in; bytes, out. Blocking; no I/O but the sink's."""

from collections.abc import Sequence
from decimal import Decimal
from importlib import import_module
from io import RawIOBase
from typing import Any, Protocol

from ostiary.shape import csv_field
from ostiary_tools.errors import Refused
from ostiary_tools.result import ColumnHead, ExportFormat

Row = tuple[str | None, ...]


class Encoder(Protocol):
    """Writes one file to a sink."""

    held: int
    """Bytes at most of the rows that were taken and not written yet."""

    def size(self, row: Row) -> int:
        """Bytes the row takes, or more."""
        ...

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows."""
        ...

    def finish(self) -> None:
        """Write what is left."""
        ...


def encoder(format_: ExportFormat, columns: Sequence[ColumnHead], declared: Sequence[str | None], sink: RawIOBase) -> Encoder:
    """Begin a file. `declared` are the types with their modifiers, where known. Raises Refused."""
    return Csv(columns, sink) if format_ == "csv" else Parquet(columns, declared, sink)


class Csv:
    """RFC 4180 with a header, UTF-8; NULL is nothing between commas and an empty text is two quotes."""

    def __init__(self, columns: Sequence[ColumnHead], sink: RawIOBase) -> None:
        self._sink = sink
        self.held = 0
        self._sink.write(_line(tuple(column.name for column in columns)))

    def size(self, row: Row) -> int:
        """Exactly."""
        return len(_line(row))

    def write(self, rows: Sequence[Row]) -> None:
        """Each row as a line."""
        self._sink.write(b"".join(map(_line, rows)))

    def finish(self) -> None:
        """Nothing is left."""


def _line(row: Row) -> bytes:
    return (",".join(map(csv_field, row)) + "\r\n").encode()


_GROUP_BYTES = 16_000_000
"""Of the rows of a row group, before they are encoded: what is held in memory."""


class Parquet:
    """Apache Parquet, compressed, each column in the type that holds all its values, and as text where none does."""

    def __init__(self, columns: Sequence[ColumnHead], declared: Sequence[str | None], sink: RawIOBase) -> None:
        self._arrow, writer = _arrow()
        names = [column.name for column in columns]
        if len(set(names)) != len(names):
            raise Refused("parquet", "two columns have one name", "give each its own with AS")
        wanted = declared if len(declared) == len(columns) else [None] * len(columns)
        fields = [(c.name, self._type(c.type, exact)) for c, exact in zip(columns, wanted, strict=True)]
        self._schema = self._arrow.schema(fields)
        self._writer = writer(self._arrow.PythonFile(sink, mode="w"), self._schema, compression="zstd")
        self._rows: list[Row] = []
        self.held = 0

    def size(self, row: Row) -> int:
        """At most: as text or as eight bytes a value."""
        return sum(max(8, len(value.encode()) if value else 0) for value in row)

    def write(self, rows: Sequence[Row]) -> None:
        """Hold rows until they fill a group."""
        self._rows += rows
        self.held += sum(map(self.size, rows))
        if self.held >= _GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        """Write the last group and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self._schema)
        arrays = [self._array(field, values) for field, values in zip(self._schema, columns, strict=True)]
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows, self.held = [], 0

    def _type(self, type_: str, exact: str | None) -> Any:
        arrow = self._arrow
        if type_ == "numeric":
            precision, scale = _digits(exact)
            return (
                arrow.decimal128(precision, scale)
                if 0 < precision <= _DECIMAL_DIGITS and 0 <= scale <= precision
                else arrow.string()
            )
        made = {
            "smallint": arrow.int16,
            "integer": arrow.int32,
            "bigint": arrow.int64,
            "real": arrow.float32,
            "double precision": arrow.float64,
            "boolean": arrow.bool_,
            "date": arrow.date32,
            "bytea": arrow.binary,
            "timestamp without time zone": lambda: arrow.timestamp("us"),
            "timestamp with time zone": lambda: arrow.timestamp("us", "UTC"),
        }
        return made.get(type_, arrow.string)()

    def _array(self, field: Any, values: Sequence[str | None]) -> Any:
        arrow = self._arrow
        try:
            if arrow.types.is_boolean(field.type):
                return arrow.array([None if v is None else v == "t" for v in values], field.type)
            if arrow.types.is_binary(field.type):
                return arrow.array([None if v is None else bytes.fromhex(v[2:]) for v in values], field.type)
            if arrow.types.is_decimal(field.type):
                return arrow.array([None if v is None else Decimal(v) for v in values], field.type)
            return arrow.array(values, arrow.string()).cast(field.type)
        except (arrow.ArrowException, ValueError, ArithmeticError):
            # Not chained: Arrow's message quotes the value.
            message = f"column `{field.name}` holds a value that parquet's type for it cannot, such as infinity"
            raise Refused("parquet", message, "cast it to text") from None


_DECIMAL_DIGITS = 38


def _digits(exact: str | None) -> tuple[int, int]:
    """Precision and scale of `numeric(12,2)`; zeros where they are not declared."""
    if not exact or not exact.startswith("numeric("):
        return 0, 0
    precision, _, scale = exact.removeprefix("numeric(").rstrip(")").partition(",")
    return int(precision), int(scale or 0)


def _arrow() -> tuple[Any, Any]:
    """Arrow and its Parquet writer, which are an extra and take a moment to import."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet").ParquetWriter
    except ImportError:
        hint = "export as csv, or its operator installs `ostiary[parquet]`"
        raise Refused("parquet", "this server was installed without Parquet", hint) from None
