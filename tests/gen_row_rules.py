"""Rows over every type that a row rule can ask for, and rules about them, made at random.

Knows Cedar's words and no SQL. Values are few and close to each other, so that
comparisons are true as often as not and the edges of every type are met.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from ostiary_policies.table_rules import quoted

TYPE = "shop::public::things"
COLUMNS: Mapping[str, str] = {
    "note": "text",
    "note_2": "text NOT NULL",
    "code": "varchar(20) NOT NULL",
    "key": "uuid",
    "key_2": "uuid NOT NULL",
    "flag": "boolean",
    "flag_2": "boolean NOT NULL",
    "small": "smallint NOT NULL",
    "whole": "integer",
    "large": "bigint",
    "large_2": "bigint NOT NULL",
    "price": "numeric(12,4)",
    "price_2": "numeric(18,4) NOT NULL",
    "day": "date",
    "day_2": "date NOT NULL",
    "local": "timestamp",
    "local_2": "timestamp NOT NULL",
    "moment": "timestamptz",
    "moment_2": "timestamptz NOT NULL",
    'Odd "name"': "integer",
}
"""Name → type and constraint."""

_TEXTS = ["", "a", "A", "ab", "a%b", "a_b", "a\\b", "a*b", "é", "e\u0301", "a ", "日本", "'", '"', "a\nb", "\\", "%", "😀", "EU"]
_KEYS = [UUID(int=0), UUID("c0ffee00-0000-4000-8000-00000000abcd"), UUID(int=2**128 - 1)]
_SMALL = [-(2**15), -7, -1, 0, 1, 7, 2**15 - 1]
_WHOLE = [-(2**31), *_SMALL, 2**31 - 1]
_LARGE = [-(2**63), -(2**62), *_WHOLE, 2**62, 2**63 - 1]
_PRICES = [Decimal(text) for text in ("-99999999.9999", "-1.5", "-0.0001", "0", "0.0001", "1.5", "1.5001", "99999999.9999")]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = [
    *range(-1002, 1003, 167), -1000, -999, -1, 0, 1, 999, 1000, 1001, -86_400_000_000, 86_399_999_999, 86_400_000_000,
]  # fmt: skip
_MOMENTS = [_EPOCH + timedelta(microseconds=count) for count in _MICROSECONDS]
_MOMENTS += [datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC)]
_DAYS = [moment.date() for moment in _MOMENTS]

_KINDS = {
    "text": "text", "varchar": "text", "uuid": "key", "boolean": "flag", "smallint": "number", "integer": "number",
    "bigint": "number", "numeric": "price", "date": "moment", "timestamp": "moment", "timestamptz": "moment",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    nullable: bool

    @property
    def kind(self) -> str:
        """What it is compared with."""
        return _KINDS[self.type]

    @property
    def asked(self) -> str:
        """Its value, in a policy."""
        return f"resource[{quoted(self.name)}]"

    @property
    def has(self) -> str:
        """Whether there is one, in a policy."""
        return f"resource has {quoted(self.name)}"


ALL = [Column(name, said.split()[0].split("(")[0], "NOT NULL" not in said) for name, said in COLUMNS.items()]


def row(rng: Random) -> dict[str, Any]:
    """Values by column, as Python has them; a NULL now and then."""
    return {column.name: None if column.nullable and rng.random() < 0.3 else _value(rng, column.type) for column in ALL}


def _value(rng: Random, type_: str) -> Any:
    match type_:
        case "uuid":
            return rng.choice(_KEYS)
        case "boolean":
            return rng.random() < 0.5
        case "smallint":
            return rng.choice(_SMALL)
        case "integer":
            return rng.choice(_WHOLE)
        case "bigint":
            return rng.choice(_LARGE)
        case "numeric":
            return rng.choice(_PRICES)
        case "date":
            return rng.choice(_DAYS)
        case "timestamp":
            return rng.choice(_MOMENTS).replace(tzinfo=None)
        case "timestamptz":
            return rng.choice(_MOMENTS)
    return rng.choice(_TEXTS)


def attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """The row as Cedar's JSON for entities has it; what is NULL is not there."""
    return {name: _as_cedar(value) for name, value in values.items() if value is not None}


