"""Attributes of an agent: their names, types and values, and the digest that stands for the values where these must not.

Which there are, the owner of the installation declares. A declared attribute may be
missing from an agent, so a policy asks `principal has region` before it asks for it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class AttributeType(StrEnum):
    """What a value is; the value is the word for it in a configuration."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TEXTS = "texts"
    """A set: neither order nor repetition counts."""


Value = str | int | bool | frozenset[str]

_CEDAR: Mapping[AttributeType, str] = {
    AttributeType.TEXT: "String",
    AttributeType.INTEGER: "Long",
    AttributeType.BOOLEAN: "Bool",
    AttributeType.TEXTS: "Set<String>",
}
_NAME = re.compile(r"(?!(?:true|false|if|then|else|in|is|like|has)\Z)[a-z][a-z0-9_]{0,62}")
"""Words of Cedar's grammar are no names."""
TAINTS = "taints"
"""What every agent has beside them: what its calls have left on it, a set that may be empty."""

_AGENT = "entity Agent in [Role];"
_LEAST, _MOST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of one agent. Made by `attribute` alone. The type keeps `1` and `true` apart, which Python takes for equal."""

    name: str
    type: AttributeType
    value: Value


def attribute(name: str, type_: AttributeType, value: Any) -> Attribute:
    """The attribute of that value, of JSON or TOML. Raises ValueError, without the value, when it is not of the type."""
    match type_, value:
        case (AttributeType.TEXT, str()) | (AttributeType.BOOLEAN, bool()):
            return Attribute(name, type_, value)
        case AttributeType.INTEGER, int() if not isinstance(value, bool) and _LEAST <= value <= _MOST:
            return Attribute(name, type_, value)
        case AttributeType.TEXTS, [*texts] if all(isinstance(text, str) for text in texts):
            return Attribute(name, type_, frozenset(texts))
    raise ValueError(f"`{name}` is declared as {type_.value} and is something else")


def usable(name: str) -> bool:
    """Whether a policy can ask for an attribute of that name."""
    return _NAME.fullmatch(name) is not None and name != TAINTS


def plain(one: Attribute) -> str | int | bool | list[str]:
    """The value as JSON has it."""
    return sorted(one.value) if isinstance(one.value, frozenset) else one.value


def digest(attributes: Iterable[Attribute]) -> str:
    """`sha256:` over the names, types and values; empty for none. Equal for equal attributes and, in practice, for no others."""
    told = sorted([one.name, one.type.value, plain(one)] for one in attributes)
    return f"sha256:{hashlib.sha256(json.dumps(told).encode()).hexdigest()}" if told else ""


def declaring(schema: str, declared: Mapping[str, AttributeType]) -> str:
    """The schema, with the attributes that an agent may have."""
    fields = [f"{TAINTS}: {_CEDAR[AttributeType.TEXTS]}", *(f"{name}?: {_CEDAR[type_]}" for name, type_ in declared.items())]
    return schema.replace(_AGENT, f"{_AGENT[:-1]} = {{ {', '.join(fields)} }};")
