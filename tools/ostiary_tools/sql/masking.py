"""Masks as SQL: an expression over one column that gives its mask, in a type the column's own operators take.

Every expression is total: whatever the column holds, it gives a value and raises nothing, since an error would tell of
the value. Functions and operators are qualified, so that no schema of the search path can put others in their place. NULL
stays NULL, except where the mask is one text for all.
"""

import re
from collections.abc import Callable, Mapping

from ostiary_policies.masks import Mask, MaskKind
from ostiary_tools.identifiers import quoted
from ostiary_tools.snapshot import ColumnInfo, Name, TypeInfo

_TEXTS = frozenset({"text", "varchar", "bpchar"})
_INTEGERS: Mapping[str, tuple[int, int]] = {
    name: (-(1 << bits - 1), (1 << bits - 1) - 1) for name, bits in (("int2", 16), ("int4", 32), ("int8", 64))
}
_FLOATS = {"float4": "3e38", "float8": "1e307"}
"""With a bound that is left after rounding; what lies beyond, and NaN, is shown as the bound."""
_DATES = frozenset({"date", "timestamp", "timestamptz"})
_FARTHEST = (("4000-01-01", " BC"), ("294000-01-01", ""))
"""All three types can hold these and their beginnings; what lies beyond is shown as they are."""
_CONSTANTS: Mapping[str, re.Pattern[str]] = {
    "numeric": re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,9})?", re.ASCII),
    "bool": re.compile(r"true|false"),
    "date": re.compile(r"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])", re.ASCII),
    "uuid": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII),
}
_WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_SEARCHING = frozenset({MaskKind.SHAPE, MaskKind.EMAIL})
_LONG_BYTES = 10_000
_HASH_CHARS = 64
_LENGTH = re.compile(r"\(([0-9]+)\)")
_ZERO = "CAST(0 AS pg_catalog.numeric)"
_STARS = "'***'::pg_catalog.text"

Keys = tuple[int, int]
"""Numbers of the parameters that hold the inner and the outer half of the hash key."""
Types = Mapping[Name, TypeInfo]


def masked(mask: Mask, column: ColumnInfo, types: Types, keys: Keys) -> str | None:
    """The mask of the column as SQL over its bare name; `None` when the mask does not take the column's type.

    It is of the column's type; of a domain, whose checks are its owner's functions, it is of what that is made of.
    """
    kind = _base(column.kind, types)
    if kind is None:
        return None
    if mask.kind is MaskKind.NULL:
        return f"CAST(NULL AS {_spelt(kind)})"
    if kind[0] != "pg_catalog":
        return None
    made = _MASKS[mask.kind](mask.argument, kind[1], quoted(column.name), keys)
    if made is None or (mask.kind is MaskKind.HASH and _length(column, kind) < _HASH_CHARS):
        return None
    if mask.kind in _SEARCHING and not column.deterministic:
        return None  # the server does not search in such a text
    # What has a scale may have no room for a bound of a bucket, or for a constant.
    own = kind == column.kind and kind[1] != "numeric"
    return f"CAST({made} AS {column.type if own else _spelt(kind)})"


def takes(mask: Mask, column: ColumnInfo, types: Types, *, hashes: bool) -> bool:
    """Whether the mask can stand for the column; `hashes` says that there is a key."""
    return (hashes or mask.kind is not MaskKind.HASH) and masked(mask, column, types, (1, 2)) is not None


def kept(column: ColumnInfo, types: Types) -> str:
    """The bare column in the type that a column of it has when masks stand behind it, as `masked` keeps types."""
    kind = _base(column.kind, types)
    if kind is None or (kind == column.kind and kind[0] != "pg_catalog"):
        return quoted(column.name)
    own = kind == column.kind and kind[1] != "numeric"
    return f"CAST({quoted(column.name)} AS {column.type if own else _spelt(kind)})"


def _base(kind: Name | None, types: Types) -> Name | None:
    """What a domain is made of."""
    while kind is not None and kind in types and (base := types[kind].base) is not None:
        kind = base
    return kind


def _spelt(kind: Name) -> str:
    return ".".join(map(quoted, kind))


def _length(column: ColumnInfo, kind: Name) -> int:
    """Characters that a value of its type may have."""
    found = _LENGTH.search(column.type) if kind == column.kind and kind[1] in ("varchar", "bpchar") else None
    return int(found[1]) if found else _HASH_CHARS


def _literal(text: str) -> str:
    quoted = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{quoted}'" if "\\" in text else f"'{quoted}'"


def _constant(argument: str, kind: str, _column: str, _keys: Keys) -> str | None:
    if kind in _INTEGERS:
        least, most = _INTEGERS[kind]
        return _literal(argument) if _WHOLE.fullmatch(argument) and least <= int(argument) <= most else None
    if kind in _TEXTS:
        return f"{_literal(argument)}::pg_catalog.text"
    pattern = _CONSTANTS.get(kind)
    return _literal(argument) if pattern is not None and pattern.fullmatch(argument) else None


def _redact(_argument: str, kind: str, _column: str, _keys: Keys) -> str | None:
    return _STARS if kind in _TEXTS else None


def _text(column: str) -> str:
    return f"CAST({column} AS pg_catalog.text)"


def _shape(_argument: str, kind: str, column: str, _keys: Keys) -> str | None:
    if kind not in _TEXTS:
        return None
    # What a letter is depends on the collation, so all but the signs that are shown counts as one.
    digits = f"pg_catalog.regexp_replace({_text(column)}, '[0-9]', '9', 'g')"
    shape = f"pg_catalog.regexp_replace({digits}, '[^9 .,:;@/()+_-]', 'x', 'g')"
    return f"CASE WHEN {_is_long(column)} THEN {_STARS} ELSE {shape} END"