def _as_cedar(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case Decimal():
            return {"__extn": {"fn": "decimal", "arg": f"{value:.4f}"}}
        case datetime():
            # Cut to the millisecond it is in, downwards.
            return {"__extn": {"fn": "datetime", "arg": _written(value.replace(microsecond=value.microsecond // 1000 * 1000))}}
        case date():
            return {"__extn": {"fn": "datetime", "arg": value.isoformat()}}
    return value


def _written(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def policies(rng: Random) -> str:
    """One to four rules, not all of them forbids."""
    effects = ["permit", *(rng.choice(["permit", "forbid"]) for _ in range(rng.choice([0, 0, 1, 1, 2, 3])))]
    return "".join(_policy(rng, effect, f"r{place}") for place, effect in enumerate(effects))


def _policy(rng: Random, effect: str, name: str) -> str:
    whom = 'principal in Role::"analyst"' if effect == "permit" else "principal"
    clauses = [f"{rng.choice(['when', 'when', 'unless'])} {{ {condition(rng, 3)} }}" for _ in range(rng.choice([1, 1, 2]))]
    return f'@id("{name}")\n{effect}({whom}, action == Action::"read_row", resource is {TYPE})\n{" ".join(clauses)};\n'


def condition(rng: Random, depth: int) -> str:
    """Something true or false, valid by Cedar's strict validator."""
    if depth == 0 or rng.random() < 0.25:
        return _guarded(rng, depth)
    one = condition(rng, depth - 1)
    match rng.randrange(6):
        case 0 | 1:
            return f"({one} && {condition(rng, depth - 1)})"
        case 2 | 3:
            return f"({one} || {condition(rng, depth - 1)})"
        case 4:
            return f"!({one})"
    return f"(if {one} then {condition(rng, depth - 1)} else {condition(rng, depth - 1)})"


def _guarded(rng: Random, depth: int) -> str:
    """A question, asked only of rows that have the columns."""
    asked, columns = _question(rng)
    for column in columns:
        if column.nullable:
            other = rng.choice(["true", "false", column.has]) if depth == 0 else condition(rng, 0)
            asked = rng.choice(
                [
                    f"({column.has} && {asked})",
                    f"!({column.has} && {asked})",
                    f"(if {column.has} then {asked} else {other})",
                    f"!(({column.has}) && !({asked}))",
                ]
            )
    return asked


def _question(rng: Random) -> tuple[str, list[Column]]:
    column = rng.choice(ALL)
    if rng.random() < 0.1:
        return column.has, []
    match column.kind:
        case "flag":
            return _about_a_flag(rng, column)
        case "number":
            return _about_a_number(rng)
        case "price":
            return _about_a_price(rng, column)
        case "moment":
            return _about_a_moment(rng, column)
    return _about_a_text(rng, column)


def _another(rng: Random, *kinds: str) -> Column:
    return rng.choice([column for column in ALL if column.kind in kinds])


def _about_a_flag(rng: Random, column: Column) -> tuple[str, list[Column]]:
    other = _another(rng, "flag")
    return rng.choice(
        [
            (column.asked, [column]),
            (f"({column.asked} == {other.asked})", [column, other]),
            (f"({column.asked} != {other.asked})", [column, other]),
            (f"({column.asked} == (principal has staff && principal.staff))", [column]),
            (f"((resource.small < 1) == {column.asked})", [column]),
            (f"({column.asked} == true)", [column]),
        ]
    )


def _about_a_text(rng: Random, column: Column) -> tuple[str, list[Column]]:
    other = _another(rng, "text", "key")
    pool = _TEXTS if column.kind == "text" else [*map(str, _KEYS), str(_KEYS[1]).upper(), "no key"]
    some = ", ".join(quoted(rng.choice([*pool, "\0"])) for _ in range(rng.randint(1, 4)))
    return rng.choice(
        [
            (f"({column.asked} == {quoted(rng.choice(pool))})", [column]),
            (f"({column.asked} != {quoted(rng.choice(pool))})", [column]),
            (f"({quoted(rng.choice(pool))} == {column.asked})", [column]),
            (f"({column.asked} == {other.asked})", [column, other]),
            (f"({column.asked} != {other.asked})", [column, other]),
            (f"[{some}].contains({column.asked})", [column]),
            (f"(principal has regions && principal.regions.contains({column.asked}))", [column]),
            (f"(principal has region && principal.region == {column.asked})", [column]),
            (f"({column.asked} like {_pattern(rng, pool)})", [column]),
        ]
    )


def _pattern(rng: Random, pool: list[str]) -> str:
    text = rng.choice(pool)
    cut = rng.randint(0, len(text))
    literal = [quoted(part)[1:-1].replace("*", "\\*") for part in (text[:cut], text[cut:][rng.randint(0, 1) :])]
    return f'"{literal[0]}{rng.choice(["*", "*", "**", ""])}{literal[1]}{rng.choice(["", "*"])}"'


def _about_a_number(rng: Random) -> tuple[str, list[Column]]:
    left, asked = _number(rng, 2)
    right, more = _number(rng, rng.choice([0, 0, 1]))
    chance = rng.random()
    if chance < 0.15:
        some = ", ".join(str(rng.choice(_LARGE[1:])) for _ in range(rng.randint(1, 4)))
        return f"[{some}].contains({left})", asked
    if chance < 0.3:
        return f"(principal has level && {left} {rng.choice(['<', '==', '>='])} principal.level)", asked
    return f"({left} {rng.choice(['<', '<=', '>', '>=', '==', '!='])} {right})", [*asked, *more]


def _number(rng: Random, depth: int) -> tuple[str, list[Column]]:
    if depth == 0 or rng.random() < 0.4:
        column = _another(rng, "number")
        return (column.asked, [column]) if rng.random() < 0.6 else (str(rng.choice(_LARGE[1:])), [])
    one, asked = _number(rng, depth - 1)
    if rng.random() < 0.2:
        return f"(-({one}))", asked
    other, more = _number(rng, depth - 1)
    return f"({one} {rng.choice('+-*')} {other})", [*asked, *more]


def _about_a_price(rng: Random, column: Column) -> tuple[str, list[Column]]:
    other = _another(rng, "price")
    written, more = rng.choice([(f'decimal("{rng.choice(_PRICES):.4f}")', []), ('decimal("1.5")', []), (other.asked, [other])])
    if rng.random() < 0.3:
        return f"({column.asked} {rng.choice(['==', '!='])} {written})", [column, *more]
    method = rng.choice(["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"])
    return f"{column.asked}.{method}({written})", [column, *more]


def _about_a_moment(rng: Random, column: Column) -> tuple[str, list[Column]]:
    alike = [other for other in ALL if other.kind == "moment" and (other.type == "date") == (column.type == "date")]
    other = rng.choice(alike)
    at = rng.choice(_MOMENTS)
    written, more = rng.choice(
        [
            (f'datetime("{_written(at)}")', []),
            (f'datetime("{at.date().isoformat()}")', []),
            (f'datetime("{_written(at)[:-1]}+0130")', []),
            (f'datetime("1970-01-01").offset(duration("{rng.choice(["-1ms", "1d", "-1d12h", "1ms", "0ms"])}"))', []),
            (other.asked, [other]),
        ]
    )
    if written.startswith('datetime("0001-01-01'):
        written = 'datetime("1970-01-01")'
    if rng.random() < 0.1:
        return f"[{written}].contains({column.asked})" if not more else f"({column.asked} == {written})", [column, *more]
    pair = (column.asked, written) if rng.random() < 0.7 else (written, column.asked)
    return f"({pair[0]} {rng.choice(['<', '<=', '>', '>=', '==', '!='])} {pair[1]})", [column, *more]
