"""What a token's claims say about its bearer: an agent, roles, attributes, scopes. Pure; who signed them is known already."""

from collections.abc import Mapping, Sequence
from typing import Any

from ostiary.config.callers import Attribute as Configured
from ostiary.identity.caller import NotRecognised
from ostiary_policies.attributes import Attribute, AttributeType, attribute

_AGENT_CHARS = 200
_ABSENT = object()


def agent_in(claims: Mapping[str, Any], name: str) -> str:
    """The agent's name. Raises NotRecognised when it is none."""
    agent = _found(claims, name)
    if not isinstance(agent, str) or not 0 < len(agent) <= _AGENT_CHARS or not agent.isprintable() or agent != agent.strip():
        raise NotRecognised("its claim of the agent is no name")
    return agent


def roles_in(claims: Mapping[str, Any], name: str, roles: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The roles its values stand for, sorted."""
    value = _found(claims, name)
    values = _words(value) if name in ("scope", "scp") else value if isinstance(value, list) else [value]
    return tuple(sorted({role for v in values if isinstance(v, str) for role in roles.get(v, ())}))


def attributes_in(claims: Mapping[str, Any], configured: Mapping[str, Configured]) -> tuple[Attribute, ...]:
    """The attributes whose claims are there, sorted by name. Raises ValueError for a claim of another type than declared."""
    named = ((name, AttributeType(one.type), _found(claims, one.claim)) for name, one in sorted(configured.items()) if one.claim)
    return tuple(attribute(name, type_, value) for name, type_, value in named if value is not _ABSENT)


def has_scopes(claims: Mapping[str, Any], needed: Sequence[str]) -> bool:
    """Whether the token has all of them in `scope` or `scp`."""
    return set(needed) <= {*_words(claims.get("scope")), *_words(claims.get("scp"))}


def _found(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of that very name, which may hold dots, or the one that the dots lead to; `_ABSENT` when there is none."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return value.split(" ")
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