def _is_long(column: str) -> str:
    """The server searches in no text of hundreds of megabytes, and says so."""
    return f"pg_catalog.octet_length({_text(column)}) OPERATOR(pg_catalog.>) {_LONG_BYTES}"


def _hash(_argument: str, kind: str, column: str, keys: Keys) -> str | None:
    """HMAC-SHA-256 of the text (RFC 2104), in hexadecimal."""
    inner, outer = (f"CAST(${number} AS pg_catalog.bytea)" for number in keys)
    # To the database's own encoding, which converts nothing and so fails for no value.
    said = f"pg_catalog.convert_to({_text(column)}, pg_catalog.getdatabaseencoding())"
    digest = f"pg_catalog.sha256({outer} OPERATOR(pg_catalog.||) pg_catalog.sha256({inner} OPERATOR(pg_catalog.||) {said}))"
    text = f"pg_catalog.encode({digest}, 'hex')"
    if kind == "uuid":
        return f"pg_catalog.left({text}, 32)"
    if kind == "int8":
        return f"CAST('x' OPERATOR(pg_catalog.||) pg_catalog.left({text}, 16) AS pg_catalog.bit(64))"
    return text if kind in _TEXTS else None


def _beginning(of: str) -> "_Maker":
    def made(_argument: str, kind: str, column: str, _keys: Keys) -> str | None:
        if kind not in _DATES:
            return None
        zone = ", 'UTC'" if kind == "timestamptz" else ""
        least, most = (f"CAST('{day}{' 00:00+00' * bool(zone)}{era}' AS pg_catalog.{kind})" for day, era in _FARTHEST)
        value = f"GREATEST(LEAST({column}, {most}), {least})"
        value = f"CAST({value} AS pg_catalog.timestamp)" if kind == "date" else value
        return f"CASE WHEN {column} IS NULL THEN NULL ELSE pg_catalog.date_trunc('{of}', {value}{zone}) END"

    return made


def _bucket(argument: str, kind: str, column: str, _keys: Keys) -> str | None:
    if kind not in _INTEGERS and kind not in _FLOATS and kind != "numeric":
        return None
    value, step = f"CAST({column} AS pg_catalog.numeric)", f"CAST({argument} AS pg_catalog.numeric)"
    rest = f"pg_catalog.mod({value}, {step})"
    # Without a division, which would be rounded; what is left over is negative where the number is.
    below = f"CASE WHEN {rest} OPERATOR(pg_catalog.<) {_ZERO} THEN {step} ELSE {_ZERO} END"
    lower = f"{value} OPERATOR(pg_catalog.-) {rest} OPERATOR(pg_catalog.-) {below}"
    if kind == "numeric":
        return f"pg_catalog.trim_scale({lower})"
    least, most = _INTEGERS.get(kind) or (f"-{_FLOATS[kind]}", _FLOATS[kind])
    return (
        f"CASE WHEN {column} IS NULL THEN NULL ELSE "
        f"GREATEST(LEAST({lower}, CAST({most} AS pg_catalog.numeric)), CAST({least} AS pg_catalog.numeric)) END"
    )


def _email(_argument: str, kind: str, column: str, _keys: Keys) -> str | None:
    if kind not in _TEXTS:
        return None
    text = _text(column)
    # A name of one letter would be shown whole; of several signs the last begins the domain, and no text goes on behind it.
    return (
        f"CASE WHEN {column} IS NULL THEN NULL WHEN {_is_long(column)} THEN {_STARS} "
        f"WHEN {text} OPERATOR(pg_catalog.~) '^..+@[A-Za-z0-9.-]+$' THEN pg_catalog.left({text}, 1) OPERATOR(pg_catalog.||) "
        f"{_STARS} OPERATOR(pg_catalog.||) pg_catalog.substring({text}, '@[A-Za-z0-9.-]+$') ELSE {_STARS} END"
    )


def _ends(function: str) -> "_Maker":
    def made(argument: str, kind: str, column: str, _keys: Keys) -> str | None:
        if kind not in _TEXTS:
            return None
        text = _text(column)
        shown = f"pg_catalog.{function}({text}, {argument})"
        joined = (shown, _STARS) if function == "left" else (_STARS, shown)
        # What is not twice as long would be shown nearly whole.
        long = f"pg_catalog.char_length({text}) OPERATOR(pg_catalog.>=) {2 * int(argument)}"
        return (
            f"CASE WHEN {column} IS NULL THEN NULL WHEN {long} "
            f"THEN {joined[0]} OPERATOR(pg_catalog.||) {joined[1]} ELSE {_STARS} END"
        )

    return made


_Maker = Callable[[str, str, str, Keys], str | None]
"""Of the mask's argument, the type's name in the catalog, the column and the hash keys."""

_MASKS: Mapping[MaskKind, _Maker] = {
    MaskKind.CONSTANT: _constant,
    MaskKind.REDACT: _redact,
    MaskKind.SHAPE: _shape,
    MaskKind.HASH: _hash,
    MaskKind.YEAR: _beginning("year"),
    MaskKind.MONTH: _beginning("month"),
    MaskKind.BUCKET: _bucket,
    MaskKind.EMAIL: _email,
    MaskKind.FIRST: _ends("left"),
    MaskKind.LAST: _ends("right"),
}
